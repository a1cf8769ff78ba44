"""What a command shows beside its answer."""

from __future__ import annotations

import argparse
import io

from instar_host.calls import Call
from instar_host.records import Terminal
from instar_host.testing import MakeHost
from tests.screens import Screen


def test_a_passing_line_stays_on_its_line_and_goes(make_host: MakeHost) -> None:
    """Never so long that a `^C` behind it wraps, and gone without an escape at the end."""
    err = Screen()
    terminal = Terminal(out=io.StringIO(), err=err, width=40)
    call = Call(argparse.Namespace(), make_host(), terminal, None)
    call.progress("Reading: " + "x" * 80)
    call.progress("Done")
    call.progress()
    shown, done, cleared = err.getvalue().split("\r")[2::2]
    assert (len(shown), done, cleared) == (37, "Done", "")
    assert "\x1b" not in err.getvalue()


def test_nobody_looks_on_at_a_file(make_host: MakeHost) -> None:
    """A passing line is not for a log."""
    err = io.StringIO()
    terminal = Terminal(out=Screen(), err=err, is_tty=True)
    Call(argparse.Namespace(), make_host(), terminal, None).progress("Reading")
    assert err.getvalue() == ""
