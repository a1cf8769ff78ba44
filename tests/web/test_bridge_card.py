"""The bridge card of the Threadline tab: what waits, what stands in the way, what was not sent."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from instar_host.clock import SystemClock
from instar_host.testing_web import RunHost, RunningHost
from instar_threadline.bridge.outbox import Limits, Outbox
from instar_threadline.bridge.rows import Row, key_of
from instar_threadline.bridge.schema import lane_of, open_bridge_database
from instar_threadline.plugin import ThreadlinePlugin
from tests.threadline.bridge.fake_bot_api import GROUP, TOKEN, BotApi
from tests.threadline.bridge.fake_bot_server import serving
from tests.threadline.bridge.stage import ON, PEER
from tests.web.browsers import NARROW, WIDE
from tests.web.conftest import OpenTab
from tests.web.test_tokens_hostile import CORPUS, seen

pytestmark = pytest.mark.browser

STATUS = "/threadline/bridge/status"
Serve = Callable[[], RunningHost]


@pytest.fixture
def clock() -> SystemClock:
    """The machine's own, as the page's is: a pause ends for both."""
    return SystemClock()


@pytest.fixture
def api() -> BotApi:
    return BotApi()


@pytest.fixture
def serve(run_host: RunHost, state_dir: Path, api: BotApi) -> Iterator[Serve]:
    """A host whose bot is the fake's, from a private file as a person would write it."""
    with serving(api) as server:
        told = {"token": TOKEN, "chatId": GROUP, "baseUrl": server.url}
        path = state_dir / "telegram.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(told))
        yield lambda: run_host([ThreadlinePlugin()], ON)


def park(state_dir: Path, *texts: str, thread: str = "t-1", reason: str = "Bad Request") -> None:
    """Dead letters, as a worker that met poison leaves them."""
    outbox = Outbox(open_bridge_database(state_dir), SystemClock(), Limits())
    outbox.add_target("telegram")
    for text in texts:
        row = Row(
            target="telegram",
            lane=lane_of(thread),
            key=key_of("test", text),
            thread_id=thread,
            direction="in",
            fingerprint=PEER,
            body=text,
            queued_at_ms=SystemClock().now_ms(),
        )
        outbox.add([row])
        (queued,) = outbox.head("telegram", row.lane, 1)
        outbox.bury(queued, reason)
    outbox.close()


def opened(open_tab: OpenTab, running: RunningHost, **options: Any) -> Any:
    """The tab with the card unfolded."""
    page = open_tab(running, **options).open("tab=threadline")
    page.get_by_role("heading", name="Telegram bridge").click()
    return page


def test_before_a_bot_is_set_up(run_host: RunHost, open_tab: OpenTab) -> None:
    """An empty card says what leads to the first topic."""
    page = opened(open_tab, run_host([ThreadlinePlugin()]))
    page.get_by_text("Nothing has been sent yet").wait_for()
    assert "docs/telegram.md" in page.get_by_label("Delivery", exact=True).inner_text()


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1280", "390"])
def test_dead_letters_are_sent_again_or_dropped(
    serve: Serve, state_dir: Path, api: BotApi, open_tab: OpenTab, size: tuple[int, int]
) -> None:
    """Each stands there with its reason; sending again sends it, dropping asks once more."""
    park(state_dir, "the first", "the second", "the third", reason="message is too odd")
    page = opened(open_tab, serve(), size=size)
    page.locator("summary").get_by_text("3 not delivered").wait_for()
    assert page.get_by_text("message is too odd").count() == 3
    page.get_by_role("button", name="Send message 1 again").click()
    page.get_by_text("Not delivered: 2").wait_for()
    page.get_by_role("button", name="Drop message 2", exact=True).click()
    page.get_by_role("button", name="Keep").click()
    page.get_by_role("button", name="Drop all of them", exact=True).click()
    page.get_by_role("button", name="Drop all of them for good").click()
    page.get_by_role("heading", name="Not delivered").wait_for(state="detached")
    sent = page.locator(".figure").filter(has_text="Sent")
    sent.get_by_text("2", exact=True).wait_for()  # the group's greeting is the other one
    assert any("the first" in message.text for message in api.group.messages)
    assert not any("the second" in message.text for message in api.group.messages)


