"""The Tokens tab under somebody's hands: news of the ledger take nothing from who reads it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.web.conftest import OpenTab
from tests.web.ledgers import ServedLedger
from tests.web.test_tokens_modules import asked
from tests.web.test_tokens_states import SORRY, refuse

pytestmark = pytest.mark.browser

TOTAL = "[data-total]"
LIVE = "main :is([role=status], [role=alert], [aria-live=polite])"
LISTEN = f"""
window.__said = [];
new MutationObserver((changes) => {{
  for (const {{ target, addedNodes }} of changes) {{
    const place = (target.closest ? target : target.parentElement)?.closest("{LIVE}");
    const come = [...addedNodes].filter((one) => one.matches?.("{LIVE}"));
    for (const one of addedNodes) come.push(...(one.querySelectorAll?.("{LIVE}") ?? []));
    for (const one of new Set([place, ...come])) if (one) window.__said.push(one.textContent);
  }}
}}).observe(document, {{ childList: true, characterData: true, subtree: true }});
"""
"""Keeps what a screen reader would read out by itself in `window.__said`."""


@pytest.fixture
def served(ledger: ServedLedger) -> ServedLedger:
    """A day of requests, one an hour."""
    ledger.write("session-1.jsonl", *(ledger.line(n) for n in range(22)))
    ledger.serve()
    return ledger


def news(page: Any, ledger: ServedLedger, number: int = 500) -> None:
    """One more request, and wait until the page shows it."""
    before = page.get_attribute(TOTAL, "data-total")
    ledger.write("session-1.jsonl", ledger.line(number, ts=ledger.now_ms - 1000))
    ledger.look()
    page.wait_for_function(
        f"before => document.querySelector('{TOTAL}').dataset.total !== before", arg=before
    )


def test_dates_being_written_are_left_alone(served: ServedLedger, open_tab: OpenTab) -> None:
    """The last 24 hours begin later all the time: the form for a span of one's own stays open."""
    page = open_tab(served.running).open("tab=tokens&range=24h")
    page.wait_for_selector(TOTAL)
    page.get_by_role("button", name="Custom").click()
    page.locator("#range-from").fill("2020-02-29")
    news(page, served)
    assert page.locator("#range-from").is_visible()
    assert page.locator("#range-from").input_value() == "2020-02-29"
    page.locator("#range-from").press("Escape")
    page.locator("#range-from").wait_for(state="hidden")
    assert page.evaluate("document.activeElement.dataset.key") == "range custom"
    assert page.get_attribute('[data-key="range 24h"]', "aria-pressed") == "true"


def test_the_range_that_was_shown_closes_the_form(served: ServedLedger, open_tab: OpenTab) -> None:
    """Who opened the form and takes the old range instead sees no form any more."""
    page = open_tab(served.running).open("tab=tokens&range=7d")
    page.wait_for_selector(TOTAL)
    page.get_by_role("button", name="Custom").click()
    page.locator("#range-from").wait_for()
    page.locator('[data-key="range 7d"]').click()
    page.locator("#range-from").wait_for(state="hidden")
    page.locator('[data-key="range 7d"][aria-pressed=true]').wait_for()
    assert page.locator('[data-key="range custom"][aria-pressed=true]').count() == 0


def test_news_leave_the_place_in_a_table(served: ServedLedger, open_tab: OpenTab) -> None:
    """The numbers of the chart stay scrolled where they are read, with the focus on them."""
    page = open_tab(served.running).open("tab=tokens&range=24h")
    page.get_by_text("The same in numbers").click()
    table = page.get_by_role("region", name="Use over time, in numbers")
    table.focus()
    table.evaluate("one => (one.scrollTop = 120)")
    news(page, served)
    assert table.evaluate("one => [one.scrollTop, document.activeElement === one]") == [120, True]


