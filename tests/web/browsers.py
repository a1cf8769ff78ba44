"""A real Chromium that opens pages of a host and keeps account of everything that must not happen.

Any panel's tests may use it. Missing, it skips; with `CI=true` it fails, so that nothing goes
untested in silence.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from instar_host.testing_web import RunningHost

WIDE = (1280, 900)
NARROW = (390, 844)
WAIT_MS = 20_000
"""A hang guard for everything a page is waited for."""

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WATCH = """
window.__violations = [];
window.__ran = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.__violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`);
});
for (const name of ["alert", "confirm", "prompt"]) window[name] = () => window.__ran.push(name);
"""


@contextmanager
def chromium() -> Iterator[Any]:
    """Playwright's `Browser` over Debian's Chromium."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return _missing("playwright is not installed: pip install 'instar-plugins[browser]'")
    path = shutil.which("chromium")
    if path is None:
        return _missing("chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


class Tab:
    """One page in a fresh profile. `page` is Playwright's; `check` says what must not happen."""

    def __init__(self, browser: Any, running: RunningHost, **context: Any) -> None:
        width, height = context.pop("size", WIDE)
        self.running = running
        self.context = browser.new_context(
            viewport={"width": width, "height": height},
            timezone_id=context.pop("timezone", "UTC"),
            locale="en-GB",
            **context,
        )
        self.context.set_default_timeout(WAIT_MS)
        self.errors: list[str] = []
        self.strangers: list[str] = []
        self.page = self.context.new_page()
        self.page.add_init_script(WATCH)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._console)
        self.page.on("request", self._request)

    def open(self, query: str = "") -> Any:
        """Go to `/?query` with the token, as the printed link does; returns the page."""
        self.page.goto(f"{self.running.address}/?{query}#token={self.running.token}")
        return self.page

    def check(self) -> None:
        """No script error, no violation of the policy, nothing foreign run or asked for."""
        assert self.errors == []
        assert self.page.evaluate("window.__violations") == []
        assert self.page.evaluate("window.__ran") == []
        assert self.strangers == []

    def overflow_px(self) -> int:
        """How far the page can be scrolled sideways."""
        return int(
            self.page.evaluate(
                "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
        )

    def close(self) -> None:
        self.context.close()

    def _console(self, message: Any) -> None:
        # Chromium reports every answer of 4xx and 5xx; what the page makes of it is what counts.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.errors.append(message.text)

    def _request(self, request: Any) -> None:
        if not request.url.startswith(self.running.address + "/"):
            self.strangers.append(request.url)


def _missing(what: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)
