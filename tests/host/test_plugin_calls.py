"""Calling plugins: rules 2 and 3 of the contract."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from typing import Any

import pluggy
import pytest

from instar_host import HostContext, PluginError, Response, Route, Tick, hookimpl, hookspec
from instar_host.testing import MakeHost
from tests.host.third_party import status


def route(path: str = "/x") -> Route:
    return Route(method="GET", path=path, endpoint=lambda _request: Response())


class Good:
    @hookimpl
    def instar_routes(self, host: HostContext) -> list[Route]:
        return [route("/good")]


class Raises:
    @hookimpl
    def instar_routes(self, host: HostContext) -> Iterator[Route]:
        yield route("/half")
        raise ValueError("in the middle")


class Leaves:
    @hookimpl
    def instar_routes(self, host: HostContext) -> list[Route]:
        sys.exit(4)


class Text:
    @hookimpl
    def instar_routes(self, host: HostContext) -> object:
        return "not routes"


class Mixed:
    @hookimpl
    def instar_routes(self, host: HostContext) -> object:
        return [route("/one"), {"path": "/two"}]


class Endless:
    @hookimpl
    def instar_routes(self, host: HostContext) -> Iterator[Route]:
        while True:
            yield route()


class Coroutine:
    @hookimpl
    def instar_routes(self, host: HostContext) -> object:
        async def later() -> None: ...

        return later()


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (Raises, "instar_routes: ValueError: in the middle"),
        (Leaves, "instar_routes: SystemExit: 4"),
        (Text, "returned an object of type str where a list of records is expected"),
        (Mixed, "returned an object of type dict where Route is expected"),
        (Endless, "more than 10000 records"),
        (Coroutine, "returned a coroutine"),
    ],
)
def test_an_implementation_that_misbehaves_contributes_nothing(
    make_host: MakeHost, bad: type, words: str
) -> None:
    """pluggy's own call would have stopped for all; ours reports the one and keeps the others."""
    host = make_host([Good, bad])

    found = host.plugins.collect("instar_routes", host=host)

    assert [(c.plugin, c.value.path) for c in found] == [("good", "/good")]
    faulty = status(host.plugins, bad.__name__.lower())
    assert (faulty.state, faulty.errors) == ("loaded", 1)
    assert words in (faulty.error or "")


def half(path: object = "/x", **more: object) -> Route:
    return Route(method="GET", path=path, endpoint=lambda _request: Response(), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (half(None), "a Route whose path is an object of type NoneType, not str"),
        (half("/\ud800"), "a Route whose path holds half a character"),
        (half(access="public"), "a Route whose access is 'public', not one of token, open"),
        (half(answers={"ok": "200"}), "a Route whose answers is an object of type str, not int"),
        (
            half(parameters=("q",)),
            "a Route whose parameters is an object of type str, not Parameter",
        ),
        (
            half(max_body_bytes="1"),
            "a Route whose max_body_bytes is an object of type str, not int",
        ),
        (half(body_schema=[]), "a Route whose body_schema is an object of type list, not Mapping"),
    ],
)
def test_a_record_with_a_field_of_the_wrong_kind_costs_its_plugin_the_answer(
    make_host: MakeHost, record: Route, words: str
) -> None:
    """msgspec checks no field when a record is made; the host must not stumble over one later."""

    class Careless:
        @hookimpl
        def instar_routes(self, host: HostContext) -> list[Route]:
            return [record]

    host = make_host([Good, Careless])

    assert [c.plugin for c in host.plugins.collect("instar_routes", host=host)] == ["good"]
    assert words in (status(host.plugins, "careless").error or "")


def test_a_record_without_annotations_that_can_be_read_is_taken_as_it_is(
    make_host: MakeHost,
) -> None:
    """Names that only exist for a type checker are no fault of the plugin."""

    class Later(Route, frozen=True, kw_only=True):
        more: Missing = None  # type: ignore[name-defined]  # noqa: F821

    class Modern:
        @hookimpl
        def instar_routes(self, host: HostContext) -> list[Route]:
            return [Later(method="GET", path="/x", endpoint=lambda _request: Response())]

    host = make_host([Modern])

    assert len(host.plugins.collect("instar_routes", host=host)) == 1


class Early:
    @hookimpl(tryfirst=True)
    def instar_telegram(self, host: HostContext) -> None:
        return None


class Late:
    @hookimpl(trylast=True)
    def instar_telegram(self, host: HostContext) -> object:
        raise AssertionError("asked although somebody had answered")


class Answers:
    @hookimpl
    def instar_telegram(self, host: HostContext) -> object:
        return "port"


class Fails:
    @hookimpl(tryfirst=True)
    def instar_telegram(self, host: HostContext) -> object:
        raise OSError("no port")


def test_first_stops_at_the_first_answer(make_host: MakeHost) -> None:
    """pluggy's order, past None and past a failure, and nobody is asked after the answer."""
    host = make_host([Late, Answers, Early, Fails])

    answer = host.plugins.first("instar_telegram", host=host)

    assert answer is not None
    assert (answer.plugin, answer.value) == ("answers", "port")
    assert status(host.plugins, "late").errors == 0


def test_calls_follow_pluggy_s_order(make_host: MakeHost) -> None:
    """The last registered is called first, as in `pm.hook`."""

    class A:
        @hookimpl
        def instar_ticks(self, host: HostContext) -> list[Tick]:
            return [Tick(name=type(self).__name__.lower(), func=lambda _control: None)]

    class B(A): ...

    class C(A): ...

    host = make_host([A, B, C])

    found = host.plugins.collect("instar_ticks", host=host)

    assert [c.value.name for c in found] == ["c", "b", "a"]


