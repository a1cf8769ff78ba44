"""Transcripts are written by strangers: whatever stands in them is text, and only text (W6)."""

from __future__ import annotations

import unicodedata
from typing import Any
from urllib.parse import quote

import pytest

from tests.tokenledger.homes import with_changes, with_message, with_usage
from tests.web.browsers import NARROW
from tests.web.conftest import OpenTab
from tests.web.ledgers import FOLDER, ServedLedger

pytestmark = pytest.mark.browser

RUN = "window.__ran.push(1)"
CORPUS = (
    f"<script>{RUN}</script>",
    f"</script><script>{RUN}</script>",
    f'<img src=x onerror="{RUN}">',
    f"'\"><svg onload={RUN}>",
    f"<iframe srcdoc='<script>parent.{RUN}</script>'></iframe>",
    f"javascript:{RUN}",
    f"<a href='javascript:{RUN}'>press</a>",
    f"{{{{constructor.constructor('{RUN}')()}}}}${{{RUN}}}",
    "<style>*{display:none}</style><base href=//example.invalid/>",
    "&lt;b&gt;&#x3c;script&#x3e;&nbsp;&amp;",
    "<!-- --!><math><mtext></table><mglyph><style><img title='--></style>'>",
    "\u202egnp.exe\u202c \u2066left\u2069",
    "zero\u200bwidth\u2060 \ufeffmark \u00adsoft",
    "\x1b[31mred\x1b[0m \x07bell \x9b31m",
    "a\u0300\u0301 \U0001f469\u200d\U0001f4bb e\u0301",
    "'; rm -rf ~; echo '$(id)`id`",
)


def seen(text: str) -> str:
    """The text as the page has to show it: what cannot be seen is spelled out."""
    shown = []
    for at, char in enumerate(text):
        joins = char == "\u200d" and at > 0 and ord(text[at - 1]) > 0x7F
        if unicodedata.category(char) in ("Cc", "Cf") and not joins:
            shown.append(f"\u2039U+{ord(char):04X}\u203a")
        else:
            shown.append(char)
    return "".join(shown)


def hostile(ledger: ServedLedger, number: int, text: str) -> bytes:
    """One request with the text in every field that holds text."""
    line = ledger.line(number, session=f"{text} {number}", cwd=f"/home/{text}", model=text)
    line = with_usage(line, service_tier=text, speed=text)
    return with_changes(
        line,
        agentId=text,
        gitBranch=text,
        version=text,
        requestId=f"{text} r{number}",
        uuid=f"{text} u{number}",
    )


@pytest.fixture
def served(ledger: ServedLedger) -> ServedLedger:
    """One session for each text of the corpus, in a file of a hostile name."""
    for number, text in enumerate(CORPUS):
        ledger.write(f"session-{number}.jsonl", hostile(ledger, number, text))
    evil = ledger.claude / FOLDER / f"<img src=x onerror={RUN}>.jsonl"
    bare = with_changes(with_message(hostile(ledger, 50, CORPUS[0]), id=None), requestId=None)
    evil.write_bytes(bare + b"\n")
    ledger.serve()
    return ledger


@pytest.mark.parametrize("size", [(1280, 900), NARROW])
def test_hostile_text_is_shown_as_it_is(
    served: ServedLedger, open_tab: OpenTab, size: tuple[int, int]
) -> None:
    """Overview: no script runs, no policy is violated, and the text on the page is the input."""
    tab = open_tab(served.running, size=size)
    page = tab.open("tab=tokens&range=7d")
    page.locator('[data-key="more sessions"]').click()
    page.locator('[data-list="sessions"] tbody tr').nth(len(CORPUS)).wait_for()
    paths = set(page.locator('[data-list="sessions"] .path').all_text_contents())
    models = set(page.locator('[data-list="models"] .name').all_text_contents())
    for text in CORPUS:
        assert seen(f"/home/{text}") in paths
    assert {seen(text) for text in CORPUS[:10]} & models
    assert tab.overflow_px() == 0
    assert page.locator("main :is(script, iframe, base, style, svg:not(.spark), math)").count() == 0


def test_every_field_of_a_request_is_text(served: ServedLedger, open_tab: OpenTab) -> None:
    """A hostile session opens by its link; all its fields stand in its record, letter by letter."""
    page = open_tab(served.running).open("tab=tokens&range=7d")
    page.locator('[data-key="more sessions"]').click()
    links = page.locator('[data-list="sessions"] .row-link')
    links.nth(len(CORPUS)).wait_for()
    named = links.evaluate_all("all => all.map(one => one.dataset.session)")
    for number, text in enumerate(CORPUS):
        links.nth(named.index(seen(f"{text} {number}"))).click()
        page.locator(".requests .link").first.click()
        codes = page.locator(".session code").all_text_contents()
        for wanted in (f"{text} {number}", f"{text} r{number}", f"/home/{text}"):
            assert seen(wanted) in codes
        assert codes.count(seen(text)) == 3  # agent, branch, version
        assert seen(f"{text}, {text}") in page.locator(".record dd").all_text_contents()
        command(page, text, number)
        page.locator('[data-key="back"]').click()
        page.wait_for_selector("[data-total]")


def test_a_hostile_session_is_linked_to(served: ServedLedger, open_tab: OpenTab) -> None:
    """The address of a hostile session leads to it; so does the name of a hostile file, and a
    request known by its row alone.
    """
    tab = open_tab(served.running, size=NARROW)
    page = tab.open("tab=tokens&session=" + quote(f"{CORPUS[0]} 50"))
    page.locator(".requests .link").first.click()
    codes = page.locator(".session code").all_text_contents()
    assert f"{CORPUS[0]} u50" in codes
    assert any(code.endswith(f"/<img src=x onerror={RUN}>.jsonl") for code in codes)
    assert tab.overflow_px() == 0


def command(page: Any, text: str, number: int) -> None:
    """The command to copy is one quoted word, or is not offered at all."""
    offered = page.locator(".command-text").all_text_contents()
    if seen(text) != text:
        assert offered == []
        return
    quoted = f"{text} r{number}".replace("'", "'\\''")
    assert offered == [f"instar tokens trace '{quoted}'"]
