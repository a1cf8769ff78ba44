"""The page around the tabs: the token's way in, the address, the keyboard, text that stays text."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from instar_host.testing_web import RunHost, RunningHost
from instar_host.web.files import DASHBOARD
from tests.host.web.probe import Probe
from tests.web.browsers import NARROW
from tests.web.conftest import OpenTab

MARKUP = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment"
    r"|\beval\s*\(|new Function|setHTML|javascript:"
)

PANEL = """
export async function mount(element, api) {
  const { h, replace } = api;
  const params = h("output", { id: "params" });
  const heard = h("output", { id: "heard" });
  const tell = (found) => replace(params, JSON.stringify(found));
  element.append(h("h1", null, "Probe"), params, heard);
  for (const range of ["24h", "7d"]) {
    element.append(h("button", { type: "button", onclick: () => api.navigate({ range }) }, range));
  }
  api.onNavigate(tell);
  tell(api.params);
  window.probe = api;
  api.stream("/probe/events", ({ event, data }) => heard.append(`${event}:${data.n} `), {
    again: () => heard.append("again "),
  });
}
export function unmount() {
  window.left = (window.left ?? 0) + 1;
}
"""

Serve = Callable[..., RunningHost]


@pytest.fixture
def probe() -> Probe:
    """The plugin that brings the tab."""
    return Probe()


@pytest.fixture
def serve(run_host: RunHost, probe: Probe, tmp_path_factory: pytest.TempPathFactory) -> Serve:
    """Hosts with a tab of the given source."""

    def start(source: str = PANEL) -> RunningHost:
        folder: Path = tmp_path_factory.mktemp("panel")
        probe.panel = folder / "probe.js"
        probe.panel.write_text(source, encoding="utf-8")
        return run_host([probe])

    return start


def params_of(page: Any) -> str:
    """What the tab was told of the address."""
    return str(page.locator("#params").inner_text())


def test_the_shell_makes_no_markup_from_text() -> None:
    """W7: nothing in its scripts can turn text into markup or code, and nothing is inline."""
    for script in DASHBOARD.glob("*.js"):
        text = script.read_text(encoding="utf-8")
        assert not MARKUP.search(text), script.name
        assert text.count("\n") <= 400
    page = (DASHBOARD / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", page)
    assert not re.search(r"(?:src|href)=\"(?:/|https?:)", page)


@pytest.mark.browser
def test_the_token_comes_in_once_and_leaves_the_address(serve: Serve, open_tab: OpenTab) -> None:
    """Not in the address bar, not in the history, and a reload does not ask again."""
    tab = open_tab(serve())
    page = tab.open("tab=probe&range=7d")
    page.locator("#params").wait_for()
    assert page.url == f"{tab.running.address}/?tab=probe&range=7d"
    assert params_of(page) == '{"range":"7d"}'
    page.reload()
    page.locator("#params").wait_for()
    assert page.evaluate("localStorage.length") == 0
    assert page.evaluate("document.cookie") == ""


@pytest.mark.browser
def test_a_missing_and_a_wrong_token_are_asked_for_in_words(
    serve: Serve, open_tab: OpenTab
) -> None:
    """The page says how to get one, says when it is wrong, and opens when it is right."""
    tab = open_tab(serve())
    tab.page.goto(tab.running.address)
    tab.page.get_by_text("instar open").wait_for()
    tab.page.keyboard.type("wrong")
    tab.page.keyboard.press("Enter")
    tab.page.get_by_text("not the one of this host").wait_for()
    tab.page.get_by_label("Token").fill(tab.running.token)
    tab.page.get_by_role("button", name="Open").click()
    tab.page.locator("#params").wait_for()
    assert "token" not in tab.page.url


@pytest.mark.browser
def test_the_address_is_the_state(serve: Serve, open_tab: OpenTab) -> None:
    """Every choice is a link; back and forward undo and redo it, and change tabs."""
    page = open_tab(serve()).open("tab=probe")
    page.get_by_role("button", name="24h").click()
    page.get_by_role("button", name="7d").click()
    assert page.url.endswith("/?tab=probe&range=7d")
    page.go_back()
    assert params_of(page) == '{"range":"24h"}'
    page.get_by_role("tab", name="Host").click()
    page.get_by_role("heading", name="Plugins").wait_for()
    assert page.url.endswith("/?tab=host")
    assert page.evaluate("window.left") == 1
    assert page.evaluate("window.probe.signal.aborted") is True
    page.go_back()
    page.locator("#params").wait_for()
    assert params_of(page) == '{"range":"24h"}'


@pytest.mark.browser
def test_the_keyboard_is_enough(serve: Serve, open_tab: OpenTab) -> None:
    """Skip link first, arrows between tabs, and focus that can be seen."""
    page = open_tab(serve()).open("tab=probe")
    page.locator("#params").wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "tab-probe"
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.evaluate(outline) == "solid"
    page.keyboard.press("ArrowRight")
    page.get_by_role("heading", name="Plugins").wait_for()
    page.keyboard.press("ArrowRight")
    page.locator("#params").wait_for()
    assert page.get_by_role("tab", name="Probe").get_attribute("aria-selected") == "true"


@pytest.mark.browser
def test_a_stream_that_breaks_comes_back(serve: Serve, open_tab: OpenTab, probe: Probe) -> None:
    """The page says so, listens again, and the tab learns that it may have missed something."""
    page = open_tab(serve()).open("tab=probe")
    page.locator("#live[data-state=live]").wait_for()
    probe.events.publish({"n": 1}, "count")
    page.get_by_text("count:1").wait_for()
    probe.interrupt_streams()
    page.locator("#heard", has_text="again").wait_for()
    page.locator("#live[data-state=live]").wait_for()
    probe.events.publish({"n": 2}, "count")
    page.locator("#heard", has_text="count:2").wait_for()


@pytest.mark.browser
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<img src=x onerror=alert(1)>", "<img src=x onerror=alert(1)>"),
        ("a\\u202Eb\\u2066c", "a{U+202E}b{U+2066}c"),
        ("a\\u0000\\u001B[31m\\u009F", "a{U+0000}{U+001B}[31m{U+009F}"),
        ("a\\u200Bb\\uFEFFc\\u00ADd", "a{U+200B}b{U+FEFF}c{U+00AD}d"),
        ("a\\u200Db", "a{U+200D}b"),
        ("\\uD83D", "{U+D83D}"),
        ("\\u{1F469}\\u200D\\u{1F4BB}", "\U0001f469\u200d\U0001f4bb"),
        ("\\u06CC\\u200C\\u062E", "\u06cc\u200c\u062e"),
        ("line\\n\\ttab", "line\n\ttab"),
    ],
)
def test_what_cannot_be_seen_is_made_visible(
    serve: Serve, open_tab: OpenTab, text: str, shown: str
) -> None:
    """W6: overrides, escapes and zero-width characters; emoji and scripts keep their joiners."""
    page = open_tab(serve()).open("tab=probe")
    page.locator("#params").wait_for()
    made = page.evaluate(f'window.probe.h("p", null, "{text}").textContent')
    assert made == shown.translate({ord("{"): "\u2039", ord("}"): "\u203a"})


@pytest.mark.browser
@pytest.mark.parametrize(
    "attributes",
    [
        {"onclick": "alert(1)"},
        {"style": "color:red"},
        {"href": "javascript:alert(1)"},
        {"href": "//evil.example"},
        {"href": "https://evil.example"},
        {"src": "data:text/html,x"},
    ],
)
def test_an_element_takes_no_code_and_no_foreign_address(
    serve: Serve, open_tab: OpenTab, attributes: dict[str, str]
) -> None:
    """W6: a panel that passes data where code would run gets an error, not a hole."""
    page = open_tab(serve()).open("tab=probe")
    page.locator("#params").wait_for()
    caught = "given => { try { window.probe.h('a', given) } catch (error) { return error.name } }"
    assert page.evaluate(caught, attributes) == "TypeError"


@pytest.mark.browser
def test_a_broken_tab_is_named_and_leaves_the_others(
    serve: Serve, open_tab: OpenTab, probe: Probe
) -> None:
    """H1: its error in words, a way to try again that works, and the tabs beside it go on."""
    page = open_tab(serve("import './absent.js';")).open("tab=probe")
    page.get_by_text("The plugin probe brings this tab").wait_for()
    page.get_by_role("tab", name="Host").click()
    page.get_by_role("heading", name="Plugins").wait_for()
    page.go_back()
    page.get_by_text("The plugin probe brings this tab").wait_for()
    assert probe.panel is not None
    probe.panel.write_text(PANEL, encoding="utf-8")
    page.get_by_role("button", name="Try again").click()
    page.locator("#params").wait_for()


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(serve: Serve, open_tab: OpenTab, scheme: str) -> None:
    """390 px wide, no sideways scroll, in both lights."""
    tab = open_tab(serve(), size=NARROW, color_scheme=scheme)
    page = tab.open("tab=host")
    page.get_by_role("heading", name="Plugins").wait_for()
    assert tab.overflow_px() == 0
    page.get_by_role("tab", name="Probe").click()
    page.locator("#params").wait_for()
    assert tab.overflow_px() == 0


@pytest.mark.browser
def test_a_token_that_cannot_be_sent_is_a_wrong_one(serve: Serve, open_tab: OpenTab) -> None:
    """A paste with a typographic quote in it: the page asks again, and does not blame the host."""
    tab = open_tab(serve())
    tab.page.goto(tab.running.address)
    tab.page.get_by_label("Token").fill("\u201cwrong\u201d")
    tab.page.keyboard.press("Enter")
    tab.page.get_by_text("not the one of this host").wait_for()
    tab.page.get_by_label("Token").fill(tab.running.token)
    tab.page.keyboard.press("Enter")
    tab.page.locator("#params").wait_for()


@pytest.mark.browser
def test_an_answer_that_breaks_off_is_no_answer(serve: Serve, open_tab: OpenTab) -> None:
    """A host that ends in the middle of an answer does not answer: worth another try."""
    page = open_tab(serve()).open("tab=probe")
    page.locator("#params").wait_for()
    script = """async () => {
      Response.prototype.text = () => Promise.reject(new TypeError('network error'));
      return window.probe.get('probe/echo').catch((error) => error.status);
    }"""
    assert page.evaluate(script) == 0


@pytest.mark.browser
def test_breaks_are_said_once(serve: Serve, open_tab: OpenTab) -> None:
    """A stream that cannot be had for a while is not read out again at each attempt."""
    tab = open_tab(serve())
    tries: list[Any] = []

    def broken(route: Any) -> None:
        tries.append(route)
        route.abort()

    tab.page.route("**/probe/events", broken)
    page = tab.open("tab=probe")
    page.locator("#live[data-state=waiting]").wait_for()
    page.evaluate("""() => {
      window.told = 0;
      const watch = new MutationObserver(() => (window.told += 1));
      watch.observe(document.getElementById('live'), { childList: true });
    }""")
    before = len(tries)
    while len(tries) < before + 2:
        page.wait_for_timeout(20)
    assert page.evaluate("window.told") == 0


@pytest.mark.browser
def test_the_host_tab_leaves_the_reader_where_he_is(serve: Serve, open_tab: OpenTab) -> None:
    """It is asked afresh every few seconds: tables stay scrolled and focused, trouble passes."""
    tab = open_tab(serve(), size=(200, 700))
    tab.page.clock.install()
    page = tab.open("tab=host")
    table = page.get_by_role("region", name="Plugins")
    table.focus()
    assert table.evaluate("one => (one.scrollLeft = 30, one.scrollLeft)") == 30
    with page.expect_response("**/plugins"):
        page.clock.run_for(6000)
    page.evaluate("fetch('static/mark.svg').then((answer) => answer.text())")  # a turn later
    state = "one => [one.scrollLeft, one === document.activeElement]"
    assert table.evaluate(state) == [30, True]
    page.route("**/plugins", lambda route: route.abort())
    page.clock.run_for(6000)
    page.get_by_text("The host does not answer").wait_for()
    page.unroute("**/plugins")
    page.clock.run_for(6000)
    table.wait_for()