def test_a_pause_is_told_and_ended_by_hand(
    serve: Serve, state_dir: Path, api: BotApi, open_tab: OpenTab
) -> None:
    """A bot that was put out: the card says so and what waits; once mended, one press goes on."""
    api.group.status = "left"
    park(state_dir, "kept")
    page = opened(open_tab, serve())
    page.get_by_role("button", name="Send message 1 again").click()
    page.get_by_text("Paused: Forbidden: bot was kicked").wait_for()
    page.locator("summary").get_by_text("waiting").wait_for()
    api.group.status = "administrator"
    page.get_by_role("button", name="Look again now").click()
    page.locator("summary").get_by_text("Paused").wait_for(state="detached")
    page.locator("summary").get_by_text("waiting").wait_for(state="detached")
    assert any("kept" in message.text for message in api.group.messages)


def test_a_failure_is_said_and_can_be_tried_again(serve: Serve, open_tab: OpenTab) -> None:
    """When the status cannot be had the card says so; when an action is refused, that too."""
    tab = open_tab(serve())
    tab.page.route(f"**{STATUS}", lambda route: _refuse(route, 503))
    page = tab.open("tab=threadline")
    page.locator("summary").get_by_text("Delivery unknown").wait_for()
    with page.expect_response(f"**{STATUS}"):  # asked again when it is unfolded
        page.get_by_role("heading", name="Telegram bridge").click()
    page.unroute(f"**{STATUS}")
    page.get_by_role("button", name="Try again").click()
    page.locator("summary").get_by_text("Delivery unknown").wait_for(state="detached")


def test_a_refused_action_is_told(serve: Serve, state_dir: Path, open_tab: OpenTab) -> None:
    """A refusal is shown beside the list, which stays."""
    park(state_dir, "one")
    page = opened(open_tab, serve())
    page.route("**/threadline/bridge/retry", lambda route: _refuse(route, 409))
    page.get_by_role("button", name="Send message 1 again").click()
    page.get_by_text("Not done: refused").wait_for()
    assert page.get_by_text("Not delivered: 1").is_visible()


def test_where_another_process_sends_nothing_can_be_pressed(
    serve: Serve, state_dir: Path, open_tab: OpenTab
) -> None:
    """A page of a process without the lease shows the same and says where to act."""
    park(state_dir, "one")
    running = serve()
    told = {**running.client.get(STATUS).json(), "sends": False}
    tab = open_tab(running)
    tab.page.route(f"**{STATUS}", lambda route: route.fulfill(json=told))
    page = tab.open("tab=threadline")
    page.get_by_role("heading", name="Telegram bridge").click()
    page.get_by_text("Another process sends").wait_for()
    assert page.get_by_role("button", name="Send message 1 again").is_disabled()
    assert page.get_by_role("button", name="Drop message 1").is_disabled()


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1280", "390"])
def test_whatever_was_not_delivered_is_text(
    serve: Serve, state_dir: Path, open_tab: OpenTab, size: tuple[int, int]
) -> None:
    """W6: hostile words, thread ids and reasons are spelled out and do nothing."""
    for text in CORPUS:
        park(state_dir, text, thread=text, reason=text)
    tab = open_tab(serve(), size=size)
    page = tab.open("tab=threadline")
    page.get_by_role("heading", name="Telegram bridge").click()
    page.locator(".tl-dead li").nth(len(CORPUS) - 1).wait_for()
    shown = page.locator(".tl-dead li .tl-why").all_text_contents()
    assert shown == [seen(text) for text in reversed(CORPUS)]
    assert tab.overflow_px() == 0


def _refuse(route: Any, status: int) -> None:
    route.fulfill(status=status, content_type="application/json", body='{"error":"refused"}')
