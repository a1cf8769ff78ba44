"""`instar`: the command line of a host, with the commands that plugins bring.

Promises an exit code that means something, one line on stderr for what a person can mend, and no
traceback unless `INSTAR_DEBUG=1` asks for it. Two passes: the state directory first, which leads to
the configuration and so to the plugins; then everything, with the flags and commands that those
plugins bring.

    0 done   1 a negative answer, or a sentence on stderr   2 wrong usage   3 another process has
    the lease 70 a defect of ours or of a plugin   130 interrupted   141 nobody reads the output any
    more
"""

from __future__ import annotations

import gc
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from instar_host.characters import let_everything_through
from instar_host.errors import InstarError, reason
from instar_host.records import HostContext, Terminal
from instar_host.store.errors import StoreError, shown
from instar_host.width import columns

if TYPE_CHECKING:
    from instar_host.commands import CommandLine
    from instar_host.config import StateDir

DEBUG_VARIABLE = "INSTAR_DEBUG"
EXIT_USAGE = 2
EXIT_DEFECT = 70
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141
GRACE_S = 0.5
"""How long threads that are left may take to end before they are named."""

OpenHost = Callable[["StateDir"], HostContext]


class _PluginDefect(Exception):  # noqa: N818 - says whose command it was; the cause is its own
    """A command that another plugin brought failed."""


