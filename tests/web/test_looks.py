"""Pages for every eye and hand: contrast, room for a thumb, no sideways scroll, focus in sight."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.corpus import Counters
from tests.web.conftest import OpenTab
from tests.web.ledgers import ServedLedger

pytestmark = pytest.mark.browser

TOTAL = "[data-total]"
PALE = """() => {
  const brush = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgba = (colour) => {
    brush.clearRect(0, 0, 1, 1);
    brush.fillStyle = colour;
    brush.fillRect(0, 0, 1, 1);
    return [...brush.getImageData(0, 0, 1, 1).data];
  };
  const over = (top, low) => low.map((one, at) => (top[at] * top[3] + one * (255 - top[3])) / 255);
  const part = (v) => (v / 255 <= 0.04045 ? v / 3294.6 : ((v / 255 + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b) + 0.05;
  const ground = (one) => {
    const low = one.parentElement ? ground(one.parentElement) : [255, 255, 255];
    return over(rgba(getComputedStyle(one).backgroundColor), low);
  };
  const pale = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const one = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || !one.checkVisibility()) continue;
    if (one.closest('.visually-hidden, .skip, :disabled')) continue;
    const below = ground(one);
    const pair = [light(over(rgba(getComputedStyle(one).color), below)), light(below)];
    const ratio = Math.max(...pair) / Math.min(...pair);
    if (ratio < 4.5) pale.push(`${one.className} ${ratio.toFixed(2)}`);
  }
  return [...new Set(pale)];
}"""
SMALL = """() => [...document.querySelectorAll('main :is(button, summary, input, select)')]
  .filter((one) => one.checkVisibility() && one.getBoundingClientRect().height < 39)
  .map((one) => `${one.className} ${one.getBoundingClientRect().height}`)"""


@pytest.fixture
def served(ledger: ServedLedger) -> ServedLedger:
    """Two sessions, one of them with a number near the largest."""
    large = Counters(input=7, output=9, cache_create=4, cache_read=2**52)
    ledger.write("session-1.jsonl", *(ledger.line(n) for n in range(20)))
    ledger.write("session-2.jsonl", ledger.line(50, "session-2", cwd="/x/" + "y" * 300))
    ledger.write("session-2.jsonl", ledger.line(51, "session-2", counters=large, model="m" * 80))
    ledger.serve()
    return ledger


def opened(tab: Any, query: str) -> Any:
    """The page with everything unfolded."""
    page = tab.open(query)
    page.locator("[data-total], .requests").first.wait_for()
    for one in page.locator("summary, .requests .link").all()[:3]:
        one.click()
    return page


@pytest.mark.parametrize("query", ["tab=tokens&range=7d", "tab=tokens&session=session-1"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(
    served: ServedLedger, open_tab: OpenTab, scheme: str, query: str
) -> None:
    """All text stands out from its ground by 4.5 to 1, in both lights."""
    tab = open_tab(served.running, color_scheme=scheme, reduced_motion="reduce")
    page = opened(tab, query)
    page.wait_for_function("() => !document.querySelector('[aria-busy]')")
    assert page.evaluate(PALE) == []


@pytest.mark.parametrize("width", [320, 390, 640])
@pytest.mark.parametrize("query", ["tab=tokens&range=7d", "tab=tokens&session=session-2"])
def test_a_phone_is_wide_enough_for_a_thumb(
    served: ServedLedger, open_tab: OpenTab, width: int, query: str
) -> None:
    """No sideways scroll from 320 px on, whatever the numbers; every control 39 px or higher."""
    tab = open_tab(served.running, size=(width, 700), has_touch=True, is_mobile=True)
    page = opened(tab, query)
    assert tab.overflow_px() == 0
    assert page.evaluate("innerWidth") == width
    assert page.evaluate(SMALL) == []


def test_the_bar_hides_no_focus(served: ServedLedger, open_tab: OpenTab) -> None:
    """Back through a long page: what gets the focus is below the bar, not under it."""
    page = open_tab(served.running, size=(640, 400)).open("tab=tokens&range=7d")
    page.wait_for_selector(TOTAL)
    page.locator('[data-list="idle"] .row-link').last.focus()
    for _ in range(12):
        page.keyboard.press("Shift+Tab")
        top, bar = page.evaluate(
            "() => [document.activeElement, document.querySelector('.bar')]"
            ".map((one, at) => one.getBoundingClientRect()[at ? 'bottom' : 'top'])"
        )
        assert top >= bar
