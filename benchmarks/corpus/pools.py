"""Pieces of lines rendered once and used again and again by the bulk writer.

Promises: valid JSON pieces with the sizes of real logs, each with its length in characters where
an estimate needs it. Never touches a file.
"""

from __future__ import annotations

import json
import random
from datetime import timedelta

from benchmarks.corpus import text
from benchmarks.corpus.building import START_MS

DAY_S = 86_400
DAYS = 400
_BLOCK_CHARS = (20, 8_000)
_RESULT_CHARS = (200, 24_000)


class Pools:
    """Content blocks with their characters, payloads of other lines, days and seconds as text.

    `results` are payloads of user lines, 0.5 to 50 KB each; `small` are payloads of lines that
    never bear usage; `huge` is a picture of 2 MB.
    """

    def __init__(self, rng: random.Random) -> None:
        prose = text.prose(rng, 80_000)
        self.blocks = [_block(rng, prose) for _ in range(512)]
        self.results = [_result(rng, prose) for _ in range(512)]
        self.small = [_small(rng, prose) for _ in range(128)]
        self.huge = _huge()
        first = text.EPOCH + timedelta(milliseconds=START_MS)
        self.days = [
            (first + timedelta(days=day)).strftime("%Y-%m-%dT").encode() for day in range(DAYS)
        ]
        self.seconds = [b"%02d:%02d:%02d" % (s // 3600, s // 60 % 60, s % 60) for s in range(DAY_S)]

    def stamp(self, clock_ms: int) -> bytes:
        """The instant `clock_ms` after the start, as the client writes it."""
        seconds, milliseconds = divmod(clock_ms, 1000)
        day, second = divmod(seconds, DAY_S)
        return b"%b%b.%03dZ" % (self.days[day], self.seconds[second], milliseconds)


def _size(rng: random.Random, median: int, sigma: float, bounds: tuple[int, int]) -> int:
    drawn = round(median * rng.lognormvariate(0, sigma))
    return min(max(drawn, bounds[0]), bounds[1])


def _cut(rng: random.Random, prose: str, size: int) -> str:
    start = rng.randrange(len(prose) - size)
    return prose[start : start + size]


def _block(rng: random.Random, prose: str) -> tuple[bytes, int]:
    words = _cut(rng, prose, _size(rng, 350, 1.2, _BLOCK_CHARS))
    match rng.randrange(5):
        case 0:
            thought = {"type": "thinking", "thinking": words, "signature": "Eq" * 150}
            return text.dumps(thought), len(words)
        case 1 | 2:
            return text.dumps({"type": "text", "text": words}), len(words)
        case _:
            given = {"command": words, "timeout": 120_000}
            chars = len(json.dumps(given, ensure_ascii=False, separators=(",", ":")))
            name = text.tool_id(rng)
            block = {"type": "tool_use", "id": name, "name": "Bash", "input": given}
            return text.dumps(block), chars


def _result(rng: random.Random, prose: str) -> bytes:
    stdout = _cut(rng, prose, _size(rng, 2_200, 1.2, _RESULT_CHARS))
    block = {"tool_use_id": text.tool_id(rng), "type": "tool_result", "content": stdout}
    shown: dict[str, object] = {"stdout": stdout, "stderr": "", "interrupted": False}
    if rng.random() < 0.05:
        shown["usage"] = {"input_tokens": 1, "output_tokens": 9_999_999}
    body = {"message": {"role": "user", "content": [block]}, "toolUseResult": shown}
    return b'"type":"user",' + text.dumps(body)[1:-1]


def _small(rng: random.Random, prose: str) -> bytes:
    words = _cut(rng, prose, _size(rng, 300, 0.6, _BLOCK_CHARS))
    match rng.randrange(3):
        case 0:
            body: dict[str, object] = {"data": {"type": "bash_progress", "output": words}}
            return b'"type":"progress",' + text.dumps(body)[1:-1]
        case 1:
            return b'"type":"attachment",' + text.dumps({"attachment": {"text": words}})[1:-1]
        case _:
            body = {"subtype": "stop_hook_summary", "content": words}
            return b'"type":"system",' + text.dumps(body)[1:-1]


def _huge() -> bytes:
    source = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo" * 181_818}
    block = {"type": "image", "source": source}
    return b'"type":"user",' + text.dumps({"message": {"role": "user", "content": [block]}})[1:-1]
