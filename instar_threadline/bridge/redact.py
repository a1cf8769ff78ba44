"""Takes credentials out of a text before it is stored for sending.

Promises that well-known key formats, this host's own secrets and whatever further redactors
name are replaced by `⟦redacted:kind⟧`, each counted, over the whole text before it is split.
Precise rather than eager: an entropy guess would blank out hashes, fingerprints and ids that
people need to see. A redactor that fails blocks the text: `RedactionError` is raised and
nothing is sent.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct

from instar_threadline.bridge.hygiene import clean_body, clean_name

MIN_KNOWN_SECRET = 8
"""Shorter "secrets" would blank out ordinary words."""


class Redacted(Struct, frozen=True, kw_only=True):
    """A text that may be stored and sent, and how many findings of each kind were taken out."""

    text: str
    counts: Mapping[str, int]


class RedactionError(Exception):
    """A redactor raised or answered nonsense; says which one, never what it was looking at."""

    def __init__(self, redactor: str) -> None:
        super().__init__(f"the redactor {redactor} failed, so the message is held back")
        self.redactor = redactor


_KEY_BEGIN = r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----"
_ASSIGNED = (
    r"password|passwd|passphrase|api[_-]?key|client[_-]?secret|auth[_-]?token|access[_-]?token"
)

_JWT = (  # begins where a word begins, once: from every `-eyJ` of a long word costs its square
    r"(?<![A-Za-z0-9_-])(?>(?:[A-Za-z0-9_-]*?-)??eyJ)[A-Za-z0-9_-]{10,}+"
    r"\.eyJ[A-Za-z0-9_-]{10,}+\.[A-Za-z0-9_-]{10,}"
)

PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        (
            "private-key",
            _KEY_BEGIN + r"(?:[\s\S]*?-----END (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----|[\s\S]*)",
        ),
        ("anthropic-key", r"\bsk-ant-[A-Za-z0-9]{2,12}-[A-Za-z0-9_-]{20,}"),
        ("openai-key", r"\bsk-(?:proj-|svcacct-|admin-|None-)?[A-Za-z0-9_-]{20,}"),
        ("openrouter-key", r"\bsk-or-v\d-[0-9a-f]{32,}"),
        ("aws-access-key", r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b"),
        (
            "aws-secret-key",
            r"(?i:aws_?(?:secret_?)(?:access_?)?key)[\"']?\s*[:=]\s*[\"']?[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+])",
        ),
        ("github-token", r"\bgh[pousr]_[A-Za-z0-9]{30,255}\b"),
        ("github-pat", r"\bgithub_pat_[A-Za-z0-9_]{40,255}\b"),
        ("gitlab-token", r"\bgl(?:pat|dt|rt|cbt|ptt|ft|oas)-[A-Za-z0-9_-]{20,}"),
        ("slack-token", r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}"),
        ("slack-webhook", r"https://hooks\.slack\.com/services/[A-Za-z0-9/_-]{20,}"),
        ("discord-webhook", r"https://discord(?:app)?\.com/api/webhooks/\d+/[A-Za-z0-9_-]{30,}"),
        ("google-key", r"\bAIza[0-9A-Za-z_-]{35}"),
        ("google-oauth", r"\b(?:ya29\.[0-9A-Za-z_-]{20,}|GOCSPX-[0-9A-Za-z_-]{28})"),
        ("stripe-key", r"\b(?:sk|rk|whsec)_(?:live|test)?_?[0-9A-Za-z]{20,}\b"),
        ("huggingface-token", r"\bhf_[A-Za-z]{30,}\b"),
        ("npm-token", r"\bnpm_[A-Za-z0-9]{36}\b"),
        ("pypi-token", r"\bpypi-AgE[A-Za-z0-9_-]{50,}"),
        ("sendgrid-key", r"\bSG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{30,}"),
        ("twilio-key", r"\bSK[0-9a-f]{32}\b"),
        ("digitalocean-token", r"\bdo[opr]_v1_[a-f0-9]{64}\b"),
        ("age-key", r"\bAGE-SECRET-KEY-1[0-9A-Z]{58}\b"),
        ("telegram-token", r"(?<![\d:])\d{6,12}:[A-Za-z0-9_-]{30,64}(?![A-Za-z0-9_-])"),
        ("jwt", _JWT),
        (
            "authorization",
            r"(?i)\bauthorization[\"']?\s*[:=]\s*[\"']?(?:bearer|basic|token)\s+[\w+/=.~-]{8,}",
        ),
        ("bearer-token", r"\b[Bb]earer\s+[A-Za-z0-9+/=._~-]{20,}"),
        ("url-password", r"(?<=://)[^\s/:@]{1,256}:[^\s/@]{1,256}(?=@)"),
        (
            "password",
            r"(?i)\b(?:" + _ASSIGNED + r")[\"']?\s*[:=]\s*[\"']?(?![\"'])[^\s\"',;⟦]{8,}",
        ),
    )
)


def redact(text: str, known_secrets: Iterable[str] = ()) -> Redacted:
    """Replace known secrets first, then every pattern; the text may be of any length. It is looked
    at, and comes back, as it will be shown: an invisible character within a secret hides nothing.
    """
    counts: Counter[str] = Counter()
    text = clean_body(text)
    for secret in sorted(map(clean_body, known_secrets), key=len, reverse=True):
        if len(secret) >= MIN_KNOWN_SECRET and secret in text:
            counts["known-secret"] += text.count(secret)
            text = text.replace(secret, marker("known-secret"))
    for kind, pattern in PATTERNS:
        text, found = pattern.subn(marker(kind), text)
        if found:
            counts[kind] += found
    return Redacted(text=text, counts=dict(counts))


def redact_with(
    text: str,
    redactors: Sequence[tuple[str, Callable[[str], str]]],
    known_secrets: Iterable[str] = (),
) -> Redacted:
    """Our own patterns, then each named redactor in turn, then our patterns again on what they
    made of it.

    Raises `RedactionError` when one raises or does not answer with a text.
    """
    secrets = tuple(known_secrets)
    first = redact(text, secrets)
    if not redactors:
        return first
    current = first.text
    counts = Counter(first.counts)
    for name, redactor in redactors:
        try:
            answer = redactor(current)
        except Exception:  # noqa: BLE001 - a plugin's code; whatever it raises, the message is held back
            raise RedactionError(name) from None
        if not isinstance(answer, str):
            raise RedactionError(name)
        counts[f"by {clean_name(name)}"] += answer != current
        current = answer
    last = redact(current, secrets)
    return Redacted(text=last.text, counts=dict(+counts + Counter(last.counts)))


def marker(kind: str) -> str:
    """What stands in the place of a secret of this kind."""
    return f"⟦redacted:{kind}⟧"
