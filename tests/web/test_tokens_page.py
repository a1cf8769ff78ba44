"""The Tokens tab in a real browser: what it shows is what the routes say, for every reader."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from instar_host.clock import SystemClock
from instar_host.serve import sample_host
from instar_host.testing import MakeHost
from instar_host.testing_web import start_host
from instar_tokenledger.plugin import TokenLedgerPlugin
from tests.web.browsers import NARROW, WIDE
from tests.web.conftest import OpenTab
from tests.web.ledgers import DAY_MS, ServedLedger

pytestmark = pytest.mark.browser

TOTAL = "[data-total]"


@pytest.fixture
def filled(ledger: ServedLedger) -> ServedLedger:
    """Two sessions over a day and a half, with a placeholder, a subagent and a line that is
    none.
    """
    ledger.write("session-1.jsonl", *(ledger.line(n) for n in range(12)))
    ledger.write("session-1.jsonl", b'{"type":"assistant","message":{"usage":{"inp')
    ledger.write(
        "session-2.jsonl",
        *(ledger.line(n, "session-2", cwd="/home/ada/tides") for n in range(20, 30)),
    )
    ledger.serve()
    return ledger


def total(page: Any) -> int:
    """The headline, once there is one."""
    page.wait_for_selector(TOTAL)
    return int(page.get_attribute(TOTAL, "data-total"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_a_filled_page_fits(
    filled: ServedLedger, open_tab: OpenTab, size: tuple[int, int], scheme: str
) -> None:
    """The page says what the routes say, and is never wider than its window."""
    tab = open_tab(filled.running, size=size, color_scheme=scheme)
    page = tab.open("tab=tokens&range=7d")
    summary = filled.get("/tokens/summary", since=str(filled.now_ms - 7 * DAY_MS))["summary"]
    assert total(page) == summary["totalTokens"]
    assert page.locator(".chart canvas").count() == 1
    names = page.locator('[data-list="sessions"] .row-link').all_text_contents()
    assert names == ["app", "tides"]
    assert tab.overflow_px() == 0
    page.get_by_text("The same in numbers").click()
    page.locator('[data-list="sessions"] .row-link').first.click()
    page.locator(".requests .link").first.click()
    page.wait_for_selector(".record")
    assert tab.overflow_px() == 0


def test_a_request_is_shown_down_to_its_byte(filled: ServedLedger, open_tab: OpenTab) -> None:
    """A deep link opens a session; a request names file and byte, and how to trace it."""
    page = open_tab(filled.running).open("tab=tokens&session=session-1")
    page.locator(".requests .link").first.click()
    record = page.locator(".record").inner_text()
    first = filled.get("/tokens/sessions/session-1")["requests"][0]
    assert first["file"] in record
    assert str(first["offset"]) in record
    assert f"instar tokens trace {first['requestId']}" in record
    line = Path(first["file"]).read_bytes()[first["offset"] :].split(b"\n")[0]
    assert first["requestId"].encode() in line


def test_the_page_follows_a_growing_transcript(filled: ServedLedger, open_tab: OpenTab) -> None:
    """A new line shows by itself, and takes neither the focus nor an open record away."""
    page = open_tab(filled.running).open("tab=tokens&range=24h")
    before = total(page)
    page.locator("#live[data-state=live]").wait_for()
    page.locator('[data-key="range 24h"]').focus()
    filled.write("session-1.jsonl", filled.line(50, ts=filled.now_ms - 1000))
    filled.look()
    page.wait_for_function(
        f"() => Number(document.querySelector('{TOTAL}').dataset.total) > {before}"
    )
    assert total(page) == before + 7 + 950 + 64_000
    assert page.evaluate("document.activeElement.dataset.key") == "range 24h"


def test_an_open_session_follows_too(filled: ServedLedger, open_tab: OpenTab) -> None:
    """The requests of an open session grow; the one that was opened stays open, and focused."""
    page = open_tab(filled.running).open("tab=tokens&session=session-1")
    link = page.locator(".requests .link")
    link.first.press("Enter")
    page.locator("#live[data-state=live]").wait_for()
    filled.write("session-1.jsonl", filled.line(50, ts=filled.now_ms - 1000))
    filled.look()
    page.wait_for_function("() => document.querySelectorAll('.requests .link').length === 13")
    assert link.first.get_attribute("aria-expanded") == "true"
    assert page.locator(".record:visible").count() == 1
    assert page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "true"


def test_the_keyboard_is_enough(filled: ServedLedger, open_tab: OpenTab) -> None:
    """From the tabs to a request's record and back with Tab, Enter and Escape keys alone."""
    page = open_tab(filled.running).open("tab=tokens&range=7d")
    total(page)
    reach(page, "range 30d")
    page.keyboard.press("Enter")
    page.wait_for_url("**range=30d**")
    reach(page, "session session-1")
    page.keyboard.press("Enter")
    page.wait_for_selector(".requests")
    assert page.evaluate("document.activeElement.tagName") == "H1"
    reach(page, "request ")
    page.keyboard.press("Enter")
    assert page.locator(".record:visible").count() == 1
    page.keyboard.press("Shift+Tab")
    assert page.evaluate("document.activeElement.dataset.key") == "back"
    page.keyboard.press("Enter")
    page.wait_for_selector(TOTAL)
    assert page.evaluate("document.activeElement.dataset.key") == "session session-1"