class VoteSpecs:
    @hookspec
    def votes_allow(self, item: str, reason: str) -> bool | None: ...


class Votes:
    @staticmethod
    def instar_addhooks(pluginmanager: pluggy.PluginManager) -> None:
        pluginmanager.add_hookspecs(VoteSpecs)

    @hookimpl
    def votes_allow(self, item: str) -> bool:
        return item == "good"


class Wrong:
    @hookimpl
    def votes_allow(self) -> object:
        return "yes"


def test_each_gives_one_outcome_a_plugin_and_only_declared_arguments(make_host: MakeHost) -> None:
    """A vote of the wrong kind is an error, so that it can count as a no."""
    plugins = make_host([Votes, Wrong]).plugins

    outcomes = plugins.each("votes_allow", item="good", reason="because")

    assert [(o.plugin, o.value) for o in outcomes] == [("wrong", None), ("votes", True)]
    assert "returned an object of type str where bool is expected" in (outcomes[0].error or "")


def test_a_call_with_wrong_arguments_is_the_caller_s_defect(make_host: MakeHost) -> None:
    """An unknown hook or argument is told to the caller, not blamed on a plugin."""
    plugins = make_host([Votes]).plugins

    with pytest.raises(TypeError, match="votes_allow takes"):
        plugins.each("votes_allow", item="good")
    with pytest.raises(PluginError, match=r"no hook votes_alow .did you mean votes_allow"):
        plugins.each("votes_alow", item="good", reason="")


# Rule 3: observers


class NewsSpecs:
    @hookspec
    def news_heard(self, text: str) -> None: ...


class News:
    @staticmethod
    def instar_addhooks(pluginmanager: pluggy.PluginManager) -> None:
        pluginmanager.add_hookspecs(NewsSpecs)


class Reader:
    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []
        self.told = threading.Event()

    @hookimpl
    def news_heard(self, text: str) -> None:
        if text == "bad":
            raise ValueError("will not hear")
        self.heard.append((text, threading.current_thread().name))
        self.told.set()


def test_observers_hear_in_order_on_their_own_thread_and_errors_are_counted(
    make_host: MakeHost,
) -> None:
    """One that fails is told the next thing all the same."""
    reader = Reader()
    plugins = make_host([News, reader]).plugins

    for text in ("one", "bad", "two"):
        plugins.notify("news_heard", text=text)

    assert plugins.flush(10)
    assert reader.heard == [("one", "instar-observer-reader"), ("two", "instar-observer-reader")]
    assert status(plugins, "reader").errors == 1
    error = status(plugins, "reader").error or ""
    assert error.startswith("news_heard: ValueError: will not hear (test_plugin_calls.py:")


class Hangs:
    def __init__(self) -> None:
        self.release = threading.Event()

    @hookimpl
    def news_heard(self, text: str) -> None:
        self.release.wait(60)


def test_a_hanging_observer_loses_only_its_own_events(make_host: MakeHost) -> None:
    """Its line of 1,000 runs over and is counted; telling never waits."""
    hangs = Hangs()
    plugins = make_host([News, hangs]).plugins

    for at in range(1_200):
        plugins.notify("news_heard", text=str(at))

    assert plugins.close(timeout_s=0.1) == ("hangs",)
    assert status(plugins, "hangs").dropped in (199, 200)
    hangs.release.set()


def test_an_observer_hears_while_another_one_hangs(make_host: MakeHost) -> None:
    """Every plugin has a thread of its own."""
    hangs, reader = Hangs(), Reader()
    plugins = make_host([News, hangs, reader]).plugins
    plugins.notify("news_heard", text="one")

    assert reader.told.wait(10)
    hangs.release.set()
    assert plugins.flush(10)


def test_what_is_left_in_line_is_told_before_closing(make_host: MakeHost) -> None:
    """`close` drains; what comes after it is dropped and counted."""
    reader = Reader()
    plugins = make_host([News, reader]).plugins
    for at in range(500):
        plugins.notify("news_heard", text=str(at))

    assert plugins.close(timeout_s=10) == ()
    plugins.notify("news_heard", text="late")

    assert len(reader.heard) == 500
    assert status(plugins, "reader").dropped == 1


def test_what_a_plugin_brought_can_be_reported_on(make_host: MakeHost) -> None:
    """An endpoint or a tick that fails stands in the status of its plugin; an unknown name is
    nobody's.
    """
    plugins = make_host([Good]).plugins

    plugins.report("good", "the store is locked")
    plugins.report("nobody", "?")

    assert (status(plugins, "good").state, status(plugins, "good").error) == (
        "loaded",
        "the store is locked",
    )


def test_pluggy_leaving_a_plugin_half_registered_is_cleaned_up(
    make_host: MakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pluggy 1.6 keeps a plugin whose validation failed; we take it out."""
    original = pluggy.PluginManager.register

    def half(self: Any, plugin: object, name: str | None = None) -> str | None:
        original(self, plugin, name)
        raise pluggy.PluginValidationError(plugin, "late")

    monkeypatch.setattr(pluggy.PluginManager, "register", half)
    host = make_host([Good])

    assert status(host.plugins, "good").state == "failed"
    assert host.plugins.collect("instar_routes", host=host) == []
