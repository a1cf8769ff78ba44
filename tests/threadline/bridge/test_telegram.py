"""The client: one request a call, every end of a call a type of its own, no token anywhere."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from instar_threadline.bridge.answers import classify
from instar_threadline.bridge.port import (
    Ambiguous,
    AuthFailed,
    ChatError,
    Migrated,
    NotSent,
    Rejected,
    RetryAfter,
    TargetUnavailable,
    TopicClosed,
    TopicGone,
    TopicsImpossible,
)
from instar_threadline.bridge.render import Document, Entity, Part
from instar_threadline.bridge.telegram import (
    BadConnection,
    TelegramClient,
    checked_base_url,
    open_transport,
)
from tests.threadline.bridge.fake_bot_api import GROUP, TOKEN, BotApi, Fault, RefusedError
from tests.threadline.bridge.fake_bot_server import BotServer, serving

HELLO = Part(text="📥 hello", entities=(Entity(type="bold", offset=0, length=2),))


@pytest.fixture
def api() -> BotApi:
    return BotApi()


@pytest.fixture
def server(api: BotApi) -> Iterator[BotServer]:
    with serving(api) as running:
        yield running
    assert api.violations == []


@pytest.fixture
def client(server: BotServer) -> Iterator[TelegramClient]:
    made = make(server)
    yield made
    made.close()


def make(server: BotServer, token: str = TOKEN) -> TelegramClient:
    return TelegramClient(
        token=token,
        chat_id=GROUP,
        transport=open_transport(),
        base_url=server.url,
        read_timeout_s=0.5,
    )


def test_text_topic_and_document_arrive(client: TelegramClient, api: BotApi) -> None:
    """A topic is made with the name that Telegram made of it; text and file land in it."""
    topic = client.create_topic("a \t name")
    assert topic.name == "a name"
    sent = client.send(topic.id, HELLO, silent=True)
    assert (sent.message_id, sent.topic_id) == (topic.id + 1, topic.id)
    client.send_document(
        topic.id, Document(filename="a.md", content="é", caption="c"), silent=False
    )
    text, file = api.group.messages
    assert (text.silent, text.entities) == (True, [{"type": "bold", "offset": 0, "length": 2}])
    assert (file.filename, file.document, file.silent) == ("a.md", "é".encode(), False)


def test_previews_are_off_and_no_parse_mode_is_used(client: TelegramClient, api: BotApi) -> None:
    """C-55: nothing in a text is markup and no link is fetched by Telegram."""
    client.send(None, HELLO, silent=True)
    _method, fields = api.calls[-1]
    assert fields["link_preview_options"] == {"is_disabled": True}
    assert "parse_mode" not in fields
    assert "message_thread_id" not in fields


def test_an_edit_that_changes_nothing_is_success(client: TelegramClient, api: BotApi) -> None:
    """Marking a message twice is no error."""
    sent = client.send(None, HELLO, silent=True)
    client.edit(sent.message_id, Part(text="new"))
    client.edit(sent.message_id, Part(text="new"))
    assert api.texts() == ["new"]


def test_a_topic_is_recognised_by_its_name(client: TelegramClient, api: BotApi) -> None:
    """The probe says yes only to a topic that bears exactly this name."""
    topic = client.create_topic("name")
    assert client.has_topic(topic.id, "name")
    assert not client.has_topic(topic.id + 1, "name")


def test_reopening_an_open_topic_is_success(client: TelegramClient, api: BotApi) -> None:
    """Reopening is idempotent."""
    topic = client.create_topic("name")
    api.group.topics[topic.id].closed = True
    client.reopen_topic(topic.id)
    client.reopen_topic(topic.id)
    assert not api.group.topics[topic.id].closed


ANSWERS: list[tuple[int, str, type[ChatError]]] = [
    (400, "Bad Request: message thread not found", TopicGone),
    (400, "Bad Request: TOPIC_CLOSED", TopicClosed),
    (406, "Bad Request: TOPIC_DELETED", TopicGone),
    (400, "Bad Request: chat not found", TargetUnavailable),
    (400, "Bad Request: not enough rights to create a topic", TopicsImpossible),
    (400, "Bad Request: the chat is not a forum", TopicsImpossible),
    (400, "Bad Request: message is too long", Rejected),
    (400, "Bad Request: can't parse entities: x", Rejected),
    (400, "Bad Request: not enough rights to send text messages to the chat", TargetUnavailable),
    (403, "Forbidden: bot was kicked from the supergroup chat", TargetUnavailable),
    (403, "Forbidden: bot was blocked by the user", TargetUnavailable),
    (401, "Unauthorized", AuthFailed),
    (404, "Not Found", AuthFailed),
    (400, "Logged out", AuthFailed),
    (421, "Misdirected Request: x", AuthFailed),
    (500, "Internal Server Error: restart", Ambiguous),
]


@pytest.mark.parametrize(("code", "words", "kind"), ANSWERS)
def test_every_answer_has_its_type(
    client: TelegramClient, api: BotApi, code: int, words: str, kind: type[ChatError]
) -> None:
    """The table of answers: matched on words, in any case, over a real connection."""
    api.refusals.append(RefusedError(code, words))
    with pytest.raises(ChatError) as caught:
        client.send(None, HELLO, silent=True)
    assert type(caught.value) is kind
    assert type(classify(code, words.upper())) is kind


def test_a_pause_is_read_from_the_answer(client: TelegramClient, api: BotApi) -> None:
    """429 carries how long to be silent; no request follows it."""
    api.refusals.append(RefusedError(429, "Too Many Requests: retry after 5072", retry_after=5072))
    with pytest.raises(RetryAfter) as pause:
        client.send(None, HELLO, silent=True)
    assert pause.value.seconds == 5072
    assert len(api.calls) == 1


def test_a_migrated_group_tells_its_new_id(client: TelegramClient, api: BotApi) -> None:
    """The new chat id comes with the refusal, and is used once it is set."""
    api.group.migrated_to = -100777
    with pytest.raises(Migrated) as moved:
        client.send(None, HELLO, silent=True)
    assert moved.value.chat_id == -100777


@pytest.mark.parametrize(
    "fault",
    [
        "reset-before",
        "reset-after",
        "half-answer",
        "502-before",
        "502-after",
        "garbage",
        "hang-before",
        "hang-after",
        "500-restart",
    ],
)
def test_what_nobody_knows_is_ambiguous_and_not_repeated(
    client: TelegramClient, server: BotServer, api: BotApi, fault: Fault
) -> None:
    """C-47: after a reset, a hang, half an answer or a 5xx there is no second request."""
    server.faults.append(fault)
    with pytest.raises(Ambiguous):
        client.send(None, HELLO, silent=True)
    assert len(api.calls) <= 1
    assert len(api.group.messages) == ("after" in fault or fault in ("half-answer", "garbage"))


def test_a_slow_answer_is_an_answer(client: TelegramClient, server: BotServer, api: BotApi) -> None:
    """While something comes, the client waits, however long the whole takes."""
    server.faults.append("slow")
    assert client.send(None, HELLO, silent=True).message_id == 2
    assert len(api.group.messages) == 1


def test_what_lands_late_was_ambiguous(
    client: TelegramClient, server: BotServer, api: BotApi
) -> None:
    """A server that takes effect after its client was told nothing: unclear, never "not sent"."""
    server.faults.append("late")
    with pytest.raises(Ambiguous):
        client.send(None, HELLO, silent=True)
    assert server.late.acquire(timeout=30)
    assert len(api.group.messages) == 1


def test_a_server_that_is_not_there_is_not_sent(server: BotServer) -> None:
    """A refused connection provably carried nothing."""
    gone = TelegramClient(
        token=TOKEN, chat_id=GROUP, transport=open_transport(), base_url="http://127.0.0.1:9"
    )
    with pytest.raises(NotSent):
        gone.send(None, HELLO, silent=True)
    gone.close()


@pytest.mark.parametrize(
    "url",
    [
        "http://api.telegram.org",
        "ftp://x",
        "https://u:p@x",
        "https://x/?a=b",
        "//x",
        "",
        "https://",
    ],
)
def test_the_base_url_is_https_or_this_machine(url: str) -> None:
    """The token is never sent in the clear to another machine."""
    with pytest.raises(BadConnection):
        checked_base_url(url)


def test_a_redirect_is_not_followed() -> None:
    """A redirect is an answer that is no answer; the token does not travel on."""
    asked: list[httpx.Request] = []

    def redirect(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(302, headers={"location": "https://elsewhere/"})

    client = TelegramClient(token=TOKEN, chat_id=1, transport=httpx.MockTransport(redirect))
    with pytest.raises(Ambiguous):
        client.send(None, HELLO, silent=True)
    assert len(asked) == 1


@pytest.mark.parametrize("fault", ["reset-before", "hang-before", "502-before", "garbage", None])
def test_q10_the_token_shows_up_nowhere(
    server: BotServer,
    api: BotApi,
    fault: Fault | None,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    """Q10: no log at DEBUG, error, traceback with locals, cause or `repr` holds the token."""
    caplog.set_level(logging.DEBUG)
    client = make(server)
    server.faults.append(fault)
    api.refusals.append(RefusedError(400, f"Bad Request: echo {TOKEN}"))
    with pytest.raises(ChatError) as caught:
        client.send(None, HELLO, silent=True)
    error = caught.value
    shown = "".join(
        traceback.TracebackException.from_exception(error, capture_locals=True).format()
    )
    assert error.__context__ is None or TOKEN not in repr(error.__context__)
    inner = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "telegram.py" in frame.filename
    ]
    assert inner
    everything = shown + repr(client) + str(error) + caplog.text + repr(error.args)
    assert TOKEN not in everything
    assert "CANARY" not in everything
    client.close()


def test_a_wrong_token_is_refused_before_it_is_used() -> None:
    """What cannot be a token is refused without showing it."""
    with pytest.raises(BadConnection) as caught:
        TelegramClient(
            token="secret/../x",
            chat_id=1,
            transport=httpx.MockTransport(lambda _r: httpx.Response(200)),
        )
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (413, b"<html>Request Entity Too Large", Rejected),
        (502, b'{"ok": false}', Ambiguous),
        (403, b'{"ok": false, "description": "no"}', TargetUnavailable),
    ],
)
def test_a_server_in_between_is_understood_by_its_status(
    status: int, body: bytes, kind: type[ChatError]
) -> None:
    """A file that is too large for it is refused for good, and an outage is never a refusal."""
    client = TelegramClient(
        token=TOKEN,
        chat_id=GROUP,
        transport=httpx.MockTransport(
            lambda _r: httpx.Response(status, stream=httpx.ByteStream(body))
        ),
    )
    with pytest.raises(kind):
        client.send(None, Part(text="hello"), silent=True)
