"""`python -m benchmarks.corpus`: write a corpus and print its totals as JSON."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path

from benchmarks.corpus.answers import answers
from benchmarks.corpus.building import TURNS, build
from benchmarks.corpus.bulk import build_bulk

_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the arguments, write the tree, print what it holds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.corpus", description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="configuration folder to fill")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sessions", type=int, default=48, help="scenarios to play")
    parser.add_argument("--scale", choices=tuple(TURNS), default="mixed")
    parser.add_argument("--bulk", action="store_true", help="write a large tree of plain sessions")
    parser.add_argument("--files", type=int, default=2_000, help="with --bulk")
    parser.add_argument("--bytes", type=_bytes, default=210_000_000, help="with --bulk: 2GB, 210MB")
    parser.add_argument("--shape", choices=("tail", "even", "giant"), default="tail")
    parser.add_argument("--tz", default="UTC", help="zone of the series, without --bulk")
    given = parser.parse_args(argv)
    if given.bulk:
        totals = build_bulk(
            given.root,
            seed=given.seed,
            files=given.files,
            total_bytes=given.bytes,
            shape=given.shape,
        )
        print(json.dumps(totals.as_json()))
        return 0
    corpus = build(given.root, seed=given.seed, sessions=given.sessions, scale=given.scale)
    print(json.dumps({"files": len(corpus.files)} | answers(corpus.truth(tz=given.tz))))
    return 0


def _bytes(text: str) -> int:
    """A size such as 2GB, 210MB or 4096, in bytes."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMG]B)?", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write 2GB, 210MB or 4096")
    return int(float(found[1]) * _UNITS[found[2] or ""])


if __name__ == "__main__":
    raise SystemExit(main())
