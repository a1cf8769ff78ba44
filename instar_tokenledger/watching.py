"""A process that watches folders and tells what changed in them: `python -m`, with the folders.

A process of its own because setting up a watch over ten thousand folders holds the interpreter for
seconds (4.2 s measured, 10,000 folders), which a host's loop would feel. Prints one JSON list of
paths a line: an empty one once it watches, and `{"error": ...}` before it gives up. Ends when its
standard input does, so it never outlives its parent. Opens nothing and writes nothing.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Sequence

STEP_MS = 80
DEBOUNCE_MS = 160
"""Changes are gathered until nothing changes for a step, at most for this long."""
FIRST_WORD_MS = 1_000
PATHS_A_LINE = 200


def main(roots: Sequence[str]) -> int:
    """Watch until standard input ends."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        import watchfiles

        changes = watchfiles.watch(
            *roots,
            watch_filter=None,
            debounce=DEBOUNCE_MS,
            step=STEP_MS,
            rust_timeout=FIRST_WORD_MS,
            yield_on_timeout=True,
            raise_interrupt=False,
            force_polling=False,
            ignore_permission_denied=True,
        )
        said = False
        for change in changes:
            if change or not said:
                said = True
                _tell(sorted({path for _, path in change}))
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent goes on without a watch
        print(json.dumps({"error": _words(error)}), flush=True)
        return 1
    return 0


def _tell(paths: list[str]) -> None:
    for begin in range(0, max(1, len(paths)), PATHS_A_LINE):
        print(json.dumps(paths[begin : begin + PATHS_A_LINE]), flush=True)


def _words(error: Exception) -> str:
    """The reason without paths: an error of the limit names every folder."""
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    return first.partition(" about [")[0][:200]


def _end_with_parent() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
