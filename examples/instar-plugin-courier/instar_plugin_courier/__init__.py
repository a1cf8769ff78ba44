"""Mirrored messages to a webhook, and words that never leave this machine."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from typing import Annotated

import msgspec

from instar_host import HostContext, Settings, hookimpl
from instar_threadline import BridgeSink, Mirror, Redactor, SinkResult

TIMEOUT_S = 10.0


class CourierSettings(Settings, frozen=True, kw_only=True):
    words: Annotated[tuple[str, ...], msgspec.Meta(description="never mirrored")] = ()
    url: Annotated[str, msgspec.Meta(description="gets a POST a message; empty: none")] = ""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """A redirect would turn the POST into a GET, elsewhere: let it be a refusal."""


class CourierPlugin:
    @hookimpl
    def threadline_redactors(self, host: HostContext) -> list[Redactor]:
        words = [re.escape(word) for word in _settings(host).words if word.strip()]
        if not words:
            return []
        pattern = re.compile("|".join(words), re.IGNORECASE)
        return [Redactor(name="courier-words", redact=lambda text: pattern.sub("[word]", text))]

    @hookimpl
    def threadline_sinks(self, host: HostContext) -> list[BridgeSink]:
        url = _settings(host).url
        return [BridgeSink(name="courier", deliver=lambda mirror: post(url, mirror))] if url else []


def post(url: str, mirror: Mirror) -> SinkResult:
    """One attempt; what cannot be known is said to be unknown."""
    said = {"thread": mirror.thread.thread_id, "from": mirror.message.sender, "text": mirror.body}
    headers = {"Content-Type": "application/json", "Idempotency-Key": mirror.key}
    request = urllib.request.Request(url, msgspec.json.encode(said), headers)  # noqa: S310
    try:
        opener = urllib.request.build_opener(_NoRedirect)
        with opener.open(request, timeout=TIMEOUT_S) as answer:
            return SinkResult(status="delivered", reference=answer.headers.get("X-Reference", ""))
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in (429, 503):
            return SinkResult(status="rejected", retry_after_s=30.0, reason=f"HTTP {error.code}")
        return SinkResult(
            status="rejected" if error.code < 500 else "ambiguous", reason=f"HTTP {error.code}"
        )
    except urllib.error.URLError as error:
        if isinstance(error.reason, ConnectionRefusedError):  # nobody heard it: try again
            return SinkResult(status="rejected", retry_after_s=30.0, reason="nobody listens there")
        return SinkResult(status="ambiguous", reason=type(error.reason).__name__)


def _settings(host: HostContext) -> CourierSettings:
    return host.config.plugin_settings("courier", CourierSettings)
