"""The fake is honest: two clients that know nothing of us use it as they use Telegram."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.threadline.bridge.bot_api_spec import SpecViolationError, check_answer, check_request
from tests.threadline.bridge.fake_bot_api import GROUP, TOKEN, BotApi, RefusedError
from tests.threadline.bridge.fake_bot_server import BotServer, serving


@pytest.fixture
def api() -> BotApi:
    return BotApi()


@pytest.fixture
def server(api: BotApi) -> Iterator[BotServer]:
    with serving(api) as running:
        yield running


def test_python_telegram_bot_drives_the_fake(api: BotApi, server: BotServer) -> None:
    """python-telegram-bot makes a topic, writes and sends a file into it, and reads errors."""
    import telegram

    async def drive() -> None:
        url = f"{server.url}/bot"
        async with telegram.Bot(TOKEN, base_url=url, base_file_url=url) as bot:
            assert (await bot.get_me()).username == "bridge_bot"
            topic = await bot.create_forum_topic(GROUP, "a \n name", icon_color=9367192)
            assert topic.name == "a name"
            thread = topic.message_thread_id
            sent = await bot.send_message(GROUP, "hello", message_thread_id=thread)
            assert (sent.message_id, sent.is_topic_message) == (thread + 1, True)
            await bot.send_document(
                GROUP, b"content", filename="a.md", caption="c", message_thread_id=thread
            )
            await bot.edit_message_text("bye", GROUP, sent.message_id)
            with pytest.raises(telegram.error.BadRequest, match="thread not found"):
                await bot.send_message(GROUP, "x", message_thread_id=999)
            member = await bot.get_chat_member(GROUP, 1)
            assert isinstance(member, telegram.ChatMemberAdministrator)
            assert member.can_manage_topics
            assert (await bot.get_chat(GROUP)).is_forum

    asyncio.run(drive())
    assert api.texts(2) == ["bye", "c"]
    assert api.violations == []


def test_aiogram_drives_the_fake(api: BotApi, server: BotServer) -> None:
    """aiogram, whose models come from the specification, parses every answer."""
    import aiogram
    from aiogram.client.session.aiohttp import AiohttpSession
    from aiogram.client.telegram import TelegramAPIServer

    async def drive() -> None:
        session = AiohttpSession(api=TelegramAPIServer.from_base(server.url))
        async with aiogram.Bot(TOKEN, session=session) as bot:
            topic = await bot.create_forum_topic(GROUP, "name")
            sent = await bot.send_message(GROUP, "hello", message_thread_id=topic.message_thread_id)
            assert sent.message_id == topic.message_thread_id + 1
            api.refusals.append(
                RefusedError(429, "Too Many Requests: retry after 7", retry_after=7)
            )
            with pytest.raises(aiogram.exceptions.TelegramRetryAfter) as pause:
                await bot.send_message(GROUP, "x")
            assert pause.value.retry_after == 7

    asyncio.run(drive())
    assert api.violations == []


@pytest.mark.parametrize(
    "fields",
    [
        {"chat_id": 1},
        {"chat_id": 1, "text": "x", "topic_id": 3},
        {"chat_id": 1, "text": 7},
        {"chat_id": 1, "text": "x", "disable_notification": "no"},
        {"chat_id": 1, "text": "x", "entities": [{"type": "bold", "offset": 0}]},
    ],
)
def test_requests_outside_the_description_are_found(fields: dict[str, Any]) -> None:
    """A missing, unknown or mistyped field of a request is a violation."""
    with pytest.raises(SpecViolationError):
        check_request("sendMessage", fields)


def test_answers_outside_the_description_are_found() -> None:
    """An answer that lacks a required member is a violation."""
    with pytest.raises(SpecViolationError):
        check_answer("createForumTopic", {"message_thread_id": 1, "name": "x"})


def test_lengths_are_counted_in_code_points(api: BotApi) -> None:
    """4096 emoji pass, one more does not: as the real server counts."""
    api.call("sendMessage", {"chat_id": GROUP, "text": "😀" * 4096})
    with pytest.raises(RefusedError, match="too long"):
        api.call("sendMessage", {"chat_id": GROUP, "text": "😀" * 4097})


def test_ids_count_up_per_chat_topics_included(api: BotApi) -> None:
    """The id of a topic is the id of the message that announces it."""
    first = api.call("sendMessage", {"chat_id": GROUP, "text": "x"})["message_id"]
    topic = api.call("createForumTopic", {"chat_id": GROUP, "name": "n"})["message_thread_id"]
    assert topic == first + 1


def test_a_call_inside_a_pause_makes_it_longer() -> None:
    """As seen in the wild: asking again too soon stretches the ban."""
    now = [0.0]
    api = BotApi(now=lambda: now[0])
    api.per_minute = 1
    api.call("sendMessage", {"chat_id": GROUP, "text": "x"})
    pauses = []
    for _ in range(2):
        with pytest.raises(RefusedError) as refused:
            api.call("sendMessage", {"chat_id": GROUP, "text": "x"})
        pauses.append(refused.value.parameters["retry_after"])
    assert pauses == [31, 61]
