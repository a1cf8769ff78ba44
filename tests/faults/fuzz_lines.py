"""A coverage-guided fuzzer over the decoder of transcript lines: `python -m`, flags as libFuzzer.

Needs atheris (the extra `fuzz`). The first argument is a folder of seeds, which grows by what the
fuzzer finds new; an input that gets an exception out is written where `-artifact_prefix` says and
printed in base64, to become a case of `tests/tokenledger/sources/test_claude_damage.py`.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]

with atheris.instrument_imports(include=["instar_tokenledger.sources"]):
    from instar_tokenledger.sources import claude_lines  # noqa: F401 - seen by the fuzzer

from tests.tokenledger.homes import said
from tests.tokenledger.sources.decoding import decoded
from tests.tokenledger.sources.test_claude_damage import assert_settled, real_lines

LINE = said()
ODD_LINES = (
    b"", b"\0" * 40 + LINE, b"\xef\xbb\xbf" + LINE, LINE + b"\r", LINE + LINE, LINE[:-20],
    LINE.decode().encode("utf-16"), b"[1]", b"null", b"[" * 3_000, b'{"a":' * 3_000,
    *(LINE.replace(b"app", odd) for odd in (b"\\ud83d", b"\xed\xa0\xbd", b"\xff", b"\\u0000")),
    *(LINE.replace(b"900", odd) for odd in (b"1e21", b"9" * 400, b"NaN", b"-1", b"1.0", b"true")),
)  # fmt: skip


def seeds(folder: Path) -> Iterator[bytes]:
    """Lines of a corpus, one of each shape, and the odd ones."""
    yield from ODD_LINES
    shapes = set()
    for line in real_lines(folder):
        shape = line[:60], len(line) // 200
        if shape not in shapes:
            shapes.add(shape)
            yield line


def sow(folder: Path, home: Path) -> None:
    """Write the seeds as libFuzzer wants them: a file each."""
    folder.mkdir()
    for line in seeds(home):
        (folder / hashlib.sha256(line).hexdigest()[:16]).write_bytes(line)


def try_out(data: bytes) -> None:
    """L1: rows and reasons, never an exception, and good lines around it count."""
    assert_settled(data)
    assert_settled(data, terminated=False)
    found = decoded(said("first", "r1"), data.replace(b"\n", b" "), said("last", "r2"))
    assert {"first", "last"} <= {row.message_id for row in found.rows}


if __name__ == "__main__":
    if sys.argv[1] == "--sow":
        sow(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        atheris.Setup(sys.argv, try_out)
        atheris.Fuzz()