def test_news_leave_an_opened_request(served: ServedLedger, open_tab: OpenTab) -> None:
    """The command that somebody is about to copy keeps the focus."""
    page = open_tab(served.running).open("tab=tokens&session=session-1")
    page.locator(".requests .link").first.click()
    page.locator(".command-text").focus()
    rows = page.locator(".requests .link").count()
    served.write("session-1.jsonl", served.line(500, ts=served.now_ms - 1000))
    served.look()
    page.locator(".requests .link").nth(rows).wait_for()
    assert page.evaluate("document.activeElement.className") == "command-text"


def test_only_news_are_read_out(served: ServedLedger, open_tab: OpenTab) -> None:
    """A screen reader hears that reading has begun, and not each step of it."""
    status = served.get("/tokens/status")
    status["files"] |= {"seen": 1200, "waiting": 300}
    script = """async (status) => {
      const own = (name) => import(new URL(`static/${name}`, document.baseURI));
      const { reading } = await own('panels/tokenledger/reading.js');
      const shown = reading({...await own('dom.js'), format: await own('format.js')});
      document.body.append(shown.said ?? '', shown.banner);
      shown.update(status);
      const watch = new MutationObserver(() => {});
      watch.observe(document.body, {subtree: true, childList: true, characterData: true});
      for (let n = 0; n < 20; n += 1)
        shown.progress({state: 'catching-up', filesSeen: 1200, filesWaiting: 200 - n,
          bytesWaiting: 1000 - n, bytesPerSecond: 7, secondsLeft: 9});
      const live = '[role=status], [role=alert], [aria-live]';
      const loud = watch.takeRecords().filter(({ target }) => target.closest(live));
      const count = shown.banner.querySelector('[data-progress]').textContent;
      return [shown.said?.textContent, count.slice(0, 20), loud.length];
    }"""
    heard = open_tab(served.running).open("tab=host").evaluate(script, status)
    assert heard == ["Reading your transcripts", "1,019 of 1,200 files", 0]


def test_a_lasting_failure_is_said_once(served: ServedLedger, open_tab: OpenTab) -> None:
    """What is tried again and fails again is not read out again, and keeps the focus."""
    tab = open_tab(served.running)
    tab.page.add_init_script(LISTEN)
    page = tab.open("tab=tokens&range=24h")
    page.wait_for_selector(TOTAL)
    page.route("**/tokens/**", refuse)
    page.locator('[data-key="range 7d"]').click()
    again = page.get_by_role("button", name="Try now")
    again.focus()
    page.locator(".notice").get_by_text("Trying again in 4 s").wait_for()
    assert again.evaluate("one => one === document.activeElement")
    assert len([words for words in page.evaluate("window.__said") if SORRY in words]) == 1
    page.unroute("**/tokens/**")
    page.keyboard.press("Enter")
    again.wait_for(state="detached")
    assert page.evaluate("document.activeElement.tagName") == "H1"


def test_a_session_that_cannot_be_had_is_one_failure(
    served: ServedLedger, open_tab: OpenTab
) -> None:
    """Two questions that fail together leave no error that nobody looks at."""
    tab = open_tab(served.running)
    tab.page.route("**/tokens/s*", refuse)
    tab.page.route("**/tokens/sessions/**", refuse)
    page = tab.open("tab=tokens&session=session-1")
    page.get_by_role("alert").filter(has_text=SORRY).wait_for()


def test_news_end_a_pause(ledger: ServedLedger, open_tab: OpenTab) -> None:
    """A host that tells something is back: the page does not wait out its pause."""
    script = """
      const { refresher } = await m('refresh.js');
      const waits = [];
      const later = window.setTimeout;
      window.setTimeout = (run, ms) => (waits.push(ms), later(() => {}, 0));
      const ends = new AbortController();
      const load = () => Promise.reject(Object.assign(new Error('gone'), {status: 0}));
      const one = refresher({load, show() {}, fail() {}, signal: ends.signal});
      await one.now();
      one.soon();
      window.setTimeout = later;
      return waits;
    """
    pause, then = asked(open_tab, ledger, "UTC", script)
    assert pause == 2000
    assert then <= 1000
