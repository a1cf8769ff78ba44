"""The arguments of `instar tokens ...`, each added to the parser of a sub-command that takes it.

Never read a setting: a default that depends on one is the command's affair.
"""

from __future__ import annotations

import argparse

from instar_tokenledger.answers import SESSIONS
from instar_tokenledger.series import BUCKETS


def as_json(parser: argparse.ArgumentParser) -> None:
    """`--json`."""
    parser.add_argument("--json", action="store_true", help="print JSON, as the route answers it")


def since(parser: argparse.ArgumentParser) -> None:
    """`--since`."""
    parser.add_argument(
        "--since", metavar="WHEN", help="from then on: 7d, 12h, 2026-01-31, epoch ms; default: ever"
    )


def span(parser: argparse.ArgumentParser) -> None:
    """`--since` and `--until`."""
    since(parser)
    parser.add_argument("--until", metavar="WHEN", help="before then; default: now")


def limit(parser: argparse.ArgumentParser) -> None:
    """`--limit`."""
    parser.add_argument(
        "--limit", type=_count, default=SESSIONS, help=f"how many rows; default: {SESSIONS}"
    )


def idle(parser: argparse.ArgumentParser) -> None:
    """`--idle`."""
    parser.add_argument(
        "--idle", metavar="SPAN", help="quiet for longer than this: 5m, 12h, 7d; default: 30m"
    )


def bucket(parser: argparse.ArgumentParser) -> None:
    """`--bucket` and `--tz`."""
    parser.add_argument("--bucket", choices=BUCKETS, default="day", help="default: day")
    parser.add_argument("--tz", help="an IANA time zone; default: yours")


def request(parser: argparse.ArgumentParser) -> None:
    """The id of a request."""
    parser.add_argument("request", help="a request id, message id or row id")


def file(parser: argparse.ArgumentParser) -> None:
    """Where a copy goes."""
    parser.add_argument("file", help="where the copy goes")
    parser.set_defaults(json=False)


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError("a whole number from 1 to 1000000")
    return int(text)
