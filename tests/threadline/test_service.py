"""The parts together: sources of other plugins, parts that fail alone, a host that starts anew."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import cast

import pytest

from instar_host.errors import InstarError
from instar_host.hookspecs import hookimpl
from instar_host.records import HostContext
from instar_host.testing import MakeHost
from instar_threadline import MessageSource, SourceBatch
from instar_threadline.messages import NewMessage
from instar_threadline.plugin import ThreadlinePlugin
from instar_threadline.record.verify import verify
from instar_threadline.service import ThreadlineService
from tests.threadline.logs import open_log, received

CONFIG = {"authToken": "test-auth-token"}


class Courier:
    """A plugin with a history of messages."""

    def __init__(self, *messages: NewMessage, fails: bool = False) -> None:
        self.messages = messages
        self.fails = fails
        self.asked: list[str | None] = []

    @hookimpl
    def threadline_sources(self, host: HostContext) -> Iterable[MessageSource]:
        return [MessageSource(name="courier", pull=self.pull)]

    def pull(self, cursor: str | None, limit: int) -> SourceBatch:
        self.asked.append(cursor)
        if self.fails:
            raise ValueError("no connection")
        start = int(cursor or 0)
        part = self.messages[start : start + 2]
        at = start + len(part)
        return SourceBatch(messages=part, cursor=str(at), more=at < len(self.messages))


def never() -> bool:
    return False


def service_of(host: HostContext, plugin: ThreadlinePlugin) -> ThreadlineService:
    return plugin.service(host)


def test_a_source_is_pulled_with_its_history(make_host: MakeHost) -> None:
    """All of it, once, in order; the next pull goes on from the saved cursor, also after a
    restart."""
    history = [received(str(i), id=f"m-{i}", verified=False) for i in range(5)]
    plugin, courier = ThreadlinePlugin(), Courier(*history)
    host = make_host([plugin, courier], CONFIG)
    service = service_of(host, plugin)
    assert service.pulls.run(never)
    assert service.pulls.states()[0].recorded == 5
    service.index(never)
    detail = service.views().thread("t-1")
    assert detail is not None
    assert sorted(m.text for m in detail.messages) == ["0", "1", "2", "3", "4"]
    assert not any(m.verified for m in detail.messages)
    service.close()
    again, later = ThreadlinePlugin(), Courier(*history)
    host = make_host([again, later], CONFIG)
    assert service_of(host, again).pulls.run(never)
    assert later.asked == ["5"]
    again.service(host).close()


def test_a_lost_cursor_records_nothing_twice(make_host: MakeHost, state_dir: Path) -> None:
    """Asked from the beginning again, everything is a duplicate; a conflict is kept once."""
    history = [received("a", id="m-1"), received("b", id="m-1")]
    plugin = ThreadlinePlugin()
    service = service_of(make_host([plugin, Courier(*history)], CONFIG), plugin)
    service.pulls.run(never)
    (state_dir / "threadline" / "sources.json").unlink()
    service.pulls.run(never)
    state = service.pulls.states()[0]
    assert (state.recorded, state.duplicates) == (2, 2)
    service.close()


def test_a_source_that_fails_fails_alone(make_host: MakeHost) -> None:
    """Reported on its plugin's status; nothing else of threadline notices."""
    plugin = ThreadlinePlugin()
    host = make_host([plugin, Courier(fails=True)], CONFIG)
    service = service_of(host, plugin)
    assert service.pulls.run(never)
    assert "no connection" in service.pulls.states()[0].error
    assert service.recorder.record(received("fine")).status == "recorded"
    service.close()


def test_a_refused_keyring_stops_the_signing_and_not_the_views(
    make_host: MakeHost, state_dir: Path
) -> None:
    """S7: messages wait in the spool, the reason is shown, and what is there is shown too."""
    plugin = ThreadlinePlugin()
    service = service_of(make_host([plugin], CONFIG), plugin)
    service.recorder.record(received("before"))
    service.index(never)
    service.close()
    keyring = state_dir / "threadline" / "keyring.json"
    keyring.chmod(0o644)
    plugin = ThreadlinePlugin()
    service = service_of(make_host([plugin], CONFIG), plugin)
    assert service.recorder.record(received("after")).status == "spooled"
    assert "chmod 600" in service.health().keyring_error
    service.index(never)
    assert service.views().stats().messages == 1
    keyring.chmod(0o600)
    assert service.recorder.retry()
    service.index(never)
    assert service.views().stats().messages == 2
    assert verify(state_dir, service.keyring()).ok
    service.close()


