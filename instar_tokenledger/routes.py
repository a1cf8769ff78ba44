"""`/tokens/*`: the ledger over HTTP, with the paths, parameters and keys of instar 0.28.

Reads only, apart from asking for a scan. Every list is bounded; a bad parameter is a 400 that
says what is allowed; a ledger that cannot be opened is a 503 for as long as that lasts and no
longer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from instar_host.endpoints import (
    SSE_HEADERS,
    HttpError,
    body_as,
    json_response,
    text_parameter,
    whole_parameter,
)
from instar_host.records import Endpoint, HostContext, Parameter, Request, Response, Route
from instar_host.store.diagnosis import classify
from instar_host.store.errors import ForeignDatabase
from instar_tokenledger import answers
from instar_tokenledger.answers import IDLE_MS, SESSIONS
from instar_tokenledger.errors import BadQuery
from instar_tokenledger.opening import ledger_path
from instar_tokenledger.queries import Json
from instar_tokenledger.series import BUCKETS, Bucket
from instar_tokenledger.service import TROUBLE, LedgerService, Reading, file_bytes
from instar_tokenledger.spans import UNITS_MS, instant_ms
from instar_tokenledger.windows import END_OF_TIME, Window
from instar_tokenledger.zones import Zone, zone_of

MAX_LIMIT = 500
MAX_OFFSET = 10_000_000

_WHOLE = {"type": "integer", "minimum": 0}
SINCE = Parameter(
    name="since",
    summary="from this instant on: epoch ms or ISO 8601; default: a day ago",
)
UNTIL = Parameter(name="until", summary="before this instant: epoch ms or ISO 8601")
LIMIT = Parameter(
    name="limit",
    summary="how many rows",
    schema={"type": "integer", "minimum": 1, "maximum": MAX_LIMIT},
)
OFFSET = Parameter(
    name="offset",
    summary="how many rows to pass over",
    schema={"type": "integer", "minimum": 0, "maximum": MAX_OFFSET},
)
PAGE = (LIMIT, OFFSET)
SPAN = (SINCE, UNTIL)

STREAM = {200: "Server-sent events (hello, progress, committed, trouble) until the host stops"}
ANSWERS = {200: "OK", 400: "A parameter that cannot be", 503: "The ledger cannot be read now"}


class TokenRoutes:
    """The endpoints over one service."""

    def __init__(self, host: HostContext, service: LedgerService) -> None:
        self._host = host
        self._service = service

    def routes(self) -> list[Route]:
        """The route table."""
        return [
            self._get("/tokens/summary", self.summary, "totals of a span, by kind", SPAN),
            self._get("/tokens/sessions", self.sessions, "sessions by tokens", (*SPAN, *PAGE)),
            self._get("/tokens/by-project", self.projects, "projects by tokens", (*SPAN, *PAGE)),
            self._get("/tokens/by-model", self.models, "models by tokens", (*SPAN, *PAGE)),
            self._get(
                "/tokens/orphans",
                self.orphans,
                "sessions that have gone quiet, the latest first",
                (
                    Parameter(name="idleMs", summary="quiet for longer than this", schema=_WHOLE),
                    Parameter(
                        name="since",
                        summary="what was used from then on: epoch ms or ISO 8601; default: ever",
                    ),
                    *PAGE,
                ),
            ),
            self._get("/tokens/series", self.series, "use by hour or day", (*SPAN, *_BUCKETS)),
            self._get(
                "/tokens/sessions/{id}",
                self.session,
                "one session and its requests, each down to the line it came from",
                (Parameter(name="id", summary="the session", place="path"), *PAGE),
                {404: "No such session"},
            ),
            self._get("/tokens/status", self.status, "how far reading has come", ()),
            self._get(
                "/tokens/events", self.events, "what happens, as server-sent events", (), STREAM
            ),
            Route(
                method="POST",
                path="/tokens/scan",
                endpoint=self.scan,
                summary="read now; `all`: files of any age, `anew`: everything from its beginning",
                body_schema=_WISH_SCHEMA,
                answers={
                    202: "Asked; done when `scans.done` of the status has come to `scan`",
                    400: "A body that cannot be",
                    409: "Another process reads: its `pid` and `address`",
                },
            ),
        ]

    def summary(self, request: Request) -> Response:
        return self._answer(lambda r: answers.summary(r, self._window(request)))

    def sessions(self, request: Request) -> Response:
        limit, offset = _page(request, SESSIONS)
        return self._answer(lambda r: answers.sessions(r, self._window(request), limit, offset))

    def projects(self, request: Request) -> Response:
        limit, offset = _page(request, MAX_LIMIT)
        return self._answer(lambda r: answers.projects(r, self._window(request), limit, offset))

    def models(self, request: Request) -> Response:
        limit, offset = _page(request, MAX_LIMIT)
        return self._answer(lambda r: answers.models(r, self._window(request), limit, offset))

    def orphans(self, request: Request) -> Response:
        limit, offset = _page(request, MAX_LIMIT)
        idle_ms = whole_parameter(request, "idleMs", IDLE_MS, low=1, high=END_OF_TIME)
        now_ms = self._host.clock.now_ms()
        since = text_parameter(request, "since")

        def found(reading: Reading) -> Json:
            since_ms = 0 if since is None else instant_ms(since, now_ms, None)
            return answers.orphans(reading, idle_ms, now_ms, since_ms, limit, offset)

        return self._answer(found)

    def series(self, request: Request) -> Response:
        bucket, zone = _bucket(request), _zone(request)
        return self._answer(lambda r: answers.series(r, self._window(request), bucket, zone))

    def session(self, request: Request) -> Response:
        limit, offset = _page(request, 100)

        def found(reading: Reading) -> Json:
            answer = answers.session(reading, request.params["id"], limit, offset)
            if answer is None:
                raise HttpError(404, "No such session")
            return answer

        return self._answer(found)

    def status(self, _request: Request) -> Response:
        return self._answer(self.status_answer)

    async def events(self, _request: Request) -> Response:
        """`hello`, then `progress`, `committed` and `trouble` as they happen."""
        self._host.wake(TICK)
        return Response(headers=SSE_HEADERS, body=self._service.events.stream())

    def scan(self, request: Request) -> Response:
        """Ask the tick to look and read now. It answers at once; the status tells when it is
        done."""
        wish = body_as(request, ScanWish) if request.body else ScanWish()
        lease = self._host.runtime.lease()
        if not self._host.holds_lease():
            raise HttpError(
                409, "Another process reads the transcripts", pid=lease.pid, address=lease.address
            )
        number = self._service.wishes.ask(all_ages=wish.all, anew=wish.anew)
        self._host.wake(TICK)
        return json_response({"scan": number}, 202)

    def status_answer(self, reading: Reading) -> Json:
        """How reading fares, with who holds the lease and how the tick fares."""
        lease = self._host.runtime.lease()
        ticks = [tick for tick in self._host.runtime.ticks() if tick.name == TICK]
        more: dict[str, Any] = {
            "lease": {"held": lease.held, "pid": lease.pid},
            "tick": ticks[0] if ticks else None,
            "places": self._service.places(),
            "scans": {
                "asked": self._service.wishes.now.asked,
                "done": self._service.wishes.now.fulfilled,
            },
        }
        size = file_bytes(ledger_path(self._host.state_dir))
        return answers.status(reading, self._service.health, size, more)

    def _answer(self, make: Callable[[Reading], Json]) -> Response:
        try:
            with self._service.reading() as reading:
                return json_response(make(reading))
        except BadQuery as error:
            raise HttpError(400, str(error)) from None
        except TROUBLE as error:
            # Its own sentence names a path, which is not for whoever asks over HTTP.
            raise HttpError(
                503, f"The token ledger cannot be read now: {_trouble(error)}"
            ) from error

    def _window(self, request: Request) -> Window:
        now_ms = self._host.clock.now_ms()
        since = text_parameter(request, "since")
        until = text_parameter(request, "until")
        try:
            return Window(
                now_ms - UNITS_MS["d"] if since is None else instant_ms(since, now_ms, None),
                END_OF_TIME if until is None else instant_ms(until, now_ms, None),
            )
        except BadQuery as error:
            raise HttpError(400, str(error)) from None

    def _get(
        self,
        path: str,
        endpoint: Endpoint,
        summary: str,
        parameters: tuple[Parameter, ...],
        more: dict[int, str] | None = None,
    ) -> Route:
        return Route(
            method="GET",
            path=path,
            endpoint=endpoint,
            summary=summary,
            parameters=parameters,
            answers={**ANSWERS, **(more or {})},
        )


class ScanWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /tokens/scan`; an empty one wishes for neither."""

    all: bool = False
    anew: bool = False


