"""Lines as they should not be: damaged ones that are skipped, odd ones that still count.

Promises: each variant breaks one thing only, so the reason of a skip is never in doubt; each odd
spelling says exactly what the plain line said. Chooses nothing by chance.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from benchmarks.corpus.model import Row
from benchmarks.corpus.text import EPOCH, dumps
from benchmarks.corpus.writer import Event, Line, Place, line_object, placed_row, render

Json = dict[str, Any]
DEPTH = 100_000
BOM = b"\xef\xbb\xbf"


def with_bom(line: Line) -> Line:
    """The line behind a byte order mark; counts only as the first of its file."""
    return replace(line, data=BOM + line.data)


def skipped(event: Event, place: Place) -> Iterator[Line]:
    """Damaged forms of an assistant event, each with the reason for which it is skipped."""
    good = render(event, place).data
    yield _skip(_user_line(event, place)[:-40], "malformed")
    yield from (_skip(data, "malformed") for data in _malformed(good))
    for data in (b"null", b"[1,2]", b"42", b'"text"', b"true"):
        yield _skip(data, "not-object")
    deep = b'{"type":"assistant","message":{"content":' + b"[" * DEPTH + b"]" * DEPTH + b"}}"
    yield _skip(deep, "too-deep")
    yield from _bad_fields(line_object(event, place))


def not_looked_into(event: Event, place: Place) -> Line:
    """A line of a type that never bears usage, broken inside: neither counted nor skipped."""
    return Line(data=_user_line(event, place)[:-40] + render(event, place).data)


def odd(event: Event, place: Place) -> Iterator[Line]:
    """Forms of an assistant event that no client of today writes and that count all the same."""
    line = line_object(event, place)
    row = placed_row(event, place)
    assert row is not None
    plain = dumps(line)
    spaced = json.dumps(line, ensure_ascii=True).encode()
    for data in (
        b"\0" * 512 + plain,
        b"  \t" + plain + b"  ",
        plain + b"\r",
        spaced,
        dumps({"type": "assistant"} | line),
        dumps(dict(reversed(line.items()))),
        dumps(line | {"novelty": {"usage": {"output_tokens": 7_000}}, "type2": "user"}),
    ):
        yield Line(data=data, ts=event.ts, row=row)
    for spelling in _spellings_of(event.ts):
        yield Line(data=dumps(line | {"timestamp": spelling}), ts=event.ts, row=row)
    yield from _odd_numbers(event, line, row)


def odd_text(event: Event, place: Place) -> Iterator[Line]:
    """An assistant event whose text holds a lone surrogate, or bytes that are not UTF-8."""
    line = line_object(event, place)
    row = placed_row(event, place)
    assert row is not None
    message = line["message"]
    for content, data in (
        ("cut \ud83d", None),
        ("\ude00 cut", None),
        ("whole \U0001f600", None),
        ("not utf-8 ?", b"not utf-8 \xff"),
        ("surrogate bytes ???", b"surrogate bytes \xed\xa0\xbd"),
        ("overlong ??", b"overlong \xc0\xaf"),
    ):
        blocks = [{"type": "text", "text": content}]
        plain = dumps(line | {"message": message | {"content": blocks}})
        if data is not None:
            plain = plain.replace(content.encode(), data)
        yield Line(data=plain, ts=event.ts, row=replace(row, chars=len(content)))


def _malformed(good: bytes) -> Iterator[bytes]:
    yield good[: good.index(b'"usage"') + 30]
    yield good[: good.index(b'"message"')] + good
    yield good[:-1]
    yield good + good
    yield good + b"}"
    yield good[:-1] + b",}"
    yield good.replace(b'"requestId":"', b'"requestId":"\0', 1)
    yield good.replace(b'"uuid"', b"'uuid'", 1)
    yield b"hello"
    yield BOM + good
    yield '{"type":"assistant"}'.encode("utf-16-le")


def _user_line(event: Event, place: Place) -> bytes:
    body = {"message": {"role": "user", "content": "x" * 90}}
    return render(replace(event, type="user", body=body), place).data


def _bad_fields(line: Json) -> Iterator[Line]:
    message = line["message"]
    yield _skip(dumps(line | {"message": message | {"usage": None}}), "no-usage")
    yield _skip(dumps(line | {"message": _without(message, "usage")}), "no-usage")
    yield _skip(dumps(_without(line, "message")), "no-usage")
    yield _skip(dumps(_without(line, "sessionId")), "no-session-id")
    yield _skip(dumps(line | {"sessionId": ""}), "no-session-id")
    yield _skip(dumps(_without(line, "timestamp")), "no-timestamp")
    yield _skip(dumps(line | {"timestamp": None}), "no-timestamp")
    for stamp in ("yesterday", "2026-01-05T10:00:00.000", "2026-13-05T10:00:00.000Z"):
        yield _skip(dumps(line | {"timestamp": stamp}), "bad-timestamp")
    numbers: tuple[object, ...] = (True, "12", -1, 1.5, 2**60, 10**400, [], {})
    for value in numbers:
        usage = message["usage"] | {"output_tokens": value}
        yield _skip(dumps(line | {"message": message | {"usage": usage}}), "bad-number")
    nameless = _without(line, "uuid", "requestId") | {"message": _without(message, "id")}
    yield _skip(dumps(nameless), "no-identity")
    empty = line | {"uuid": "", "requestId": "", "message": message | {"id": ""}}
    yield _skip(dumps(empty), "no-identity")


def _odd_numbers(event: Event, line: Json, row: Row) -> Iterator[Line]:
    rounder = copy.deepcopy(line)
    rounder["message"]["usage"]["output_tokens"] = 1.0
    changed = replace(row.counters, output=1)
    yield Line(data=dumps(rounder), ts=event.ts, row=replace(row, counters=changed))
    marked = copy.deepcopy(line)
    marked["message"]["usage"] |= {"input_tokens": "@", "cache_read_input_tokens": None}
    changed = replace(row.counters, input=1000, cache_read=0)
    data = dumps(marked).replace(b'"@"', b"1e3")
    yield Line(data=data, ts=event.ts, row=replace(row, counters=changed))


def _spellings_of(ts: int) -> Iterator[str]:
    seconds, milliseconds = divmod(ts, 1000)
    for name, minutes in (("+02:00", 120), ("-05:30", -330), ("+00:00", 0)):
        stamp = (EPOCH.timestamp() + seconds) + minutes * 60
        local = EPOCH.fromtimestamp(stamp, EPOCH.tzinfo).strftime("%Y-%m-%dT%H:%M:%S")
        yield f"{local}.{milliseconds:03d}{name}"


def _skip(data: bytes, reason: str) -> Line:
    return Line(data=data, skip=reason)


def _without(line: Json, *names: str) -> Json:
    return {name: value for name, value in line.items() if name not in names}