def test_an_index_that_cannot_be_kept_is_tried_again(make_host: MakeHost, state_dir: Path) -> None:
    """Reported, never given up: once the obstacle is gone, everything is there."""
    (state_dir / "server-data").mkdir(mode=0o700)
    obstacle = state_dir / "server-data" / "threadline-index.db"
    obstacle.mkdir()
    plugin = ThreadlinePlugin()
    service = service_of(make_host([plugin], CONFIG), plugin)
    service.recorder.record(received("one"))
    with pytest.raises(InstarError):
        service.index(never)
    assert service.health().index_error
    obstacle.rmdir()
    assert service.index(never)
    assert service.health().index_error == ""
    assert service.views().stats().messages == 1
    service.close()


class Odd:
    """A plugin whose source answers with a cursor that cannot be kept."""

    def __init__(self, cursor: object) -> None:
        self.cursor = cursor

    @hookimpl
    def threadline_sources(self, host: HostContext) -> Iterable[MessageSource]:
        return [MessageSource(name="odd", pull=self.pull)]

    def pull(self, _cursor: str | None, _limit: int) -> SourceBatch:
        return SourceBatch(cursor=cast("str", self.cursor))


@pytest.mark.parametrize("cursor", [7, b"x", "half a character \ud800", "x" * (1 << 21)])
def test_a_cursor_that_cannot_be_kept_costs_no_other_source_its_own(
    make_host: MakeHost, cursor: object
) -> None:
    """It is its plugin's error; the others go on where they were, also after a restart."""
    history = [received(str(i), id=f"m-{i}", verified=False) for i in range(5)]
    plugin, courier = ThreadlinePlugin(), Courier(*history)
    host = make_host([plugin, courier, Odd(cursor)], CONFIG)
    service = service_of(host, plugin)
    for _ in range(2):
        service.pulls.run(never)
    assert courier.asked[-1] == "5"
    errors = {state.name: state.error for state in service.pulls.states()}
    assert errors["courier"] == ""
    assert "cursor" in errors["odd"]
    service.close()


def test_lines_that_another_process_signs_with_a_newer_token_verify(make_host: MakeHost) -> None:
    """A token may change while this process runs on: its keyring is read again, and what could
    not be verified before is looked at again."""
    plugin = ThreadlinePlugin()
    service = service_of(make_host([plugin], CONFIG), plugin)
    state_dir = service.host.state_dir
    service.recorder.record(received("one", id="1"))
    service.index(never)
    keys = Path(state_dir) / "threadline/keyring.json"
    older = keys.read_bytes()
    open_log(Path(state_dir), token="newer").record([received("two", id="2")])
    newer = keys.read_bytes()
    keys.write_bytes(older)
    service.index(never)
    unknown = service.views().integrity().integrity
    keys.write_bytes(newer)
    service.index(never)

    assert (unknown, service.views().integrity().integrity) == ("unknown", "ok")
    detail = service.views().thread("t-1")
    assert detail is not None
    assert [message.verified for message in detail.messages] == [True, True]


def test_what_can_never_be_recorded_is_refused_while_the_log_is_away(
    make_host: MakeHost, state_dir: Path
) -> None:
    """Nobody is told that a message waits when it would be thrown away later, in silence."""
    (state_dir / "threadline").mkdir()
    (state_dir / "threadline/inbox.lock").mkdir()
    plugin = ThreadlinePlugin()
    recorder = service_of(make_host([plugin], CONFIG), plugin).recorder
    answers = [recorder.record(received("text", counterparty=peer)) for peer in ("", "d" * 32)]
    assert [answer.status for answer in answers] == ["refused", "spooled"]
    assert recorder.state().waiting == 1
