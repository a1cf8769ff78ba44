"""The frozen records that hooks return and receive: the vocabulary between a host and its plugins.

Every record is a keyword-only `msgspec.Struct`; a new field always gets a default, so that a plugin
built against an older version keeps working. No record does any work, opens anything or knows a web
framework.
"""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TextIO

import msgspec

from instar_host.clock import Clock

if TYPE_CHECKING:
    from instar_host.config import Config
    from instar_host.plugins import Plugins

Method = Literal["GET", "POST", "PATCH", "PUT", "DELETE"]
Access = Literal["token", "open"]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What every record here is: immutable, built by keyword."""


class Request(Record, frozen=True, kw_only=True):
    """An HTTP request, already past the guard: decoded, bounded, authorised."""

    method: str
    path: str
    params: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Values of the `{names}` in the route's path, percent-decoded."""
    query: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    """Every value of every query parameter, in order."""
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Lower-case names. `authorization` is never in here."""
    body: bytes = b""


class Response(Record, frozen=True, kw_only=True):
    """An HTTP answer. A body that is an async iterator is streamed and ends when the host stops."""

    status: int = 200
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    body: bytes | AsyncIterator[bytes] = b""


Endpoint = Callable[[Request], Response | Awaitable[Response]]


class Parameter(Record, frozen=True, kw_only=True):
    """One path or query parameter of a route, as the API description and the docs show it."""

    name: str
    summary: str
    place: Literal["query", "path"] = "query"
    schema: Mapping[str, Any] = msgspec.field(default_factory=lambda: {"type": "string"})
    """JSON Schema of one value."""


class Route(Record, frozen=True, kw_only=True):
    """One HTTP route. A sync endpoint runs in a bounded thread pool, an async one on the host's
    loop.
    """

    method: Method
    path: str
    """Begins with `/`; `{name}` matches one segment."""
    endpoint: Endpoint
    access: Access = "token"
    summary: str = ""
    parameters: tuple[Parameter, ...] = ()
    body_schema: Mapping[str, Any] | None = None
    """JSON Schema of the request body, for routes that take one."""
    max_body_bytes: int = 64 * 1024
    answers: Mapping[int, str] = msgspec.field(default_factory=lambda: {200: "OK"})
    """Status codes the route may answer besides the guard's own, each with a few words."""


class TickControl(Record, frozen=True, kw_only=True):
    """What a running tick may ask: whether the host wants it to end."""

    stopping: Callable[[], bool]


class Tick(Record, frozen=True, kw_only=True):
    """A repeated piece of work that runs in the process with the lease, never twice at once."""

    name: str
    func: Callable[[TickControl], float | None]
    """Does one bounded slice. Returns the seconds until it wants to run again; None means
    `every_s`.
    """
    every_s: float = 60.0
    at_start: bool = True


class Panel(Record, frozen=True, kw_only=True):
    """A dashboard tab: an ES module that exports `mount(element, api)` and maybe `unmount()`."""

    id: str
    """Lower-case letters, digits, `-`; also the tab's place in the address (`?tab=`)."""
    title: str
    module: Path
    """The JavaScript file, served as `/static/panels/<plugin>/<file name>` with its folder's files.
    """
    order: int = 100


class Terminal(Record, frozen=True, kw_only=True):
    """Where a command talks to: streams and what they can show."""

    out: TextIO
    err: TextIO
    is_tty: bool = False
    """True when `out` is a terminal that a person looks at."""
    width: int = 80
    """Columns of the terminal."""


class Command(Record, frozen=True, kw_only=True):
    """One sub-command of `instar`, with any sub-commands of its own."""

    name: str
    summary: str
    configure: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, HostContext, Terminal], int]
    """Returns the exit code: 0 done, 1 a negative answer, 2 bad usage, 3 somebody else holds the
    lease.
    """


class Option(Record, frozen=True, kw_only=True):
    """A command-line flag that stands for a setting; commands that list it accept it, `serve`
    always.
    """

    flag: str
    """With its dashes: `--claude-dir`."""
    section: str
    key: str
    """The setting it overrides: `config.json` -> section -> key."""
    summary: str
    metavar: str = "DIR"
    repeatable: bool = False
    """True collects every use into a list; false takes the last."""
    commands: tuple[str, ...] = ()
    """Top-level commands, besides `serve`, that take the flag."""


class TopicSent(Record, frozen=True, kw_only=True):
    """What became of a message that a host's Telegram was asked to send."""

    ok: bool
    message_id: int | None = None
    """Telegram's own, where the host learns it."""
    retry_after_s: float | None = None
    """Not sent; to be tried again after so many seconds."""
    reason: str = ""
    """Telegram's description of the refusal, word for word; read where `failure-reasons` is a
    capability. A failure without a reason and without a pause may have been sent, and is repeated
    with a mark."""


class TelegramPort(Protocol):
    """A host's own way to Telegram, for hosts that run a bot already. Calls may block."""

    def capabilities(self) -> frozenset[str]:
        """Of: verbatim (the text arrives as it is), failure-reasons (`TopicSent.reason` is what
        Telegram said), silent (`silent` is heeded). What is missing is named by the bridge's status
        as lost; other words mean nothing.
        """
        ...

    def create_topic(self, name: str) -> int | None:
        """Open a forum topic and return its id; None when it failed and the host does not say
        why.
        """
        ...

    def send(self, topic_id: int | None, text: str, *, silent: bool) -> TopicSent:
        """Send plain text into a topic (None: the general one)."""
        ...


class TickStatus(Record, frozen=True, kw_only=True):
    """How one tick fares, as `/plugins` and a plugin's own status route show it."""

    name: str
    plugin: str
    every_s: float
    running: bool = False
    runs: int = 0
    failures: int = 0
    failures_in_row: int = 0
    """Zero again after a run that ends well."""
    last_error: str | None = None
    """Why the last failing run failed; kept after a good one."""
    last_run_at_ms: int | None = None
    """When the last run began, epoch milliseconds."""
    last_duration_ms: int | None = None


class LeaseStatus(Record, frozen=True, kw_only=True):
    """Who writes in this state directory."""

    held: bool = False
    """True when this very process holds the lease."""
    pid: int | None = None
    """Process id of the holder, whoever it is; None when nobody holds it or it cannot be known."""
    address: str | None = None
    """Where the holder answers HTTP; None when it serves nothing."""


class RuntimeView(Record, frozen=True, kw_only=True):
    """What a plugin may ask of the runtime that carries it, from any thread; `lease` may read a
    file, so not on a loop.
    """

    ticks: Callable[[], tuple[TickStatus, ...]] = lambda: ()
    lease: Callable[[], LeaseStatus] = LeaseStatus
    stopping: Callable[[], bool] = lambda: False
    """True from the moment the host begins to stop."""


class HostContext(Record, frozen=True, kw_only=True):
    """What a plugin is told about the host it lives in; handed to every registration hook."""

    name: str
    version: str
    state_dir: Path
    """Where everything durable lives; private to the user (0700)."""
    config: Config
    clock: Clock
    plugins: Plugins
    """The loaded plugins: how one plugin asks the others (`collect`, `first`, `notify`)."""
    capabilities: frozenset[str] = frozenset()
    """What this host can do, of: http, ticks, telegram, commands, lease."""
    holds_lease: Callable[[], bool] = lambda: True
    """True in the one process that writes; asked again before each effect."""
    wake: Callable[[str], None] = lambda _tick: None
    """Ask for a tick, by name, to run as soon as it may. Callable from any thread."""
    runtime: RuntimeView = RuntimeView()
    """How the ticks fare and who holds the lease; empty answers where nothing runs."""
