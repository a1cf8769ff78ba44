"""Scenarios of damage: bad lines, odd lines, unfinished files, and files that must not be read.

Promises: as `scenarios.py`; everything a right reading must skip is here with its reason.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace

from benchmarks.corpus import damage, text
from benchmarks.corpus.author import Author
from benchmarks.corpus.model import CostFigures
from benchmarks.corpus.scenarios import Scenario, Stage
from benchmarks.corpus.text import dumps, folder_name
from benchmarks.corpus.writer import Event, Line, Place, line_object, render, session_path

Forms = Callable[[Event, Place], Iterator[Line]]


def bad_lines(stage: Stage) -> None:
    """Every kind of damaged line among good ones, and blank lines."""
    author, place, session = stage.cast()
    for line in damage.skipped(_whole(author), place):
        session.add(line)
        if stage.rng.random() < 0.3:
            session.tell(place, *author.request())
    session.add(damage.not_looked_into(_whole(author), place))
    for blank in (b"", b"\r", b"  \t", b"\0" * 100):
        session.add(Line(data=blank))
    session.tell(place, *author.request())


def odd_lines(stage: Stage) -> None:
    """Every odd spelling of a line that counts all the same, behind a byte order mark."""
    author, place, session = stage.cast()
    first, *rest = author.request()
    session.add(damage.with_bom(render(first, place)))
    session.tell(place, *rest)
    for forms in (damage.odd, damage.odd_text):
        for line in _one_each(author, place, forms):
            session.add(line)


def windows_lines(stage: Stage) -> None:
    """A session with CR LF at every line's end."""
    author, place, session = stage.cast()
    for event in stage.talk(author):
        line = render(event, place)
        session.add(replace(line, data=line.data + b"\r"))


def synthetic(stage: Stage) -> None:
    """Local errors that the client writes under the model `<synthetic>`."""
    author, place, session = stage.cast()
    session.tell(place, *author.turn())
    for event in author.request(model="<synthetic>"):
        obj = line_object(event, place) | {"isApiErrorMessage": True, "error": "rate_limit"}
        session.add(Line(data=dumps(obj), skip="synthetic"))


def unfinished(stage: Stage) -> None:
    """One file ends with a whole line without a newline, one with half a line."""
    author, place, session = stage.cast()
    session.tell(place, *author.turn())
    session.add(render(_whole(author), place), end=b"")
    other = replace(place, session=text.uuid(stage.rng))
    half = stage.open(session_path(other))
    half.tell(other, *author.turn())
    data = render(_whole(author), other).data
    half.add(Line(data=data[: stage.rng.randrange(1, len(data))]), end=b"")


def lone_tail(stage: Stage) -> None:
    """A file that holds one line and no newline, and an empty file."""
    author, place, session = stage.cast()
    session.add(render(_whole(author), place), end=b"")
    stage.open(session_path(replace(place, session=text.uuid(stage.rng))))


def decoys(stage: Stage) -> None:
    """Files beside a session that look like transcripts and must not be read."""
    author, place, session = stage.cast(stage.era(lambda era: era.subagents == "nested"))
    session.tell(place, *stage.talk(author))
    data = render(_whole(author), place).data + b"\n"
    folder = f"projects/{folder_name(place.cwd or '')}"
    for path in (
        f"{folder}/sessions-index.json",
        f"{folder}/{place.session}.jsonl.bak",
        f"{folder}/memory/notes.jsonl",
        f"{folder}/{place.session}/tool-results/agent-toolu_01.jsonl",
        f"{folder}/{place.session}/subagents/agent-a0000001.meta.json",
        f"{folder}/{place.session}/subagents/journal.jsonl",
        f"{folder}/{place.session}/subagents/workflows/wf_1/journal.jsonl",
        f"{folder}/{place.session}/subagents/notes.jsonl",
        "projects/loose.jsonl",
        "history.jsonl",
    ):
        stage.decoys[path] = data


def odd_names(stage: Stage) -> None:
    """File names that are not UTF-8, hold a newline, or are as long as a name can be."""
    author, place, _ = stage.cast()
    folder = f"projects/{folder_name(place.cwd or '')}"
    for name in (
        os.fsdecode(b"caf\xe9"),
        "line\nbreak",
        "\x1b[31m",
        "e\u0301",
        "\u00e9",
        "n" * 200,
    ):
        unique = f"{name}-{stage.rng.getrandbits(40):010x}"
        session = stage.open(f"{folder}/{unique}.jsonl")
        session.tell(replace(place, session=text.uuid(stage.rng)), *author.turn())


def too_long_line(stage: Stage) -> None:
    """A line of more than 16 MiB, between two that count."""
    author, place, session = stage.cast()
    session.tell(place, *author.request())
    whole = render(_whole(author), place).data
    padding = b'{"padding":"' + b"x" * (16 << 20) + b'",'
    session.add(Line(data=padding + whole[1:], skip="too-long"))
    session.tell(place, *author.request())


def costs_without_session(stage: Stage) -> None:
    """A `cost-state` line that names no session is nobody's; one without models says nothing."""
    author, place, session = stage.cast(stage.era(lambda era: era.cost_state))
    session.tell(place, *author.turn())
    nobody = author.cost_state(replace(place, session=""))
    nothing: tuple[CostFigures, ...] = ()
    session.add(replace(nobody, costs=nothing))
    empty = {"type": "cost-state", "sessionId": place.session, "modelUsage": {}}
    session.add(Line(data=dumps(empty)))


def _whole(author: Author) -> Event:
    """One row that is a whole request, final and named, whatever the era."""
    return author.request(outputs=(author.rng.randint(20, 999),), steady=True)[0]


def _one_each(author: Author, place: Place, forms: Forms) -> Iterator[Line]:
    """Each form once, every one of a request of its own."""
    count = len(list(forms(_whole(author), place)))
    for number in range(count):
        yield list(forms(_whole(author), place))[number]


DAMAGED: tuple[Scenario, ...] = (
    bad_lines,
    odd_lines,
    windows_lines,
    synthetic,
    unfinished,
    lone_tail,
    decoys,
    odd_names,
    costs_without_session,
)
