"""The paths of threadline: what was said, and whether it is genuine.

Promises the paths, parameters and keys of the original, with more keys beside them; that a
parameter is what it says or a 400; and that an index that cannot be read is a 503 for as long as
that lasts. It never shows a name without its fingerprint and never decides by a name.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Literal, get_args

import msgspec

from instar_host.broadcast import sse
from instar_host.endpoints import (
    SSE_HEADERS,
    HttpError,
    body_as,
    json_response,
    text_parameter,
    whole_parameter,
)
from instar_host.records import Parameter, Request, Response, Route
from instar_threadline.errors import (
    BadCursor,
    IndexUnavailable,
    ThreadlineError,
)
from instar_threadline.messages import Message, NewMessage
from instar_threadline.record.lines import MAX_INSTANT_MS, instant_ms
from instar_threadline.record.problems import PAGE_PROBLEMS
from instar_threadline.record.search import MAX_QUERY_CHARS
from instar_threadline.record.views import PAGE_MESSAGES, PAGE_THREADS, HasTopic, id_of
from instar_threadline.service import ThreadlineService

MAX_BODY_BYTES = 1 << 20
MAX_THREADS = 1000
MAX_MESSAGES = 1000
MAX_HITS = 200
MAX_PROBLEMS = 500
HITS = 50

THREADS = "/threadline/observability/threads"
THREAD = "/threadline/observability/thread"
SEARCH = "/threadline/observability/search"
STATS = "/threadline/observability/stats"
PROBLEMS = "/threadline/observability/problems"
EVENTS = "/threadline/observability/events"
MESSAGES = "/threadline/messages"


class PostedMessage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /threadline/messages`: members of a log record, and `direction`."""

    direction: Literal["in", "out"]
    thread_id: str = msgspec.field(name="threadId")
    text: str
    id: str | None = None
    timestamp: str | None = None
    from_: str = msgspec.field(name="from", default="")
    sender_name: str = msgspec.field(name="senderName", default="")
    trust_level: str = msgspec.field(name="trustLevel", default="")
    to: str = ""
    recipient_name: str = msgspec.field(name="recipientName", default="")
    outcome: str | None = None
    in_reply_to: str | None = msgspec.field(name="inReplyTo", default=None)

    def new_message(self) -> NewMessage:
        """The message to record. Whoever may call the route has authenticated the sender."""
        inbound = self.direction == "in"
        return NewMessage(
            direction=self.direction,
            counterparty=self.from_ if inbound else self.to,
            counterparty_name=self.sender_name if inbound else self.recipient_name,
            sender="" if inbound else self.from_,
            sender_name="" if inbound else self.sender_name,
            thread_id=self.thread_id,
            text=self.text,
            id=self.id,
            timestamp=self.timestamp,
            trust_level=self.trust_level,
            outcome=self.outcome,
            in_reply_to=self.in_reply_to,
        )


