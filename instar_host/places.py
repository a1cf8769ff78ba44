"""What a plugin raised, and where in its code.

Promises a file's name and a line, no path and nothing of what the code was looking at; and no place
at all for code of ours.
"""

from __future__ import annotations

import importlib
import os
import traceback
from pathlib import Path

from instar_host.errors import InstarError, reason
from instar_host.version import OUR_DISTRIBUTION

OUR_PACKAGES = ("instar_host", "instar_tokenledger", "instar_threadline")

_ROOT = Path(__file__).parents[1]
_OURS = tuple(os.path.join(_ROOT, package, "") for package in OUR_PACKAGES)
_CALLERS = (
    "instar_host/answers.py", "instar_host/discovery.py", "instar_host/plugins.py",
    "instar_host/registry.py", "instar_host/ticks.py", "instar_threadline/bridge/blame.py",
    "instar_threadline/sources/pulls.py", "instar_tokenledger/third_party.py",
)  # fmt: skip
"""Where plugins are called, held at arm's length: the next frame is the plugin's."""

_BETWEEN = (
    *(os.path.join(_ROOT, *caller.split("/")) for caller in _CALLERS),
    os.path.join(os.path.dirname(os.path.abspath(importlib.__file__)), ""),
    "<frozen ",
)


def explained(exc: BaseException) -> str:
    """One line: a sentence as it is; anything else with its place, and with what it may mean that
    something of ours could not be imported.
    """
    if isinstance(exc, InstarError):
        return reason(exc)
    name = exc.name or "" if isinstance(exc, ImportError) else ""
    ours = name.partition(".")[0] in OUR_PACKAGES
    version = f"; it may need another version of {OUR_DISTRIBUTION} than this" if ours else ""
    return f"{reason(exc)}{place(exc)}{version}"


def place(exc: BaseException) -> str:
    """` (file.py:12)`: the innermost line in the file that was called; empty where it is ours."""
    frames = ((f.f_code.co_filename, line) for f, line in traceback.walk_tb(exc.__traceback__))
    called = [(file, line) for file, line in frames if not file.startswith(_BETWEEN)]
    if not called or called[0][0].startswith(_OURS):
        return ""
    file = called[0][0]
    line = [number for other, number in called if other == file][-1]
    return f" ({os.path.basename(file)}:{line})"
