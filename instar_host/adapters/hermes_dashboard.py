"""What our tab in Hermes's own dashboard asks for, served by Hermes's dashboard process.

Promises that Hermes has checked the login before anything here runs, and that importing this costs
nothing: the ledger is opened, to read, when somebody looks at the tab. Needs FastAPI, which Hermes
brings. Our token is not handed out here: a terminal shows it, with `hermes instar open`.
"""

from __future__ import annotations

from contextlib import closing

import msgspec
from fastapi import APIRouter, Response

from instar_host.adapters.entry import Entry
from instar_host.adapters.hermes import read_entry, summary
from instar_host.records import Record

WEEK = "7d"

router = APIRouter()


class Span(Record, frozen=True, kw_only=True):
    """The numbers of one span, as a terminal shows them."""

    title: str
    text: str


class Overview(Record, frozen=True, kw_only=True):
    """What the tab shows."""

    address: str | None
    """Of the gateway's page; None while it serves nothing."""
    spans: tuple[Span, ...]


@router.get("/overview")
def overview() -> Response:
    """The way to the page, and the numbers of today and of a week."""
    spans = (Span(title="Today", text=summary("")), Span(title="Seven days", text=summary(WEEK)))
    said = Overview(address=page_address(read_entry()), spans=spans)
    headers = {"cache-control": "no-store"}
    return Response(msgspec.json.encode(said), media_type="application/json", headers=headers)


def page_address(entry: Entry) -> str | None:
    """Where the gateway serves the page now. Raises InstarError."""
    from instar_host.lease import Lease

    host = entry.open_host(capabilities=("commands",))
    with closing(host.plugins):
        holder = Lease(host.state_dir).holder()
        return holder.address or None if holder is not None else None