class ThreadlineRoutes:
    """The endpoints over one service."""

    def __init__(self, service: ThreadlineService) -> None:
        self._service = service

    def routes(self) -> list[Route]:
        """The route table."""
        return [
            _get(THREADS, self.threads, "threads, the latest first", _THREADS_PARAMETERS),
            _get(
                THREADS + "/{threadId}",
                self.thread,
                "a thread and a page of its messages, oldest first",
                (Parameter(name="threadId", place="path", summary="the thread"), *_PAGE),
                {404: "Thread not found"},
            ),
            _get(
                THREAD,
                self.thread,
                "the same, for a thread id that does not fit into a path",
                (Parameter(name="threadId", summary="the thread"), *_PAGE),
                {404: "Thread not found"},
            ),
            _get(SEARCH, self.search, "messages that contain a text", _SEARCH_PARAMETERS),
            _get(STATS, self.stats, "figures, integrity, completeness, health"),
            _get(PROBLEMS, self.problems, "every bad or missing record, in order", _PROBLEMS_PAGE),
            Route(
                method="GET",
                path=EVENTS,
                endpoint=self.events,
                summary="server-sent events: `message` for a new message, `changed` for many",
            ),
            Route(
                method="POST",
                path=MESSAGES,
                endpoint=self.post_message,
                summary="record a message that was received or sent",
                max_body_bytes=MAX_BODY_BYTES,
                body_schema=msgspec.json.schema(PostedMessage),
                answers={
                    201: "Recorded",
                    200: "It was there already",
                    202: "Kept in memory; the log cannot be written at the moment",
                    400: "It cannot be recorded as it is",
                    409: "A message with this identity says something else",
                },
            ),
        ]

    def threads(self, request: Request) -> Response:
        """`{threads, count, total, nextCursor}`."""
        page = self._ask(
            lambda: self._service.views().threads(
                remote_agent=text_parameter(request, "remoteAgent") or "",
                since_ms=_instant(request, "since"),
                until_ms=_instant(request, "until"),
                has_topic=_has_topic(request),
                limit=whole_parameter(request, "limit", PAGE_THREADS, low=1, high=MAX_THREADS),
                cursor=text_parameter(request, "cursor"),
            )
        )
        return json_response(
            {
                "threads": page.threads,
                "count": len(page.threads),
                "total": page.total,
                "nextCursor": page.next_cursor,
            }
        )

    def thread(self, request: Request) -> Response:
        """The summary's keys, `messages`, `olderCursor`, `newerCursor`; 404 if there is none."""
        thread_id = request.params.get("threadId")
        if thread_id is None:
            thread_id = text_parameter(request, "threadId")
        if thread_id is None:
            raise HttpError(400, "threadId has to be given")
        limit = whole_parameter(request, "limit", PAGE_MESSAGES, low=1, high=MAX_MESSAGES)
        before = text_parameter(request, "before")
        wanted = thread_id
        detail = self._ask(lambda: self._service.views().thread(wanted, limit=limit, before=before))
        if detail is None:
            raise HttpError(404, "Thread not found")
        return json_response(
            {
                **msgspec.to_builtins(detail.summary),
                "messages": detail.messages,
                "olderCursor": detail.older_cursor,
                "newerCursor": detail.newer_cursor,
            }
        )

    def search(self, request: Request) -> Response:
        """`{hits, count, nextCursor, scope}`."""
        query = text_parameter(request, "q") or ""
        if len(query) > MAX_QUERY_CHARS:
            raise HttpError(400, f"q may have at most {MAX_QUERY_CHARS} characters")
        cursor = text_parameter(request, "cursor")
        page = self._ask(
            lambda: self._service.search().messages(
                query,
                limit=whole_parameter(request, "limit", HITS, low=1, high=MAX_HITS),
                cursor=None if cursor is None else id_of(cursor),
                remote_agent=text_parameter(request, "remoteAgent") or "",
                since_ms=_instant(request, "since"),
                until_ms=_instant(request, "until"),
            )
        )
        return json_response(
            {
                "hits": page.hits,
                "count": len(page.hits),
                "nextCursor": page.next_cursor,
                "scope": page.scope,
            }
        )

    def stats(self, request: Request) -> Response:
        """`{stats, integrity, health, sources}`; findings one by one are `problems`."""
        del request
        views = self._service.views()
        verdict = self._ask(views.integrity)
        streams = (msgspec.structs.replace(one, findings=()) for one in verdict.streams)
        return json_response(
            {
                "stats": self._ask(views.stats),
                "integrity": msgspec.structs.replace(verdict, streams=tuple(streams)),
                "health": self._service.health(),
                "sources": self._service.pulls.states(),
            }
        )

    def problems(self, request: Request) -> Response:
        """`{problems, count, total, nextCursor}`."""
        limit = whole_parameter(request, "limit", PAGE_PROBLEMS, low=1, high=MAX_PROBLEMS)
        start = whole_parameter(request, "cursor", 0, low=0, high=1_000_000)
        page = self._ask(lambda: self._service.problems.page(limit=limit, start=start))
        return json_response(msgspec.to_builtins(page))

    async def events(self, request: Request) -> Response:
        """A stream of what becomes visible."""
        del request
        return Response(headers=SSE_HEADERS, body=self._stream())

    def post_message(self, request: Request) -> Response:
        """`{status, message}`; see the answers."""
        posted = body_as(request, PostedMessage)
        answer = self._service.recorder.record(posted.new_message())
        if answer.status == "refused":
            raise HttpError(400, answer.reason)
        if answer.status == "conflict":
            raise HttpError(409, answer.reason)
        statuses = {"recorded": 201, "duplicate": 200, "spooled": 202}
        body: dict[str, Any] = {"status": answer.status}
        if answer.message is not None:
            body["message"] = _echo(answer.message)
        if answer.status == "spooled":
            body["reason"] = answer.reason
        return json_response(body, statuses[answer.status])

    async def _stream(self) -> AsyncIterator[bytes]:
        yield b"retry: 2000\n\n"
        async with self._service.follower.following():
            began = False
            async for frame in self._service.events.subscribe():
                yield frame
                if not began:  # what was added before this stream began is told by nobody else
                    yield sse("changed", {})
                    began = True

    def _ask(self, question: Callable[[], Any]) -> Any:
        self._service.freshen()
        try:
            return question()
        except BadCursor as error:
            raise HttpError(400, str(error)) from None
        except IndexUnavailable:
            why = self._service.health().index_error
            more = f": {why}" if why else ""
            raise HttpError(503, f"Threadline observability not initialized{more}") from None
        except ThreadlineError as error:
            raise HttpError(503, str(error)) from None


