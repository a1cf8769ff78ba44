"""What can happen in a session, one function a scenario.

Promises: each scenario leaves only whole, plausible files behind, and every hard case of the
accounting rule has one; `SCENARIOS` names them all. Scenarios of damage live in
`damaged_scenarios.py`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.corpus import text
from benchmarks.corpus.author import Author
from benchmarks.corpus.eras import ERAS, Era
from benchmarks.corpus.model import Counters, Iteration
from benchmarks.corpus.writer import (
    Event,
    Line,
    Place,
    Transcript,
    agent_path,
    line_object,
    quote,
    session_path,
)

CWDS = (
    "/home/dev/alpha",
    "/home/dev/beta",
    "/home/dev/beta/packages/core",
    "/srv/grüße/日本 project",
    "/home/dev/" + "long-" * 30,
)


@dataclass(kw_only=True)
class Stage:
    """Where a scenario plays: its random source, its instant and the files it leaves."""

    rng: random.Random
    root: Path
    start_ms: int
    turns: int
    long_line_bytes: int = 300_000
    transcripts: list[Transcript] = field(default_factory=list)
    decoys: dict[str, bytes] = field(default_factory=dict)

    def era(self, suits: Callable[[Era], bool] = lambda _: True) -> Era:
        """An era drawn among those that suit."""
        return self.rng.choice([era for era in ERAS if suits(era)])

    def open(self, path: str) -> Transcript:
        """A new file; `path` is relative to the configuration folder."""
        transcript = Transcript(path=path, root=self.root)
        self.transcripts.append(transcript)
        return transcript

    def cast(self, era: Era | None = None) -> tuple[Author, Place, Transcript]:
        """An author, a place and the open session file of a new session."""
        era = era or self.era()
        place = Place(era=era, session=text.uuid(self.rng), cwd=self.rng.choice(CWDS))
        author = Author(self.rng, era, self.start_ms)
        return author, place, self.open(session_path(place))

    def talk(self, author: Author) -> list[Event]:
        """Some turns of ordinary conversation."""
        events: list[Event] = []
        for _ in range(self.turns):
            events += author.turn()
            if self.rng.random() < 0.4:
                events += author.around()
            author.pause(self.rng.expovariate(1 / 600))
        return events

    def agent(self, place: Place, name: str | None = None) -> Place:
        """The place of a subagent of `place`."""
        return replace(place, agent_id=name or text.agent_id(self.rng))


Scenario = Callable[[Stage], None]


def plain(stage: Stage) -> None:
    """A session of any era with the lines that stand around requests."""
    author, place, session = stage.cast()
    for event in stage.talk(author):
        session.tell(place, event)
        if stage.rng.random() < 0.1:
            for line in author.loose(place):
                session.add(line)
    session.tell(place, *author.request())


def streaming(stage: Stage) -> None:
    """Output grows 1, 1, 900; once the final row stands first."""
    author, place, session = stage.cast()
    counters = replace(author.counters(), output=900)
    session.tell(place, author.user(), *author.request(outputs=(1, 1, 900), counters=counters))
    session.tell(place, *author.request(outputs=(900, 1), counters=counters))
    rows = author.request(outputs=(1, 700, 900))
    session.tell(place, *reversed(rows))


def placeholders(stage: Stage) -> None:
    """Requests whose true output is nowhere in the log, one row of them written twice."""
    author, place, session = stage.cast(stage.era(lambda era: era.telling == "placeholder"))
    session.tell(place, *stage.talk(author))
    rows = author.request(outputs=(2, 2, 2))
    session.tell(place, *rows, rows[1])
    session.tell(place, *author.request(outputs=(10, 10), named=False))
    session.tell(place, *author.request(outputs=(11, 11)))


def subagents(stage: Stage) -> None:
    """Subagents where the era keeps them, workflows and compaction agents among them."""
    author, place, session = stage.cast(stage.era(lambda era: era.subagents != "none"))
    session.tell(place, *stage.talk(author))
    nested = place.era.subagents == "nested"
    for number in range(stage.rng.randint(1, 4)):
        name = text.agent_id(stage.rng)
        workflow = f"wf_{number}" if nested and number % 2 else None
        name = f"acompact-{name}" if nested and number == 2 else name
        agent = stage.agent(place, name)
        told = stage.open(agent_path(place, name, workflow))
        told.tell(agent, author.user(), *author.request(), author.tool_result(), *author.request())
    session.tell(place, *author.request())


def compaction_agents_twice(stage: Stage) -> None:
    """Two compaction agents hold the very same requests."""
    author, place, session = stage.cast(stage.era(lambda era: era.subagents == "nested"))
    session.tell(place, *stage.talk(author))
    events = author.turn(2)
    for _ in range(2):
        name = f"acompact-{text.agent_id(stage.rng)}"
        stage.open(agent_path(place, name)).tell(stage.agent(place, name), *events)


def side_question(stage: Stage) -> None:
    """A `/btw` replays the parent's messages: same message ids, other request ids, sidechain."""
    author, place, session = stage.cast(stage.era(lambda era: era.subagents == "nested"))
    events = stage.talk(author)
    session.tell(place, *events)
    name = f"aside_question-{text.agent_id(stage.rng)}"
    aside = stage.open(agent_path(place, name))
    agent = stage.agent(place, name)
    others: dict[str | None, str] = {}
    for event in events[: stage.rng.randint(len(events) // 2, len(events))]:
        if event.row is None:
            aside.tell(agent, event)
            continue
        other = others.setdefault(event.row.request_id, text.request_id(stage.rng))
        row = replace(event.row, request_id=other)
        aside.tell(agent, replace(event, body=event.body | {"requestId": other}, row=row))
    aside.tell(agent, author.user(), *author.request())


def fork(stage: Stage) -> None:
    """Two resumed sessions copy the history with its ids; one is cut mid-stream."""
    author, place, session = stage.cast()
    events = stage.talk(author)
    session.tell(place, *events)
    for cut in (len(events), max(2, len(events) * 2 // 3)):
        copy = replace(place, session=text.uuid(stage.rng))
        told = stage.open(session_path(copy))
        told.tell(copy, *events[:cut], author.user(), *author.request())
    session.tell(place, *author.request())


def missing_request_ids(stage: Stage) -> None:
    """A gateway that sends no request id; one group has it on some rows only."""
    author, place, session = stage.cast()
    for _ in range(stage.turns):
        session.tell(place, author.user(), *author.request(request_id=None))
    message_id = text.message_id(stage.rng)
    for request_id in ("req_here", None, "req_there"):
        session.tell(
            place, *author.request(message_id=message_id, request_id=request_id, model="glm-5")
        )


def missing_message_ids(stage: Stage) -> None:
    """Only the request id is there, in two files; some rows bear only a uuid, one of them twice."""
    author, place, session = stage.cast()
    for _ in range(stage.turns):
        session.tell(place, author.user(), *author.request(message_id=None))
    request_id = text.request_id(stage.rng)
    session.tell(place, *author.request(message_id=None, request_id=request_id))
    copy = replace(place, session=text.uuid(stage.rng))
    stage.open(session_path(copy)).tell(
        copy, *author.request(message_id=None, request_id=request_id)
    )
    lonely = author.request(message_id=None, request_id=None)
    session.tell(place, *lonely, lonely[0])


def two_request_ids(stage: Stage) -> None:
    """One message id under two request ids: two requests; so is one request id on two messages."""
    author, place, session = stage.cast()
    shared = text.request_id(stage.rng)
    for _ in range(2):
        session.tell(place, *author.request(request_id=shared))
    message_id = text.message_id(stage.rng)
    for _ in range(2):
        session.tell(place, author.user(), *author.request(message_id=message_id))


def late_merge(stage: Stage) -> None:
    """Requests that stand apart until a later row unites them; a known request id joins others."""
    author, place, session = stage.cast()
    message_id, shared = text.message_id(stage.rng), text.request_id(stage.rng)
    for _ in range(3):
        session.tell(place, author.user(), *author.request(message_id=message_id))
    session.tell(place, *author.request(request_id=shared), *author.request(request_id=shared))
    session.tell(place, *stage.talk(author))
    author.pause(86_400)
    other = replace(place, session=text.uuid(stage.rng), cwd="/home/dev/late")
    late = stage.open(session_path(other))
    late.tell(other, *author.request(message_id=message_id, request_id=None))
    late.tell(other, *author.request(message_id=None, request_id=shared))


def quotes(stage: Stage) -> None:
    """`agent_progress` quotes, of an agent whose file is there and of one whose file is gone."""
    author, place, session = stage.cast(stage.era(lambda era: era.progress))
    session.tell(place, *stage.talk(author))
    for kept in (True, False):
        agent = stage.agent(place)
        assert agent.agent_id is not None
        events = author.turn(2)
        if kept:
            stage.open(agent_path(place, agent.agent_id)).tell(agent, *events)
        for event in events:
            session.add(quote(event, agent, place, text.uuid(stage.rng)))


def iterations(stage: Stage) -> None:
    """Advisor and compaction calls that the top level leaves out, and fallbacks that failed."""
    author, place, session = stage.cast(stage.era(lambda era: era.iterations))
    advice = Iteration(
        type="advisor_message",
        model="claude-opus-4-6",
        counters=Counters(input=100_000, output=1_000),
    )
    unnamed = replace(advice, model=None, counters=_iteration_counters(stage.rng))
    packed = Iteration(type="compaction", counters=_iteration_counters(stage.rng))
    attempt = Iteration(
        type="fallback_message",
        model="claude-sonnet-5",
        counters=_iteration_counters(stage.rng),
    )
    served = replace(attempt, model="claude-opus-5", counters=_iteration_counters(stage.rng))
    for extra in ((advice,), (unnamed, advice), (packed,), (attempt, served), (attempt, served)):
        session.tell(place, author.user(), *author.request(extra=extra), author.tool_result())
    mixed = (packed, advice, attempt, attempt, served)
    events = author.request(extra=mixed, outputs=(400, 400))
    session.tell(place, *events)
    fewer = author.request(extra=mixed[:3], outputs=(400,), message_id=_message_id(events[0]))
    agent = stage.agent(place)
    stage.open(agent_path(place, agent.agent_id or "")).tell(agent, *fewer)


def tool_use_results(stage: Stage) -> None:
    """A finished task's `toolUseResult` quotes usage that never counts."""
    author, place, session = stage.cast()
    usage = {"input_tokens": 10**6, "output_tokens": 10**6, "service_tier": "standard"}
    message = {"type": "assistant", "message": {"id": "msg_inner", "usage": usage}}
    for _ in range(stage.turns):
        session.tell(place, *author.request())
        result = {"status": "completed", "totalTokens": 2_000_000, "usage": usage}
        session.tell(place, author.tool_result(result), author.tool_result({"content": [message]}))


def look_alikes(stage: Stage) -> None:
    """Lines of other types that hold a whole assistant row somewhere inside; none counts."""
    author, place, session = stage.cast()
    for inner in author.request():
        row = line_object(inner, place)
        for line in (
            {"type": "file-history-snapshot", "messageId": inner.uuid, "snapshot": row},
            {"type": "progress", "data": {"type": "hook_progress", "message": row}},
            {"type": "progress", "data": {"type": "agent_progress", "message": {"type": "user"}}},
            {"type": "progress", "data": {"normalizedMessages": [row], "type": "bash_progress"}},
            {"message": row["message"], "sessionId": place.session, "type": "user"},
            row | {"type": "assistant-draft"},
            {"type": None, "message": row["message"]},
            {"message": row},
            {},
        ):
            session.add(Line(data=text.dumps(line)))
        session.tell(place, *author.request())


def long_lines(stage: Stage) -> None:
    """A picture and a row that are longer than any read buffer."""
    author, place, session = stage.cast()
    size = stage.long_line_bytes
    picture = {"type": "image", "source": {"type": "base64", "data": "iVBORw0K" * (size // 8)}}
    for event in author.request():
        session.tell(place, event, author.tool_result({"content": [picture]}))
    for event in author.request():
        assert event.row is not None
        blocks = [{"type": "text", "text": "é" * (size // 2)}]
        body = event.body | {"message": event.body["message"] | {"content": blocks}}
        session.tell(place, replace(event, body=body, row=replace(event.row, chars=size // 2)))
    session.tell(place, *author.request())


def cost_states(stage: Stage) -> None:
    """The client's own running totals, told again and again."""
    author, place, session = stage.cast(stage.era(lambda era: era.cost_state))
    for _ in range(stage.turns + 1):
        session.tell(place, *author.turn())
        session.add(author.cost_state(place))


def wandering(stage: Stage) -> None:
    """A session that changes its directory, its branch and its model, and loses its cwd."""
    author, place, session = stage.cast()
    for cwd in (place.cwd, "/home/dev/gamma", None):
        moved = replace(place, cwd=cwd, branch="" if cwd is None else "feature/ü")
        session.tell(moved, *author.turn())
        author.pause(3 * 3600)


def _iteration_counters(rng: random.Random) -> Counters:
    cache_5m, cache_1h = rng.randrange(500), rng.randrange(500)
    return Counters(
        input=rng.randrange(9000),
        output=rng.randrange(2000),
        cache_create=cache_5m + cache_1h,
        cache_read=rng.randrange(90_000),
        cache_5m=cache_5m,
        cache_1h=cache_1h,
    )


def _message_id(event: Event) -> str | None:
    return None if event.row is None else event.row.message_id


SCENARIOS: tuple[Scenario, ...] = (
    plain,
    streaming,
    placeholders,
    subagents,
    compaction_agents_twice,
    side_question,
    fork,
    missing_request_ids,
    missing_message_ids,
    two_request_ids,
    late_merge,
    quotes,
    iterations,
    tool_use_results,
    look_alikes,
    long_lines,
    cost_states,
    wandering,
)
