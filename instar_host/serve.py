"""`instar serve` and `instar open`: the host as a program of its own.

Promises to print the token only on a terminal, to end within two seconds of being asked, and that a
sample never touches the real state directory. Imports no web library before a command runs.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from instar_host.errors import InstarError, reason
from instar_host.plugins import PluginStatus
from instar_host.records import HostContext, Terminal

SWITCH_S = 0.001
LOOK_S = 0.5
"""How often the main thread looks whether the lease has moved; a signal is noticed at once."""
MAX_TROUBLES = 100
"""Errors of plugins that are printed at most: some hold a number that is another one each time."""


class ServeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Where to listen and whom to answer."""

    host: str = "127.0.0.1"
    port: int | None = None
    """None: `port` of the configuration. 0: any free one."""
    allow_hosts: tuple[str, ...] = ()


def serve(arguments: argparse.Namespace, host: HostContext, terminal: Terminal) -> int:
    """Serve until SIGINT or SIGTERM."""
    options = ServeOptions(
        host=arguments.host, port=arguments.port, allow_hosts=tuple(arguments.allow_host)
    )
    with _signals() as stop, _polite_threads():
        if not arguments.sample:
            return serve_until(stop, options, host, terminal, _settle_memory)
        with sample_host(host) as sample:
            print("A made-up sample; nothing of yours is read or written.", file=terminal.out)
            return serve_until(stop, options, sample, terminal, _settle_memory)


def serve_until(
    stop: threading.Event,
    options: ServeOptions,
    host: HostContext,
    terminal: Terminal,
    ready: Callable[[str], None] = lambda _address: None,
) -> int:
    """Serve until `stop` is set; `ready` hears the address. Raises InstarError when it cannot."""
    _require_extra()
    from instar_host.runtime import Runtime
    from instar_host.web.app import build_app
    from instar_host.web.policy import bind_refusal
    from instar_host.web.server import Server, address_of

    policy = _policy(options, host)
    refusal = bind_refusal(options.host, policy)
    if refusal is not None:
        raise InstarError(refusal)
    sock = _listen(options, host)
    address = address_of(sock)
    named = msgspec.structs.replace(host, capabilities=host.capabilities | {"http"})
    runtime = Runtime(lambda: named)
    runtime.start()
    try:
        Server(build_app(runtime, policy, clock=host.clock), sock).start(runtime)
        runtime.publish_address(address)
        while not (stop.is_set() or runtime.wait_ready(LOOK_S)):
            pass  # plugins still load; a signal may end the wait
        if not stop.is_set():
            _greet(options, host, terminal, address, policy.token)
            ready(address)
        alive = partial(runtime.wait_ready, 0)
        watch(runtime.lease_status, stop, terminal, troubles(host.plugins.statuses), alive)
    finally:
        ended = runtime.stop()
        sock.close()
        if not ended:
            late = ", ".join(runtime.late()) or "something"
            print(f"instar: {late} did not end in time", file=terminal.err)
    return 0


def open_again(arguments: argparse.Namespace, host: HostContext, terminal: Terminal) -> int:  # noqa: ARG001 - the signature of a command
    """Print the link of the host that serves this state directory."""
    from instar_host.lease import Lease

    holder = Lease(host.state_dir).holder()
    if holder is None:
        start = "start `instar serve`, or the program that carries instar"
        raise InstarError(f"Nothing serves {host.state_dir} now; {start}.")
    if not holder.address:
        wait = "try again in a moment; inside an application, open its page once"
        who = "Another process" if holder.pid is None else f"Process {holder.pid}"
        raise InstarError(f"{who} runs and has told no address yet: {wait}.")
    if not terminal.is_tty:
        print(holder.address, file=terminal.out)
        raise InstarError("The link holds the token, so it is printed on a terminal only.")
    print(link(holder.address, host.config.token()), file=terminal.out)
    return 0


def link(address: str, token: str) -> str:
    """The page with the token in the fragment, which a browser keeps to itself."""
    return f"{address}/#token={quote(token, safe='')}"


@contextmanager
def sample_host(host: HostContext) -> Iterator[HostContext]:
    """A host in a temporary state directory, fed by what the plugins make up for it.

    Environment and flags are left behind: they name real places. Raises InstarError when no plugin
    brings a sample.
    """
    from instar_host.config import FILE_NAME, Config

    root = Path(tempfile.mkdtemp(prefix="instar-sample-"))
    try:
        state_dir, folder = root / "state", root / "sample"
        for made in (state_dir, folder):
            made.mkdir(mode=0o700)
        empty = Config.load(state_dir, {})
        before = msgspec.structs.replace(host, state_dir=state_dir, config=empty)
        settings = _sample_settings(before, folder)
        text = json.dumps(settings, indent=2)
        (state_dir / FILE_NAME).write_text(text, encoding="utf-8")
        yield msgspec.structs.replace(before, config=Config.load(state_dir, {}))
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _sample_settings(host: HostContext, folder: Path) -> dict[str, dict[str, Any]]:
    """What the plugins' samples need set, merged; a plugin that gave no settings is named."""
    settings: dict[str, dict[str, Any]] = {}
    errors = []
    for outcome in host.plugins.each("instar_sample", host=host, folder=folder):
        try:
            given = msgspec.convert(outcome.value or {}, dict[str, dict[str, Any]])
            json.dumps(given)
        except (msgspec.ValidationError, TypeError, ValueError, RecursionError) as exc:
            host.plugins.report(outcome.plugin, f"instar_sample: {reason(exc)}")
            errors.append(f"{outcome.plugin}: {reason(exc)}")
            continue
        for section, values in given.items():
            settings.setdefault(section, {}).update(values)
        if outcome.error:
            errors.append(f"{outcome.plugin}: {outcome.error}")
    if not settings:
        raise InstarError(f"No plugin brings a sample. {'; '.join(errors)}".strip())
    return settings


