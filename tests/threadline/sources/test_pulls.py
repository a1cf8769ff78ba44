"""Sources of messages whose authors make mistakes: each is named, and costs no more than itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from instar_host import hookimpl
from instar_host.testing import MakeHost
from instar_threadline import MessageSource, NewMessage, SourceBatch
from instar_threadline.plugin import ThreadlinePlugin
from instar_threadline.service import ThreadlineService
from instar_threadline.sources.pulls import SourceState

CONFIG = {"authToken": "tok"}


class Novice:
    """A plugin with one source of messages."""

    def __init__(self, pull: Callable[[str | None, int], Any], name: str = "novice") -> None:
        self.source = MessageSource(name=name, pull=pull)

    @hookimpl
    def threadline_sources(self) -> list[MessageSource]:
        return [self.source]


class Asked:
    """A threadline that asked one source once."""

    def __init__(self, make_host: MakeHost, novice: Novice) -> None:
        plugin = ThreadlinePlugin()
        self.host = make_host([plugin, novice], CONFIG)
        self.service: ThreadlineService = plugin.service(self.host)
        self.done = self.service.pulls.run(lambda: False)

    @property
    def state(self) -> SourceState:
        return self.service.pulls.states()[0]

    @property
    def status(self) -> str:
        """What the plugin's status says."""
        statuses = {status.name: status for status in self.host.plugins.statuses()}
        return statuses["novice"].error or ""


@pytest.fixture
def ask(make_host: MakeHost) -> Iterator[Callable[[Novice], Asked]]:
    made: list[Asked] = []

    def asked(novice: Novice) -> Asked:
        made.append(Asked(make_host, novice))
        return made[-1]

    yield asked
    for one in made:
        one.service.close()


def message(**members: Any) -> NewMessage:
    given = {"direction": "in", "counterparty": "ab", "thread_id": "t", "text": "x", "id": "1"}
    return NewMessage(**(given | members))


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (message(direction="inbound"), "Invalid enum value 'inbound' - at `$.direction`"),
        (message(timestamp=1_767_225_600_000), "Expected `str | null`, got `int`"),
        (message(timestamp="yesterday"), "timestamp must be an ISO 8601 instant"),
        (message(counterparty=""), "from must name the other agent's fingerprint"),
        (message(text=None), "Expected `str`, got `null` - at `$.text`"),
        ({"text": "x"}, "it is an object of type dict, not NewMessage"),
    ],
)
def test_a_message_that_cannot_be_is_counted_and_named_and_the_rest_recorded(
    ask: Callable[[Novice], Asked], bad: Any, words: str
) -> None:
    """One with an unknown direction was dropped without a word, and one with a number for a time
    held up its source for ever."""
    batch = SourceBatch(messages=(bad, message(id="2")), cursor="end")
    asked = ask(Novice(lambda _cursor, _limit: batch))
    assert (asked.state.recorded, asked.state.refused) == (1, 1)
    assert words in asked.state.error
    assert words in asked.status


def test_an_answer_that_is_no_batch_is_named_by_its_kind(ask: Callable[[Novice], Asked]) -> None:
    """A list of messages is what a first attempt returns."""
    asked = ask(Novice(lambda _cursor, _limit: [message()]))
    assert "pull returned an object of type list, not SourceBatch" in asked.status


def test_an_asynchronous_pull_is_told_so(ask: Callable[[Novice], Asked]) -> None:
    """The author reads what to change; Python warned of a coroutine that nobody awaited."""

    async def later(_cursor: str | None, _limit: int) -> SourceBatch:
        return SourceBatch()

    assert "pull is asynchronous; it has to be a plain function" in ask(Novice(later)).status


@pytest.mark.parametrize("name", ["My Mail", "", "ü"])
def test_a_source_has_a_plain_name(ask: Callable[[Novice], Asked], name: str) -> None:
    """It stands in a file of cursors and on pages; any other is refused by name."""
    asked = ask(Novice(lambda _cursor, _limit: SourceBatch(), name))
    assert "has to be called by lower-case letters" in asked.status
    assert asked.service.pulls.states() == ()


def test_a_source_that_promises_more_and_gives_nothing_is_not_asked_at_once(
    ask: Callable[[Novice], Asked],
) -> None:
    """No message and no other cursor is the end for now, or it would be asked without a rest."""
    pulls: list[str | None] = []

    def pull(cursor: str | None, _limit: int) -> SourceBatch:
        pulls.append(cursor)
        return SourceBatch(more=True)

    asked = ask(Novice(pull))
    assert (asked.done, pulls) == (True, [None])