def _get(
    path: str,
    endpoint: Callable[[Request], Response],
    summary: str,
    parameters: tuple[Parameter, ...] = (),
    more: dict[int, str] | None = None,
) -> Route:
    answers = {200: "OK", 400: "A parameter that cannot be", 503: "The index cannot be read now"}
    return Route(
        method="GET",
        path=path,
        endpoint=endpoint,
        summary=summary,
        parameters=parameters,
        answers={**answers, **(more or {})},
    )


def _instant(request: Request, name: str) -> int | None:
    said = text_parameter(request, name)
    if not said:
        return None
    digits = said.isascii() and said.isdigit() and len(said) <= 16
    at = int(said) if digits else instant_ms(said)
    if at is None or abs(at) > MAX_INSTANT_MS:
        raise HttpError(400, f"{name} has to be an instant: ISO 8601, or epoch milliseconds")
    return at


def _has_topic(request: Request) -> HasTopic | None:
    said = text_parameter(request, "hasTopic")
    if not said:
        return None
    for allowed in get_args(HasTopic):
        if said == allowed:
            return "yes" if said == "yes" else "no"
    raise HttpError(400, "hasTopic has to be yes or no")


def _echo(message: Message) -> dict[str, Any]:
    return {
        "direction": message.direction,
        "id": message.id,
        "threadId": message.thread_id,
        "timestamp": message.timestamp,
        "verified": message.verified,
    }


_AGENT = Parameter(name="remoteAgent", summary="a part of the peer's fingerprint or name")
_SINCE = Parameter(name="since", summary="from this instant on: ISO 8601 or epoch ms")
_UNTIL = Parameter(name="until", summary="up to this instant: ISO 8601 or epoch ms")
_CURSOR = Parameter(name="cursor", summary="`nextCursor` of the answer before")


def _limit(high: int) -> Parameter:
    schema = {"type": "integer", "minimum": 1, "maximum": high}
    return Parameter(name="limit", summary="how many at most", schema=schema)


_THREADS_PARAMETERS = (
    _AGENT,
    _SINCE,
    _UNTIL,
    Parameter(
        name="hasTopic",
        summary="only threads with a Telegram topic, or without",
        schema={"type": "string", "enum": ["yes", "no"]},
    ),
    _limit(MAX_THREADS),
    _CURSOR,
)
_PROBLEMS_PAGE = (_limit(MAX_PROBLEMS), _CURSOR)
_PAGE = (
    _limit(MAX_MESSAGES),
    Parameter(name="before", summary="`olderCursor` of the answer before"),
)
_SEARCH_PARAMETERS = (
    Parameter(name="q", summary="the text, in any case; nothing in it is syntax"),
    _limit(MAX_HITS),
    _AGENT,
    _SINCE,
    _UNTIL,
    _CURSOR,
)