def reach(page: Any, key: str) -> None:
    """Press Tab until the element with this `data-key` has the focus, and shows that it has."""
    for _ in range(80):
        page.keyboard.press("Tab")
        found = page.evaluate("document.activeElement.dataset.key ?? ''")
        if found.startswith(key):
            style = "getComputedStyle(document.activeElement).outlineStyle"
            assert page.evaluate(style) != "none"
            return
    raise AssertionError(f"the keyboard never reaches {key!r}")


def test_the_address_holds_the_place(filled: ServedLedger, open_tab: OpenTab) -> None:
    """Range, hidden kinds and session are in the address; the back button leads back."""
    page = open_tab(filled.running).open("tab=tokens&range=24h&hide=cacheRead")
    page.locator('[data-key="range 24h"][aria-pressed=true]').wait_for()
    page.locator('.legend-key[data-kind="cacheRead"][aria-pressed=false]').wait_for()
    page.locator('[data-list="sessions"] .row-link').first.click()
    page.wait_for_selector(".requests")
    assert "session=session-1" in page.url
    assert "range=24h" in page.url
    page.go_back()
    page.wait_for_selector(TOTAL)
    assert "session=" not in page.url
    page.locator('.legend-key[data-kind="cacheRead"]').click()
    page.wait_for_url(lambda url: "hide=" not in url)


def test_a_custom_range_counts_whole_days(filled: ServedLedger, open_tab: OpenTab) -> None:
    """Two dates are asked for as the local days from the first to the end of the last."""
    page = open_tab(filled.running, timezone="Asia/Kathmandu").open("tab=tokens")
    total(page)
    page.get_by_role("button", name="Custom").click()
    page.locator("#range-from").fill("2020-02-29")
    page.locator("#range-to").fill("2020-03-01")
    with page.expect_request("**/tokens/series**") as asked:
        page.get_by_role("button", name="Show", exact=True).click()
    asked_for = asked.value.url
    assert "since=1582913700000" in asked_for
    assert "until=1583086500000" in asked_for
    assert "tz=Asia%2FKat" in asked_for  # Kathmandu or Katmandu: browsers spell both
    page.wait_for_selector('[data-total="0"]')


def test_hidden_text_is_not_the_only_way_to_see_the_chart(
    filled: ServedLedger, open_tab: OpenTab
) -> None:
    """The chart's numbers stand in a table too, and add up to the headline."""
    page = open_tab(filled.running).open("tab=tokens&range=7d")
    whole = total(page)
    page.get_by_text("The same in numbers").click()
    cells = page.locator(".numbers tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.querySelectorAll('td')].slice(0, 4)"
        ".map(cell => Number(cell.textContent.replaceAll(',', ''))))"
    )
    assert sum(map(sum, cells)) == whole


def test_the_sample_shows_a_filled_page(make_host: MakeHost, open_tab: OpenTab) -> None:
    """`instar serve --sample`: something to see at once. `INSTAR_SCREENSHOTS=DIR` keeps a picture
    of it.
    """
    host = make_host({"tokenledger": TokenLedgerPlugin()})
    real = msgspec.structs.replace(host, clock=SystemClock())
    with ExitStack() as after, sample_host(real) as sample:
        tab = open_tab(start_host(sample, after), size=(1180, 1040), device_scale_factor=1.5)
        page = tab.open("tab=tokens&range=30d")
        page.locator('[data-list="sessions"] tbody tr').nth(9).wait_for()
        page.get_by_text("Up to date: ").wait_for()
        page.wait_for_function(
            f"() => Number(document.querySelector('{TOTAL}').dataset.total) > 1_000_000"
        )
        folder = os.environ.get("INSTAR_SCREENSHOTS")
        if folder:
            page.screenshot(path=Path(folder) / "tokens.png")
        tab.check()
