"""The Tokens tab when there is nothing, when something fails, and when answers come late."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from tests.web.conftest import OpenTab
from tests.web.ledgers import ServedLedger

pytestmark = pytest.mark.browser

TOTAL = "[data-total]"
SORRY = "The token ledger cannot be read now: the disk is full"
SHOW = """
Object.defineProperty(document, "hidden", {{ configurable: true, value: {hidden} }});
document.dispatchEvent(new Event("visibilitychange"));
"""


def refuse(route: Any) -> None:
    """Answer as the host does while its ledger cannot be read."""
    route.fulfill(status=503, json={"error": SORRY})


def test_an_empty_home_says_where_it_looked(ledger: ServedLedger, open_tab: OpenTab) -> None:
    """Nothing to count: which folders were looked into, what to do, and no row of zeros."""
    ledger.serve()
    page = open_tab(ledger.running).open("tab=tokens")
    page.get_by_text("No transcripts yet").wait_for()
    assert str(ledger.claude / "projects") in page.locator(".places").inner_text()
    assert "--claude-dir" in page.locator(".state").inner_text()
    assert page.locator(TOTAL).count() == 0


def test_an_empty_page_fills_by_itself(ledger: ServedLedger, open_tab: OpenTab) -> None:
    """The first transcript ever shows without a reload."""
    ledger.serve()
    page = open_tab(ledger.running).open("tab=tokens&range=24h")
    page.get_by_text("No transcripts yet").wait_for()
    page.locator("#live[data-state=live]").wait_for()
    ledger.write("session-1.jsonl", ledger.line(1))
    ledger.look()
    page.wait_for_selector(TOTAL)


def test_an_empty_range_is_not_an_empty_ledger(ledger: ServedLedger, open_tab: OpenTab) -> None:
    """A range without requests says so, and keeps the picker."""
    ledger.write("session-1.jsonl", ledger.line(100))
    ledger.serve()
    page = open_tab(ledger.running).open("tab=tokens&range=24h")
    page.get_by_text("No session in this range.").wait_for()
    assert page.get_attribute(TOTAL, "data-total") == "0"
    page.get_by_role("button", name="All", exact=True).click()
    page.wait_for_selector('[data-list="sessions"] .row-link')


def test_a_ledger_that_cannot_be_read_is_said_and_tried_again(
    ledger: ServedLedger, open_tab: OpenTab
) -> None:
    """A 503 is a sentence with a way to try again, and goes away by itself."""
    ledger.write("session-1.jsonl", ledger.line(1))
    ledger.serve()
    tab = open_tab(ledger.running)
    tab.page.route("**/tokens/summary**", refuse)
    page = tab.open("tab=tokens&range=24h")
    alert = page.get_by_role("alert").filter(has_text=SORRY)
    alert.wait_for()
    assert "Not ready yet" in alert.inner_text()
    assert page.get_by_role("button", name="Try again").is_visible()
    page.unroute("**/tokens/summary**")
    page.wait_for_selector(TOTAL)
    assert page.get_by_text(SORRY).count() == 0


def test_old_numbers_stay_while_new_ones_fail(ledger: ServedLedger, open_tab: OpenTab) -> None:
    """What was shown stays, with a sentence that it is not up to date."""
    ledger.write("session-1.jsonl", ledger.line(1))
    ledger.serve()
    tab = open_tab(ledger.running)
    page = tab.open("tab=tokens&range=24h")
    page.wait_for_selector(TOTAL)
    page.route("**/tokens/**", refuse)
    page.locator('[data-key="range 7d"]').click()
    page.locator(".notice").get_by_text(SORRY).wait_for()
    assert page.locator(TOTAL).is_visible()
    page.unroute("**/tokens/**")
    page.get_by_role("button", name="Try now").click()
    page.locator(".notice").get_by_text(SORRY).wait_for(state="detached")


def test_a_late_answer_does_not_replace_a_newer_choice(
    ledger: ServedLedger, open_tab: OpenTab
) -> None:
    """C-08: the answer to a choice that was given up is thrown away."""
    ledger.write("session-1.jsonl", ledger.line(1), ledger.line(100))
    ledger.serve()
    page = open_tab(ledger.running).open("tab=tokens&range=24h")
    page.wait_for_selector(TOTAL)
    newest = page.get_attribute(TOTAL, "data-total")
    held: list[Any] = []
    page.route(
        "**/tokens/summary**",
        lambda route: route.continue_() if held else held.append(route),
    )
    page.locator('[data-key="range 30d"]').click()
    page.wait_for_function("() => document.querySelector('.stage').ariaBusy === 'true'")
    while not held:
        page.wait_for_timeout(10)
    page.locator('[data-key="range 24h"]').click()
    page.locator('[data-key="range 24h"][aria-pressed=true]').wait_for()
    page.wait_for_function("() => document.querySelector('.stage').ariaBusy === null")
    with page.expect_response(lambda answer: answer.request == held[0].request) as late:
        held[0].continue_()
    late.value.finished()
    page.evaluate("fetch('static/mark.svg').then((answer) => answer.text())")  # a turn later
    assert page.get_attribute(TOTAL, "data-total") == newest
    assert page.locator('[data-key="range 24h"][aria-pressed=true]').count() == 1


def test_an_unknown_session_says_so(ledger: ServedLedger, open_tab: OpenTab) -> None:
    """A link to a session that is not there leads back to those that are."""
    ledger.write("session-1.jsonl", ledger.line(1))
    ledger.serve()
    page = open_tab(ledger.running).open("tab=tokens&session=no-such-one")
    page.get_by_text("No such session").wait_for()
    page.get_by_role("button", name="All sessions").click()
    page.wait_for_selector(TOTAL)


def test_reading_history_shows_how_far_it_is(ledger: ServedLedger, open_tab: OpenTab) -> None:
    """While files wait: how many, how much, how fast, how long; and what was skipped, by reason."""
    ledger.write("session-1.jsonl", ledger.line(1), b'{"type":"assistant","message":')
    ledger.serve()
    status = ledger.get("/tokens/status")
    status["files"] |= {"seen": 1200, "waiting": 300}
    status["bytes"] |= {"read": 900_000_000, "waiting": 100_000_000, "perSecond": 50_000_000}
    status |= {"state": "catching-up", "secondsLeft": 2, "watch": "off: not wanted"}
    tab = open_tab(ledger.running)
    tab.page.route("**/tokens/status", lambda route: route.fulfill(json=status))
    tab.page.route("**/tokens/events", lambda route: route.fulfill(status=404, json={"error": "-"}))
    page = tab.open("tab=tokens&range=24h")
    words = page.locator("[data-progress]")
    words.wait_for()
    assert words.inner_text() == (
        "900 of 1,200 files · 100.0 MB to go · 50.0 MB a second · about 2 s left"
    )
    assert page.get_attribute("progress", "value") == "0.9000"
    reading = page.get_by_role("region", name="Reading").inner_text()
    assert "1 line was not counted" in reading
    assert "the watch is off" not in reading  # a setting, or no folder yet: no trouble


def test_files_too_old_are_said_with_the_way_to_read_them(
    ledger: ServedLedger, open_tab: OpenTab
) -> None:
    """What waits because of its age is counted, and read when asked for."""
    old = ledger.write("session-1.jsonl", ledger.line(1))
    os.utime(old, (1, 1))
    ledger.serve()
    page = open_tab(ledger.running).open("tab=tokens")
    page.get_by_text("No transcripts yet").wait_for()
    older = page.locator(".state .older").inner_text()
    assert older.startswith("One older file (")
    assert "more than 30 days" in older
    page.locator(".state").get_by_role("button", name="Read them now").click()
    page.locator('[data-list="sessions"] .row-link, .range-words').first.wait_for()
    assert ledger.get("/tokens/status")["requests"] == 1


def test_another_process_may_be_the_one_that_reads(ledger: ServedLedger, open_tab: OpenTab) -> None:
    """A process without the lease says who reads, and follows what that one commits."""
    ledger.write("session-1.jsonl", ledger.line(1))
    ledger.serve()
    status = ledger.get("/tokens/status")
    status |= {"lease": {"held": False, "pid": 4321}, "state": "idle"}
    tab = open_tab(ledger.running)
    tab.page.route("**/tokens/status", lambda route: route.fulfill(body=json.dumps(status)))
    tab.page.route("**/tokens/events", lambda route: route.fulfill(status=404, json={"error": "-"}))
    page = tab.open("tab=tokens&range=24h")
    page.get_by_text("Process 4321 reads the transcripts").wait_for()
    before = int(page.get_attribute(TOTAL, "data-total"))
    ledger.write("session-1.jsonl", ledger.line(2))
    ledger.await_read()
    status["requests"] += 1
    page.wait_for_function(
        f"() => Number(document.querySelector('{TOTAL}').dataset.total) > {before}"
    )


def test_a_page_that_nobody_sees_holds_no_connection(
    ledger: ServedLedger, open_tab: OpenTab
) -> None:
    """A browser allows six connections to a host: pages in the background give theirs back, and
    catch up when they are looked at again.
    """
    ledger.write("session-1.jsonl", ledger.line(1))
    ledger.serve()
    tab = open_tab(ledger.running)
    page = tab.open("tab=tokens&range=24h")
    page.locator("#live[data-state=live]").wait_for()
    before = int(page.get_attribute(TOTAL, "data-total"))
    with page.expect_event("requestfailed", lambda gone: gone.url.endswith("/tokens/events")):
        page.evaluate(SHOW.format(hidden="true"))
    ledger.write("session-1.jsonl", ledger.line(2))
    ledger.await_read()
    assert int(page.get_attribute(TOTAL, "data-total")) == before
    page.evaluate(SHOW.format(hidden="false"))
    page.locator("#live[data-state=live]").wait_for()
    page.wait_for_function(
        f"() => Number(document.querySelector('{TOTAL}').dataset.total) > {before}"
    )


def test_a_host_that_is_gone_is_said_and_waited_for(
    ledger: ServedLedger, open_tab: OpenTab
) -> None:
    """Without an answer the page keeps its numbers, says what to look at, and comes back alone."""
    ledger.write("session-1.jsonl", ledger.line(1))
    ledger.serve()
    tab = open_tab(ledger.running)
    page = tab.open("tab=tokens&range=24h")
    page.wait_for_selector(TOTAL)
    tab.context.set_offline(True)
    page.locator('[data-key="range 7d"]').click()
    page.locator(".notice").get_by_text("The host does not answer").wait_for()
    assert "instar serve" in page.locator(".notice").inner_text()
    assert page.locator(TOTAL).is_visible()
    tab.context.set_offline(False)
    page.locator(".notice .note").wait_for(state="detached")
    page.locator('[data-key="range 7d"][aria-pressed=true]').wait_for()