def _require_extra() -> None:
    missing = [name for name in ("starlette", "uvicorn") if not importlib.util.find_spec(name)]
    if missing:
        raise InstarError(
            f'Serving needs {" and ".join(missing)}: pip install "instar-plugins[serve]".'
        )


def _policy(options: ServeOptions, host: HostContext) -> Any:
    from instar_host.web.policy import Policy, normal_host

    try:
        allowed = frozenset(normal_host(name) for name in options.allow_hosts)
    except ValueError as exc:
        raise InstarError(f"--allow-host: {exc}.") from None
    return Policy(
        token=host.config.token(), allow_hosts=allowed, agent_name=host.config.project_name
    )


def _listen(options: ServeOptions, host: HostContext) -> Any:
    from instar_host.web.server import PortBusy, listen

    port = host.config.port if options.port is None else options.port
    try:
        return listen(options.host, port)
    except PortBusy as exc:
        raise InstarError(f"{exc} {_whom_to_ask(port, host)}") from None


def _whom_to_ask(port: int, host: HostContext) -> str:
    from instar_host.lease import Lease

    holder = Lease(host.state_dir).holder()
    if holder is None or not holder.address or urlsplit(holder.address).port != port:
        return "Another program listens there; --port 0 picks a free one."
    return (
        f"Process {holder.pid} serves this state directory there already, at {holder.address}: "
        "`instar open` prints its link. --port 0 adds a second one that reads."
    )


def _greet(
    options: ServeOptions, host: HostContext, terminal: Terminal, address: str, token: str
) -> None:
    lines = [f"instar serves {address}"]
    if terminal.is_tty:
        lines.append(f"  open   {link(address, token)}")
        port = urlsplit(address).port
        names = [f"[{name.strip('[]')}]" if ":" in name else name for name in options.allow_hosts]
        lines += [f"         http://{name}:{port}" for name in names]
        lines.append(f"  state  {host.state_dir}")
    print("\n".join(lines), file=terminal.out, flush=True)


def watch(
    lease: Callable[[], Any],
    stop: threading.Event,
    terminal: Terminal,
    news: Callable[[], list[str]] = list,
    alive: Callable[[], object] = bool,
) -> None:
    """Say who writes, whenever that changes, and what is new, until it is time to go. Raises what
    `alive` raises.
    """
    held = True
    while not stop.is_set():
        alive()
        for line in news():
            print(f"  {line}", file=terminal.out, flush=True)
        with suppress(InstarError):  # a look that fails, for want of descriptors, is no end
            held = _say_who_writes(lease(), terminal, held=held)
        stop.wait(LOOK_S)


def troubles(statuses: Callable[[], Iterable[PluginStatus]]) -> Callable[[], list[str]]:
    """What went wrong with plugins since the last call: one line an error, each of them once."""
    said: set[str] = set()

    def news() -> list[str]:
        lines = []
        for status in statuses():
            if not status.error or status.state == "disabled":
                continue
            how = "" if status.state == "loaded" else f" is {status.state}"
            line = f"plugin {status.name}{how}: {status.error}"
            if line not in said and len(said) < MAX_TROUBLES:
                said.add(line)
                lines.append(line)
        return lines

    return news


def _say_who_writes(now: Any, terminal: Terminal, *, held: bool) -> bool:
    """One line when it is not as it was; whether this process writes now."""
    if now.held != held:
        at = f" at {now.address}" if now.address else ""
        who = f"process {now.pid}{at} writes" if now.pid is not None else "nobody writes"
        text = f"{who} here; this one reads, and takes over when it can"
        print(f"  lease  {'this process writes now' if now.held else text}", file=terminal.out)
        terminal.out.flush()
    return bool(now.held)


def _settle_memory(_address: str) -> None:
    """Take what start-up made out of the garbage collector's sight.

    It stays for as long as the process, and walking over it holds the interpreter: measured at the
    first reading of 2,000 files, the longest wait of the loop was that collection, 28 ms. Only in
    a process of our own.
    """
    gc.collect()
    gc.freeze()


@contextmanager
def _polite_threads() -> Iterator[None]:
    """Let the loop have the interpreter within a millisecond, not five, while a tick computes.

    Measured with a tick that never pauses: /health p99 10 ms instead of 24. Only in a process of
    our own: an embedding application keeps its setting.
    """
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before_s)


@contextmanager
def _signals() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set; a second signal does what it always does."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(number: int, _frame: object) -> None:
        stop.set()
        signal.signal(number, before[number])

    before: dict[int, Any] = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, ask)
    try:
        yield stop
    finally:
        for asked, handler in before.items():
            signal.signal(asked, handler)
