"""Words, ids and JSON bytes for generated transcripts, all drawn from a given random source.

Promises: the same draw for the same source; text with every awkward character a real log holds,
and JSON as Node writes it (raw UTF-8, lone surrogates escaped). Never touches a clock.
"""

from __future__ import annotations

import json
import random
import re
import string
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ALPHABET = string.ascii_letters + string.digits
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_WORDS = (
    *("the", "file", "test", "and", "returns", "error", "def", "class", "import", "commit"),
    *(
        "Größe",
        "naïve",
        "日本語",
        "русский",
        "עברית",
        "العربية",
        "e\u0301",
        "👩\u200d💻",
        "🚀",
        "\U0001d54f",
    ),
    *(
        "\u2028",
        "\u2029",
        "\u00a0",
        "\ufeff",
        "\t",
        "\r\n",
        "\n\n",
        "\\",
        '"',
        "{",
        "}",
        "[",
        "\\u",
    ),
    *(
        '"type":"assistant"',
        '"type":"user"',
        '"usage":{"output_tokens":999999}',
        "\x1b[31m",
        "\x00",
    ),
)


def text(rng: random.Random, words: int) -> str:
    """About `words` words, some of them made to mislead a byte filter."""
    return " ".join(rng.choices(_WORDS, k=words))


def dumps(value: object) -> bytes:
    """Compact JSON as Node's `JSON.stringify` writes it."""
    raw = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return _LONE_SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", raw).encode()


def iso(ts_ms: int) -> str:
    """An instant as the client writes it: UTC with three decimals and a Z."""
    instant = EPOCH + timedelta(milliseconds=ts_ms)
    return instant.strftime("%Y-%m-%dT%H:%M:%S.") + f"{ts_ms % 1000:03d}Z"


def uuid(rng: random.Random) -> str:
    """A random UUID of version 4."""
    digits = f"{rng.getrandbits(128):032x}"
    digits = digits[:12] + "4" + digits[13:16] + "89ab"[rng.randrange(4)] + digits[17:]
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def message_id(rng: random.Random) -> str:
    """An id as the API gives a message."""
    return "msg_01" + "".join(rng.choices(_ALPHABET, k=22))


def request_id(rng: random.Random) -> str:
    """An id as the API gives a request."""
    return "req_011C" + "".join(rng.choices(_ALPHABET, k=20))


def tool_id(rng: random.Random) -> str:
    """An id as the API gives a tool call."""
    return "toolu_01" + "".join(rng.choices(_ALPHABET, k=22))


def agent_id(rng: random.Random) -> str:
    """An id as the client gives a subagent."""
    return f"a{rng.getrandbits(28):07x}"


def folder_name(cwd: str) -> str:
    """The folder below `projects/` of a working directory (lossy, as the client's is)."""
    return re.sub("[^A-Za-z0-9]", "-", cwd)


def prose(rng: random.Random, words: int) -> str:
    """A long text of mostly plain words, with an awkward one now and then."""
    weights = [20 if word.isascii() and word.isalpha() else 0.3 for word in _WORDS]
    return " ".join(rng.choices(_WORDS, weights=weights, k=words))