_WISH_SCHEMA = {
    "type": "object",
    "properties": {"all": {"type": "boolean"}, "anew": {"type": "boolean"}},
    "additionalProperties": False,
}
TICK = "tokens"
_BUCKETS = (
    Parameter(
        name="bucket", summary="size of a bucket", schema={"type": "string", "enum": list(BUCKETS)}
    ),
    Parameter(name="tz", summary="time zone of the buckets, an IANA name; default UTC"),
)


def _trouble(error: BaseException) -> str:
    """What is wrong with the store, in a few words and without a path."""
    if isinstance(error, ForeignDatabase):
        return "its file is another program's database"
    return classify(error)


def _page(request: Request, default: int) -> tuple[int, int]:
    limit = whole_parameter(request, "limit", default, low=1, high=MAX_LIMIT)
    return limit, whole_parameter(request, "offset", 0, low=0, high=MAX_OFFSET)


def _bucket(request: Request) -> Bucket:
    said = text_parameter(request, "bucket", "day")
    for bucket in BUCKETS:
        if said == bucket:
            return bucket
    raise HttpError(400, f"bucket has to be one of {', '.join(BUCKETS)}")


def _zone(request: Request) -> Zone:
    try:
        return zone_of(text_parameter(request, "tz", "UTC") or "UTC")
    except BadQuery as error:
        raise HttpError(400, str(error)) from None