def main(
    argv: Sequence[str] | None = None,
    environ: Mapping[str, str] | None = None,
    open_host: OpenHost | None = None,
) -> int:
    """The console entry: the process's own arguments, environment, directories and streams.

    A program that has `instar` as a sub-command gives its own environment and way to open a host.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    _open_missing_streams()
    for stream in (sys.stdout, sys.stderr):
        let_everything_through(stream)
    terminal = terminal_of(sys.stdout, sys.stderr)
    environ = os.environ.copy() if environ is None else environ
    if environ.get(DEBUG_VARIABLE) == "1":
        logging.basicConfig(level=logging.INFO, stream=sys.stderr)  # how plugins failed, in full
    try:
        code = _flushed(run(arguments, environ, Path.cwd, Path.home, terminal, open_host))
    except BrokenPipeError:
        _silence(sys.stdout, sys.stderr)
        return EXIT_BROKEN_PIPE
    except OSError:  # standard error takes no sentence either: the code is all there is to give
        _silence(sys.stdout, sys.stderr)
        return InstarError.exit_code
    if argv is None:
        _name_what_goes_on()
        gc.freeze()  # the process ends with this: nobody need look through it for garbage
    return code


def run(
    argv: Sequence[str],
    environ: Mapping[str, str],
    cwd: Callable[[], Path],
    home: Callable[[], Path],
    terminal: Terminal,
    open_host: OpenHost | None = None,
) -> int:
    """One call of `instar` in the given surroundings; its exit code.

    Raises OSError only, where its streams take nothing.

    `open_host` makes the host of a state directory; the default loads what is installed.
    """
    try:
        return _dispatch(argv, environ, cwd, home, terminal, open_host)
    except InstarError as exc:
        print(f"instar: {exc}", file=terminal.err)
        return exc.exit_code
    except KeyboardInterrupt:
        print("instar: interrupted", file=terminal.err)
        return EXIT_INTERRUPTED
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else int(exc.code is not None)
    except BrokenPipeError:
        raise
    except StoreError as exc:
        print(f"instar: {exc}", file=terminal.err)
        return InstarError.exit_code
    except OSError as exc:
        print(f"instar: {_trouble(exc)}", file=terminal.err)
        return InstarError.exit_code
    except Exception as exc:  # noqa: BLE001 - the outermost frame: a person reads what comes out
        return _defect(exc, environ, terminal)


def terminal_of(out: TextIO, err: TextIO) -> Terminal:
    """The streams and what they can show."""
    return Terminal(out=out, err=err, is_tty=out.isatty(), width=columns())


def _dispatch(
    argv: Sequence[str],
    environ: Mapping[str, str],
    cwd: Callable[[], Path],
    home: Callable[[], Path],
    terminal: Terminal,
    open_host: OpenHost | None,
) -> int:
    if list(argv[:1]) in (["--version"], ["-V"]):
        from instar_host.version import installed_version

        print(f"instar {installed_version()}", file=terminal.out)
        return 0
    from instar_host.commands import early
    from instar_host.config import locate_state_dir

    flag, rest = early(argv)
    where = locate_state_dir(flag, environ, cwd(), _home(home))
    with redirect_stdout(sys.stderr):  # an answer holds nothing that a plugin prints on its way in
        host = _open(where, environ) if open_host is None else open_host(where)
    try:
        return _run_command(argv, rest, host, terminal)
    finally:
        host.plugins.close()


def _home(home: Callable[[], Path]) -> Path:
    try:
        return home()
    except RuntimeError:
        raise InstarError("there is no home directory; set HOME") from None


def _open(where: StateDir, environ: Mapping[str, str]) -> HostContext:
    from instar_host.host import open_host

    return open_host(where, environ, capabilities=("commands",))


def _run_command(
    argv: Sequence[str], rest: Sequence[str], host: HostContext, terminal: Terminal
) -> int:
    import msgspec

    from instar_host.commands import CommandLine, claimed
    from instar_host.host_commands import HOST_COMMANDS

    asked = rest[0] if rest and not rest[0].startswith("-") else None
    with redirect_stdout(sys.stderr):
        claims = claimed(host, HOST_COMMANDS, asked)
    line = CommandLine(HOST_COMMANDS, claims, host.plugins.report, host.version, asked)
    if not rest:
        print(line.help(), end="", file=terminal.err)
        return EXIT_USAGE
    if asked is not None and asked not in line.names:
        print(f"instar: {_unknown(asked, line, host)}", file=terminal.err)
        return EXIT_USAGE
    command, arguments, overrides = line.parse(argv)
    changed = msgspec.structs.replace(host, config=host.config.with_overrides(overrides))
    try:
        return command.run(arguments, changed, terminal)
    except (InstarError, StoreError, OSError):
        raise
    except Exception as exc:  # told apart here, where it is known whose command it is
        owner = line.owner(command.name)
        if _is_ours(owner, host):
            raise
        raise _PluginDefect(f"the command {command.name} of the plugin {owner} failed") from exc


def _is_ours(owner: str, host: HostContext) -> bool:
    from instar_host.commands import PROGRAM
    from instar_host.version import OUR_DISTRIBUTION

    distributions = {status.name: status.distribution for status in host.plugins.statuses()}
    return owner == PROGRAM or distributions.get(owner) == OUR_DISTRIBUTION


def _unknown(name: str, line: CommandLine, host: HostContext) -> str:
    """What there is instead, and which plugin may be the reason that it is not there."""
    from instar_host.settings import nearest

    said = (
        f"there is no command {name}{nearest(name, line.names)}; there is {', '.join(line.names)}"
    )
    troubled = [
        s for s in host.plugins.statuses() if s.error or s.state not in ("loaded", "waiting")
    ]
    return "\n".join([said, *(f"  plugin {s.name} is {s.state}: {s.error}" for s in troubled)])


def _trouble(exc: OSError) -> str:
    """What the machine refused: a full disk or a missing permission is no defect."""
    where = f": {shown(exc.filename)}" if isinstance(exc.filename, (str, bytes)) else ""
    return f"{exc.strerror or reason(exc)}{where}"


def _defect(exc: Exception, environ: Mapping[str, str], terminal: Terminal) -> int:
    said, report, cause = "this should not happen", "; please report this line", exc
    if isinstance(exc, _PluginDefect) and isinstance(exc.__cause__, Exception):
        said, report, cause = str(exc), "", exc.__cause__
    asked = environ.get(DEBUG_VARIABLE) == "1"
    if asked:
        traceback.print_exception(cause, file=terminal.err)
    hint = "" if asked else f"; {DEBUG_VARIABLE}=1 shows where"
    where = _last_frame(cause)
    print(f"instar: {said}: {reason(cause)} ({where}){report}{hint}", file=terminal.err)
    return EXIT_DEFECT


def _open_missing_streams() -> None:
    """A program may be started without some of the three; what is opened next would get the
    number of one of them, and be written to by whatever prints.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


def _name_what_goes_on() -> None:
    """A thread that a plugin left running keeps the program until it ends: say so, for nobody else
    will.
    """
    ours = threading.main_thread()
    left = [one for one in threading.enumerate() if one is not ours and not one.daemon]
    for thread in left:
        thread.join(GRACE_S / len(left))
    names = ", ".join(thread.name for thread in left if thread.is_alive())
    if names:
        said = f"instar: done, and waiting for what a plugin left running ({names}); Ctrl-C ends it"
        with suppress(OSError):
            print(said, file=sys.stderr, flush=True)


def _flushed(code: int) -> int:
    """The exit code once all of the answer is out. Raises OSError as `run` does."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as exc:  # a file on a full disk takes what it takes
        _silence(sys.stdout)
        if code == 0:
            print(f"instar: the answer cannot be written: {_trouble(exc)}", file=sys.stderr)
        return code or InstarError.exit_code
    return code


def _last_frame(exc: Exception) -> str:
    frames = traceback.extract_tb(exc.__traceback__)
    return f"{os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else "nowhere"


def _silence(*streams: TextIO) -> None:
    """Let the flush at interpreter exit go nowhere, or it would complain of the pipe."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    for stream in streams:
        os.dup2(devnull, stream.fileno())
    os.close(devnull)
