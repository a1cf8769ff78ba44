"""Writes a conversation: requests row by row as an era tells them, and the lines around them.

Promises: everything is drawn from the given random source and starts at the given instant; each
usage row carries the `Row` it was written from. Knows nothing of files.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from benchmarks.corpus import text
from benchmarks.corpus.eras import Era, outputs_told, row_count
from benchmarks.corpus.model import CostFigures, Counters, Iteration, Row
from benchmarks.corpus.writer import Event, Line, Place, usage_object

Json = dict[str, Any]
FRESH = "fresh"


class Author:
    """One teller with a running clock (`now_ms`, epoch ms) and the chain of parent uuids."""

    def __init__(self, rng: random.Random, era: Era, now_ms: int) -> None:
        self.rng = rng
        self.era = era
        self.now_ms = now_ms
        self.parent: str | None = None
        self.costs: dict[str, Json] = {}

    def turn(self, requests: int | None = None) -> list[Event]:
        """A prompt, then some requests with tool results between them."""
        events = [self.user()]
        for _ in range(requests or self.rng.randint(1, 4)):
            events += self.request()
            events.append(self.tool_result())
        return events

    def request(
        self,
        *,
        message_id: str | None = FRESH,
        request_id: str | None = FRESH,
        model: str | None = None,
        outputs: Sequence[int] | None = None,
        counters: Counters | None = None,
        extra: Sequence[Iteration] = (),
        named: bool = True,
        steady: bool = False,
    ) -> list[Event]:
        """The rows of one request, one content block each.

        `FRESH` ids are drawn, None leaves the field out. `outputs` is what each row shows.
        `extra` iterations make every row rich, `named=False` leaves the uuids out, and `steady`
        makes all rows identical in usage and final.
        """
        rng, era = self.rng, self.era
        total = counters or self.counters()
        if outputs is None:
            rows = row_count(era, rng)
            outputs = (
                [total.output] * rows if steady else outputs_told(era, total.output, rows, rng)
            )
        stops = steady or rng.random() < era.stop_share
        fast = rng.random() < 0.1
        template = Row(
            message_id=text.message_id(rng) if message_id == FRESH else message_id,
            request_id=text.request_id(rng) if request_id == FRESH else request_id,
            model=model or rng.choice(era.models),
            tier="standard",
        )
        events = []
        for number, output in enumerate(outputs):
            last = number == len(outputs) - 1
            rich = bool(extra) or era.telling == "every-row"
            rich = rich or (era.telling == "rich-last" and last and stops)
            row = replace(
                template,
                counters=self._shown(total, output, rich=rich),
                stop=stops and (last or steady or era.telling == "every-row"),
                rich=rich,
                speed=("fast" if fast else "standard") if rich else None,
            )
            events.append(self._row_event(row, extra, named=named))
        return events

    def counters(self) -> Counters:
        """Plausible final counters of a request."""
        rng = self.rng
        five, hour = rng.choice(((0, 1), (1, 0), (1, 1))) if self.era.split_cache else (0, 0)
        cache_5m = five * int(rng.lognormvariate(7, 1.5))
        cache_1h = hour * int(rng.lognormvariate(7, 1.5))
        output = int(rng.lognormvariate(5, 1.3)) + 1
        return Counters(
            input=int(rng.lognormvariate(3, 2)),
            output=output,
            cache_create=cache_5m + cache_1h if self.era.split_cache else rng.randrange(9000),
            cache_read=int(rng.lognormvariate(9.5, 1.2)),
            cache_5m=cache_5m,
            cache_1h=cache_1h,
            web_search=rng.choice((0, 0, 0, 0, 0, 3)),
            web_fetch=rng.choice((0, 0, 0, 0, 0, 1)),
            thinking=output // 3,
        )

    def user(self, words: int | None = None) -> Event:
        """A prompt."""
        content = text.text(self.rng, words or self.rng.randint(3, 60))
        return self._event("user", {"message": {"role": "user", "content": content}})

    def tool_result(self, result: Json | None = None) -> Event:
        """A tool's answer; `result` is the raw `toolUseResult`."""
        stdout = text.text(self.rng, self.rng.randint(3, 200))
        block = {"tool_use_id": text.tool_id(self.rng), "type": "tool_result", "content": stdout}
        shown = {"stdout": stdout, "stderr": "", "interrupted": False}
        return self._event(
            "user",
            {
                "message": {"role": "user", "content": [block]},
                "toolUseResult": shown if result is None else result,
            },
        )

    def around(self) -> list[Event]:
        """Lines of the chain that never count: system, attachment, hook progress."""
        events = [
            self._event(
                "system", {"subtype": "turn_duration", "durationMs": 4321, "isMeta": False}
            ),
            self._event(
                "system",
                {"subtype": "compact_boundary", "compactMetadata": {"preTokens": 155_000}},
            ),
        ]
        if self.era.attachments:
            events.append(self._event("attachment", {"attachment": {"type": "todo", "items": []}}))
        if self.era.progress:
            data = {"type": "bash_progress", "output": '"usage":{"output_tokens":5}', "lines": 3}
            events.append(self._event("progress", {"data": data, "toolUseID": "toolu_1"}))
        return self.rng.sample(events, k=self.rng.randint(1, len(events)))

    def loose(self, place: Place) -> list[Line]:
        """Lines outside the chain that never count."""
        stamp = text.iso(self.now_ms)
        lines: list[Json] = [
            {
                "type": "queue-operation",
                "operation": "enqueue",
                "timestamp": stamp,
                "sessionId": place.session,
                "content": "later",
            }
        ]
        if self.era.summaries:
            lines.append({"type": "summary", "summary": "Größe", "leafUuid": text.uuid(self.rng)})
        if self.era.snapshots:
            snapshot = {"trackedFileBackups": {"a.py": {"version": 1}}, "timestamp": stamp}
            message_id = text.uuid(self.rng)
            lines.append(
                {"type": "file-history-snapshot", "messageId": message_id, "snapshot": snapshot}
            )
        if self.era.attachments:
            lines.append({"type": "last-prompt", "lastPrompt": "go", "sessionId": place.session})
        return [Line(data=text.dumps(line), ts=self.now_ms) for line in lines]

    def cost_state(self, place: Place) -> Line:
        """The client's own running totals; each call raises them."""
        for model in self.rng.sample(self.era.models, k=2):
            kept = self.costs.setdefault(model, {})
            for name in ("inputTokens", "outputTokens", "cacheReadInputTokens"):
                kept[name] = kept.get(name, 0) + self.rng.randrange(5000)
            kept["costUSD"] = round(kept.get("costUSD", 0.0) + self.rng.random(), 6)
        line = {
            "type": "cost-state",
            "sessionId": place.session,
            "totalCostUSD": sum(kept["costUSD"] for kept in self.costs.values()),
            "modelUsage": self.costs,
            "hasUnknownModelCost": False,
        }
        figures = tuple(
            CostFigures(session=place.session, model=model, figures=tuple(sorted(kept.items())))
            for model, kept in self.costs.items()
        )
        return Line(data=text.dumps(line), ts=self.now_ms, costs=figures)

    def pause(self, seconds: float) -> None:
        """Let the story's clock run."""
        self.now_ms += round(seconds * 1000)

    def _event(self, kind: str, body: Json, row: Row | None = None, *, named: bool = True) -> Event:
        self.pause(self.rng.lognormvariate(0.5, 1.2))
        uuid = text.uuid(self.rng) if named else None
        event = Event(type=kind, ts=self.now_ms, uuid=uuid, parent=self.parent, body=body, row=row)
        self.parent = uuid
        return event

    def _row_event(self, row: Row, extra: Sequence[Iteration], *, named: bool) -> Event:
        block, chars = self._block()
        if row.rich and self.era.iterations:
            mirror = Iteration(type="message", counters=_four(row.counters))
            row = replace(row, iterations=(mirror, *extra))
        message: Json = {"model": row.model}
        if row.message_id is not None:
            message["id"] = row.message_id
        message |= {
            "type": "message",
            "role": "assistant",
            "content": [block],
            "stop_reason": "tool_use" if row.stop else None,
            "stop_sequence": None,
            "usage": usage_object(self.era, row),
        }
        body: Json = {"message": message}
        if row.request_id is not None:
            body["requestId"] = row.request_id
        if self.era.block_index:
            body = {"effort": "high", "apiBlockIndex": 0} | body
        event = self._event("assistant", body, named=named)
        return replace(event, row=replace(row, ts=event.ts, uuid=event.uuid, chars=chars))

    def _block(self) -> tuple[Json, int]:
        rng = self.rng
        words = text.text(rng, rng.randint(1, 80))
        block: Json
        match rng.randrange(6):
            case 0:
                block = {"type": "thinking", "thinking": words, "signature": "EqQB" + "x" * 60}
                return block, len(words)
            case 1:
                return {"type": "redacted_thinking", "data": "Ep8C" * 9}, 36
            case 2:
                return {"type": "image", "source": {"data": "iVBOR" * 20}}, 0
            case 3 | 4:
                given = {"command": words, "ratio": rng.random(), "nested": {"lines": [1, None]}}
                block = {
                    "type": "tool_use",
                    "id": text.tool_id(rng),
                    "name": "Bash",
                    "input": given,
                }
                return block, len(json.dumps(given, ensure_ascii=False, separators=(",", ":")))
            case _:
                return {"type": "text", "text": words}, len(words)

    def _shown(self, total: Counters, output: int, *, rich: bool) -> Counters:
        shown = replace(total, output=output)
        if not rich:
            shown = replace(shown, web_search=0, web_fetch=0)
        if not self.era.block_index:
            shown = replace(shown, thinking=0)
        return shown


def _four(counters: Counters) -> Counters:
    return replace(counters, web_search=0, web_fetch=0, thinking=0)
