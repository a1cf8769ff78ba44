"""Writes the pages of reference from the code; `scripts/docs` calls it.

`--check` writes nothing and says which pages are out of date. A test does the same, so that none of
them can rot.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from docs.pages import pages
from docs.registered import registered

HERE = Path(__file__).parent


def main(arguments: Sequence[str] = ()) -> int:
    """Write the pages; with `--check` only say which of them are out of date."""
    with tempfile.TemporaryDirectory() as folder:
        found = registered(Path(folder))
        made = pages(found)
        found.host.plugins.close()
    stale = [name for name, text in made.items() if _read(HERE / name) != text]
    for name in stale:
        print(f"{'out of date' if '--check' in arguments else 'written'}: docs/{name}")
        if "--check" not in arguments:
            (HERE / name).write_text(made[name], encoding="utf-8")
    return int(bool(stale) and "--check" in arguments)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
