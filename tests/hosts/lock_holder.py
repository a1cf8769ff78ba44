"""A plugin of Hermes for one test: holds a transaction in the gateway's own connection.

Written into Hermes's folder of plugins, where it runs in the gateway with nothing of ours imported.
What it does next is told by files in `HOLDER_FOLDER`.
"""

from __future__ import annotations

import gc
import os
import threading
import time
from pathlib import Path
from typing import Any

FOLDER = "HOLDER_FOLDER"
LOOK_S = 0.05
GUARD_S = 120.0
SESSION = "INSERT INTO sessions (id, source, started_at) VALUES ('held', 'cli', 1767225600)"
USED = """
    INSERT INTO session_model_usage (session_id, model, input_tokens, last_seen)
    VALUES ('held', 'a-model', 100, 1767225600)
"""


def register(ctx: Any) -> None:
    """Called by Hermes."""
    said = os.environ.get(FOLDER)
    if said:
        threading.Thread(target=hold, args=(Path(said),), daemon=True).start()


def hold(folder: Path) -> None:
    """Commit some usage, begin the next transaction at once, and end it when told."""
    wait_for(folder / "hold")
    database = next(
        one
        for one in gc.get_objects()
        if type(one).__name__ == "SessionDB" and one._conn is not None and not one.read_only
    )
    database._execute_write(lambda connection: [connection.execute(one) for one in (SESSION, USED)])

    def within(connection: Any) -> None:
        connection.execute("UPDATE sessions SET title = 'from the held transaction'")
        (folder / "held").touch()
        wait_for(folder / "drop")
        # What must never happen, to see that the test would notice.
        for name in ("state.db", "state.db-shm"):
            os.close(os.open(Path(database.db_path).with_name(name), os.O_RDONLY))
        (folder / "dropped").touch()
        wait_for(folder / "release")

    database._execute_write(within)
    (folder / "released").touch()


def wait_for(path: Path) -> None:
    """Until the file is there."""
    end = time.monotonic() + GUARD_S
    while not path.exists() and time.monotonic() < end:
        time.sleep(LOOK_S)
