"""The Threadline tab under somebody's hands: what arrives takes nothing from who reads or types."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from instar_host.testing_web import TOKEN, RunHost, RunningHost
from instar_threadline.plugin import ThreadlinePlugin
from tests.threadline.logs import DAWN, open_log, received
from tests.web.browsers import NARROW
from tests.web.conftest import OpenTab

pytestmark = pytest.mark.browser

SETTINGS = "/threadline/telegram-bridge/config"
FOCUSED = "document.activeElement"


@pytest.fixture
def served(run_host: RunHost, state_dir: Path) -> RunningHost:
    """A conversation of three pages beside forty short ones."""
    log = open_log(state_dir, token=TOKEN)
    minutes = [f"2026-04-30T{n // 60:02}:{n % 60:02}:00Z" for n in range(1100)]
    log.record(
        [received(f"line {n}.", id=f"m-{n}", timestamp=at) for n, at in enumerate(minutes)]
        + [received("short", id=f"s-{n}", thread_id=f"t-{n + 2}") for n in range(40)]
    )
    log.close()
    return run_host([ThreadlinePlugin()], {"projectName": "echo"})


def say(served: RunningHost, text: str, thread: str = "t-1") -> None:
    """A message arrives."""
    said = {"from": DAWN, "threadId": thread, "text": text, "timestamp": "2026-06-01T00:00:00Z"}
    body = {"direction": "in", **said}
    assert served.client.post("/threadline/messages", json=body).status_code == 201


def test_earlier_messages_stay(served: RunningHost, open_tab: OpenTab) -> None:
    """Who reads history keeps it, place and focus included, when something new is said."""
    page = open_tab(served).open("tab=threadline&thread=t-1")
    texts = page.locator(".tl-text")
    texts.get_by_text("line 1099.").wait_for()
    page_length = texts.count()
    page.get_by_role("button", name="Show earlier messages").press("Enter")
    texts.nth(page_length).wait_for()
    read = texts.all_inner_texts()
    log = page.locator(".tl-messages")
    log.evaluate("one => (one.scrollTop = 50)")
    page.evaluate("window.first = document.querySelector('.tl-message')")
    say(served, "just now")
    texts.get_by_text("just now").wait_for()
    assert texts.all_inner_texts() == [*read, "just now"]
    assert log.evaluate("one => [one.scrollTop, one.firstChild === window.first]") == [50, True]
    assert page.evaluate(f"{FOCUSED}.textContent") == "Show earlier messages"
    page.get_by_role("button", name="Show earlier messages").press("Enter")
    texts.get_by_text("line 0.").wait_for()
    assert texts.count() == 1101
    assert page.evaluate(f"{FOCUSED}.className") == "tl-messages"


def test_one_round_of_questions_at_a_time(served: RunningHost, open_tab: OpenTab) -> None:
    """However fast news come and however slow the answers, each round is answered and shown."""
    script = """async () => {
      const path = 'static/panels/threadline/rounds.js';
      const { rounds } = await import(new URL(path, document.baseURI));
      let began = 0, under = 0, most = 0, release;
      const ends = new AbortController();
      const round = async () => {
        began += 1;
        most = Math.max(most, ++under);
        await new Promise((resolve) => (release = resolve));
        under -= 1;
      };
      const until = async (so) => { while (!so()) await new Promise((go) => setTimeout(go, 5)); };
      const soon = rounds(round, ends.signal);
      for (let n = 0; n < 9; n += 1) soon();
      await until(() => began === 1);
      for (let n = 0; n < 9; n += 1) soon();
      release();
      await until(() => began === 2);
      release();
      return [began, most];
    }"""
    assert open_tab(served).open("tab=host").evaluate(script) == [2, 1]


def test_the_list_says_where_it_ends(served: RunningHost, open_tab: OpenTab) -> None:
    """Of ten thousand threads a thousand are listed: then no button promises more."""

    def many(route: Any) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json={**answer.json(), "total": 10_000})

    tab = open_tab(served)
    tab.page.route("**/observability/threads*", many)
    page = tab.open("tab=threadline")
    more = page.locator(".tl-left").get_by_role("button", name="Show more")
    for limit in (500, 1000):
        with page.expect_response(f"**/observability/threads?limit={limit}"):
            more.press("Enter")
        if limit < 1000:
            page.wait_for_function(f"() => {FOCUSED}.textContent === 'Show more'")
    page.get_by_text("of 10,000 threads, the latest; search").wait_for()
    assert more.count() == 0


def test_the_page_does_not_jump(served: RunningHost, open_tab: OpenTab) -> None:
    """A row has the focus, the reader has scrolled on: news do not pull the page back."""
    page = open_tab(served, size=NARROW).open("tab=threadline")
    row = page.locator(".tl-thread").first
    row.focus()
    page.evaluate("scrollTo(0, 1500)")
    say(served, "just now", "t-9")
    page.locator(".tl-thread").first.get_by_text("↓ 2").wait_for(state="attached")
    assert page.evaluate("scrollY") > 1000
    assert page.evaluate(f"{FOCUSED}.className") == "tl-thread"


def test_a_phone_shows_the_latest_and_leads_back(served: RunningHost, open_tab: OpenTab) -> None:
    """One pane: the focus goes along into the conversation, and back to the row it came from."""
    page = open_tab(served, size=NARROW).open("tab=threadline")
    row = page.locator(".tl-thread").filter(has_text="line 0.")
    row.press("Enter")
    page.locator(".tl-text").get_by_text("line 1099.").wait_for()
    assert page.evaluate(f"{FOCUSED}.getAttribute('aria-label')") == "Conversation"
    page.wait_for_function(
        "() => document.querySelector('.tl-message:last-child').getBoundingClientRect().top"
        " < innerHeight"
    )
    page.get_by_role("button", name="All threads").press("Enter")
    assert "line 0." in page.evaluate(f"{FOCUSED}.textContent")


def test_what_was_typed_is_not_lost(served: RunningHost, open_tab: OpenTab) -> None:
    """A search that is typed and left at once for a thread is still there, and is made."""
    page = open_tab(served).open("tab=threadline")
    page.locator(".tl-thread").first.wait_for()
    page.evaluate("""() => {
      const field = document.querySelector('.tl-search');
      field.focus();
      document.execCommand('insertText', false, 'short');
      const row = document.querySelector('.tl-thread');
      row.focus();
      row.click();
    }""")
    page.locator("mark").first.wait_for()
    assert page.get_by_label("Search all messages").input_value() == "short"


def test_escape_leads_back_to_the_badge(
    run_host: RunHost, state_dir: Path, open_tab: OpenTab
) -> None:
    """The list of bad records closes with Escape; its badge has the focus and keeps it."""
    log = open_log(state_dir, token=TOKEN)
    log.record([received("text 7")])
    log.close()
    path = state_dir / "threadline" / "inbox.jsonl.active"
    path.write_bytes(path.read_bytes().replace(b"text 7", b"TEXT 7"))
    served = run_host([ThreadlinePlugin()])
    page = open_tab(served).open("tab=threadline")
    page.get_by_role("button", name="Integrity: broken").press("Enter")
    page.locator(".tl-problems > li").wait_for()
    page.keyboard.press("Escape")
    page.locator(".tl-problems").wait_for(state="hidden")
    assert page.evaluate(f"{FOCUSED}.textContent") == "Integrity: broken"
    say(served, "just now", "t-2")
    page.locator(".tl-head .figure").filter(has_text="Threads").get_by_text("2").wait_for()
    assert page.evaluate(f"{FOCUSED}.textContent") == "Integrity: broken"


def test_settings_leave_what_is_typed(served: RunningHost, open_tab: OpenTab) -> None:
    """A switch that is turned redraws no field: a fingerprint half written stays."""
    page = open_tab(served).open("tab=threadline")
    page.get_by_role("heading", name="Telegram bridge").click()
    page.get_by_label("Denied").fill("half a finger")
    page.get_by_label("Mirror to Telegram").press("Space")
    page.locator("summary .chip").get_by_text("On").wait_for()
    assert page.get_by_label("Denied").input_value() == "half a finger"
    assert page.evaluate(f"{FOCUSED}.id") == "tl-enabled"


def test_settings_of_two_pages_add_up(served: RunningHost, open_tab: OpenTab) -> None:
    """What another page has denied since stays denied when this one adds an entry."""
    page = open_tab(served).open("tab=threadline")
    page.get_by_role("heading", name="Telegram bridge").click()
    page.get_by_label("Denied").wait_for()
    served.client.patch(SETTINGS, json={"denyList": ["fp-other"]})
    for entry in ("fp-1", "fp-2"):  # the second one before the first is taken
        page.get_by_label("Denied").fill(entry)
        page.get_by_label("Denied").press("Enter")
    page.get_by_role("button", name="Remove fp-2").wait_for()
    assert served.client.get(SETTINGS).json()["denyList"] == ["fp-other", "fp-1", "fp-2"]


def test_settings_come_back_with_the_host(served: RunningHost, open_tab: OpenTab) -> None:
    """Settings that could not be had are asked for again once the stream is back."""
    tab = open_tab(served)
    for path in (SETTINGS, "/threadline/observability/events"):
        tab.page.route(f"**{path}", lambda route: route.abort())
    page = tab.open("tab=threadline")
    page.locator("summary .chip").get_by_text("Unknown").wait_for()
    page.unroute_all()
    page.locator("summary .chip").get_by_text("Off").wait_for()
