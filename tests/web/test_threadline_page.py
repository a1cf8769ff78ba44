"""The Threadline tab in a real browser: what it shows, does, and never lets happen."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

import instar_threadline
from instar_host.lease import Lease
from instar_host.testing_web import TOKEN, RunHost, RunningHost
from instar_threadline.plugin import ThreadlinePlugin
from instar_threadline.record.index import Index
from tests.threadline.logs import DAWN, GAIL, keyring, open_log, received, sent
from tests.web.browsers import NARROW, WIDE
from tests.web.conftest import OpenTab
from tests.web.test_assets import MARKUP
from tests.web.test_tokens_hostile import CORPUS, seen

DASHBOARD = Path(instar_threadline.__file__).parent / "dashboard"
SETTINGS = "/threadline/telegram-bridge/config"


@pytest.fixture
def served(run_host: RunHost, state_dir: Path) -> RunningHost:
    """Two conversations, and a host that shows them."""
    log = open_log(state_dir, token=TOKEN)
    log.record(
        [
            received("first words", timestamp="2026-04-30T10:00:00Z"),
            sent("an answer", timestamp="2026-04-30T10:01:30Z"),
            received(
                "of the archive", thread_id="t-2", counterparty=GAIL, counterparty_name="Gail"
            ),
        ]
    )
    log.close()
    return run_host([ThreadlinePlugin()], {"projectName": "echo"})


@pytest.mark.parametrize("path", sorted(DASHBOARD.glob("*.js")), ids=lambda path: path.name)
def test_no_script_makes_markup_from_text(path: Path) -> None:
    """C-03 to C-05, W7: nothing here can turn text into markup or code."""
    assert not MARKUP.search(path.read_text(encoding="utf-8"))


@pytest.mark.browser
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1280", "390"])
def test_a_conversation_is_chosen_read_and_left(
    served: RunningHost, open_tab: OpenTab, size: tuple[int, int]
) -> None:
    """List, conversation, deep link and back; one pane on a phone; nothing scrolls sideways."""
    tab = open_tab(served, size=size)
    page = tab.open("tab=threadline")
    page.get_by_role("button", name="Dawn").click()
    page.locator(".tl-text").get_by_text("an answer").wait_for()
    assert "thread=t-1" in page.url
    assert page.get_by_role("button", name="Gail").is_visible() == (size == WIDE)
    ages = " ".join(page.locator("time").all_inner_texts())
    assert ages
    assert "NaN" not in ages  # C-06
    assert page.get_by_text("Genuine", exact=True).is_visible()
    assert page.get_by_text(re.compile("^trust: ")).first.is_visible()
    assert tab.overflow_px() == 0
    page.reload()
    page.locator(".tl-text").get_by_text("an answer").wait_for()
    page.go_back()
    page.get_by_role("button", name="Gail").wait_for()


@pytest.mark.browser
def test_a_search_as_one_types(served: RunningHost, open_tab: OpenTab) -> None:
    """The slash leads to the field; the newest question is answered, the match is marked."""
    page = open_tab(served).open("tab=threadline")
    page.get_by_role("button", name="Dawn").wait_for()
    page.keyboard.press("/")
    page.keyboard.type("archive", delay=5)
    page.locator("mark").wait_for()
    assert page.locator("mark").all_inner_texts() == ["archive"]
    page.locator(".tl-results button").first.click()
    page.locator(".tl-text").get_by_text("of the archive").wait_for()
    page.get_by_label("Search all messages").fill("nowhere to be found")
    page.get_by_text("No matches").wait_for()


@pytest.mark.browser
def test_a_late_answer_is_thrown_away(served: RunningHost, open_tab: OpenTab) -> None:
    """C-08: a slow answer about the first thread does not cover the second one."""
    tab = open_tab(served)
    waiting: list[Any] = []
    tab.page.route("**/observability/thread?threadId=t-1*", lambda route: waiting.append(route))  # noqa: PLW0108 - Playwright wants a function
    page = tab.open("tab=threadline")
    page.get_by_role("button", name="Dawn").click()
    page.get_by_role("button", name="Gail").click()
    page.locator(".tl-text").get_by_text("of the archive").wait_for()
    for route in waiting:
        with page.expect_response("**/observability/thread?threadId=t-1*"):
            route.continue_()
    assert page.locator(".tl-talk h2").inner_text() == "Gail"


@pytest.mark.browser
def test_a_message_arrives_by_itself(served: RunningHost, open_tab: OpenTab) -> None:
    """What is recorded appears in the open conversation without a touch."""
    page = open_tab(served).open("tab=threadline&thread=t-1")
    page.locator(".tl-text").get_by_text("an answer").wait_for()
    body = {"direction": "in", "from": DAWN, "threadId": "t-1", "text": "just now"}
    assert served.client.post("/threadline/messages", json=body).status_code == 201
    page.locator(".tl-text").get_by_text("just now").wait_for()


@pytest.mark.browser
def test_the_settings_card_works(served: RunningHost, open_tab: OpenTab) -> None:
    """C-04: switches switch, entries come and go again; a refusal is shown and rolled back."""
    tab = open_tab(served, size=NARROW)
    page = tab.open("tab=threadline")
    page.get_by_text("Telegram bridge").click()
    page.get_by_label("Mirror to Telegram").check()
    page.locator("summary .chip").get_by_text("On").wait_for()
    hostile = "\"><img src=x onerror=alert(1)>'"
    for entry in ("fp-1", hostile):
        page.get_by_label("Allowed").fill(entry)
        page.get_by_label("Allowed").press("Enter")
        page.get_by_role("button", name=f"Remove {entry}").wait_for()
    assert served.client.get(SETTINGS).json()["allowList"] == ["fp-1", hostile]
    page.get_by_role("button", name=f"Remove {hostile}").click()
    page.get_by_role("button", name=f"Remove {hostile}").wait_for(state="detached")
    now = served.client.get(SETTINGS).json()
    assert (now["enabled"], now["allowList"]) == (True, ["fp-1"])
    page.route(f"**{SETTINGS}", lambda route: _refuse(route, 400))
    page.get_by_label("Open topics by itself").click()
    page.get_by_text("Not saved").wait_for()
    page.locator("#tl-autoCreateTopics:not(:checked)").wait_for()


@pytest.mark.browser
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1280", "390"])
def test_whatever_a_peer_writes_is_text(
    run_host: RunHost, state_dir: Path, open_tab: OpenTab, size: tuple[int, int]
) -> None:
    """C-03, C-05, C-09, S10: hostile text in every field is spelled out and does nothing."""
    log = open_log(state_dir, token=TOKEN)
    log.record(
        [
            received(text, id=text, thread_id=text, counterparty=text, counterparty_name=text,
                     trust_level=text, outcome=text, in_reply_to=text)
            for text in CORPUS
        ]
    )  # fmt: skip
    log.close()
    tab = open_tab(run_host([ThreadlinePlugin()]), size=size)
    page = tab.open("tab=threadline")
    page.locator(".tl-thread").nth(len(CORPUS) - 1).wait_for()
    for text in CORPUS:
        page.goto(f"{tab.running.address}/?tab=threadline&thread={quote(text)}")
        page.locator(".tl-text").wait_for()
        assert page.locator(".tl-text").text_content() == seen(text)
        assert page.locator(".tl-talk h2").text_content() == seen(text)
    assert tab.overflow_px() == 0


@pytest.mark.browser
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1280", "390"])
def test_the_integrity_badge_opens_the_list_of_bad_records(
    run_host: RunHost, state_dir: Path, open_tab: OpenTab, size: tuple[int, int]
) -> None:
    """Every bad line with its place and its bytes, which stay text; the list pages and closes."""
    log = open_log(state_dir, token=TOKEN)
    log.record([received(f"text {i}", id=f"m-{i}") for i in range(60)])
    log.close()
    path = state_dir / "threadline" / "inbox.jsonl.active"
    hostile = "".join(f"<img src=x onerror=alert({i})>\u202e\x1b[31m\n" for i in range(60))
    path.write_bytes(path.read_bytes().replace(b"text 7", b"TEXT 7") + hostile.encode())
    tab = open_tab(run_host([ThreadlinePlugin()]), size=size)
    page = tab.open("tab=threadline")
    page.get_by_role("button", name="Integrity: broken").click()
    items = page.locator(".tl-problems > li")
    items.nth(49).wait_for()
    page.get_by_role("region", name="What is wrong").get_by_role("button", name="Show more").click()
    items.nth(60).wait_for()
    assert "TEXT 7" in items.first.inner_text()
    assert items.nth(1).locator("pre").text_content() == seen(hostile.splitlines()[0])
    assert tab.overflow_px() == 0
    page.get_by_role("button", name="Close").click()
    items.first.wait_for(state="hidden")
    assert page.get_by_role("button", name="Integrity: broken").get_attribute("aria-expanded") == (
        "false"
    )


@pytest.mark.browser
def test_a_message_arrives_by_itself_where_another_process_writes(
    run_host: RunHost, state_dir: Path, open_tab: OpenTab
) -> None:
    """A tab on a host that only reads shows what the host with the lease has taken in."""
    log, keys = open_log(state_dir, token=TOKEN), keyring(state_dir, TOKEN)
    log.record([received("before")])
    lease = Lease(state_dir)
    assert lease.try_acquire()
    index = Index(state_dir, keys, lambda: 0)
    index.catch_up()
    page = open_tab(run_host([ThreadlinePlugin()])).open("tab=threadline&thread=t-1")
    page.locator(".tl-text").get_by_text("before").wait_for()
    page.get_by_text("Another process keeps the index").wait_for()
    with page.expect_response("**/observability/thread?threadId=t-1*"):
        log.record([received("just now")])
        index.catch_up()
    page.locator(".tl-text").get_by_text("just now").wait_for()
    index.close()
    lease.release()


@pytest.mark.browser
def test_nothing_yet_and_a_failure(run_host: RunHost, open_tab: OpenTab) -> None:
    """An empty record says what will fill it; a failure says so and can be tried again."""
    page = open_tab(run_host([ThreadlinePlugin()])).open("tab=threadline")
    page.get_by_text("No conversations yet").wait_for()
    page.route("**/observability/threads*", lambda route: _refuse(route, 503))
    page.reload()
    page.get_by_text("Not ready yet").wait_for()
    page.unroute("**/observability/threads*")
    page.get_by_role("button", name="Try again").click()
    page.get_by_text("No conversations yet").wait_for()


def _refuse(route: Any, status: int) -> None:
    if route.request.method == "GET" and status == 400:
        route.continue_()
    else:
        route.fulfill(status=status, content_type="application/json", body='{"error":"refused"}')
