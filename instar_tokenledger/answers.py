"""The answers that routes and commands share: one shape, whether asked over HTTP or in a
terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from instar_tokenledger.bucket_queries import points
from instar_tokenledger.queries import Json
from instar_tokenledger.series import Bucket, bucketed
from instar_tokenledger.service import Health, Reading
from instar_tokenledger.windows import END_OF_TIME, Window
from instar_tokenledger.zones import Zone

EVERYTHING = Window(0, END_OF_TIME)
SESSIONS = 20
"""How many sessions are listed unless more are asked for, as in the original."""
IDLE_MS = 30 * 60 * 1000


def summary(reading: Reading, window: Window) -> Json:
    """`{sinceMs, summary}`."""
    whole = reading.totals.answerable(window)
    return {**_span(reading, window), "summary": reading.totals.summary(whole)}


def sessions(reading: Reading, window: Window, limit: int, offset: int) -> Json:
    """`{sinceMs, limit, offset, total, sessions}`, most tokens first."""
    found = reading.sessions.page(reading.totals.answerable(window), limit, offset)
    return {
        **_span(reading, window),
        "limit": limit,
        "offset": offset,
        "total": found.total,
        "sessions": found.sessions,
    }


def projects(reading: Reading, window: Window, limit: int, offset: int) -> Json:
    """`{sinceMs, limit, offset, projects}`, most tokens first."""
    whole = reading.totals.answerable(window)
    found = reading.totals.by_project(whole, limit, offset)
    return {**_span(reading, window), "limit": limit, "offset": offset, "projects": found}


def models(reading: Reading, window: Window, limit: int, offset: int) -> Json:
    """`{sinceMs, limit, offset, models}`, most tokens first."""
    whole = reading.totals.answerable(window)
    found = reading.totals.by_model(whole, limit, offset)
    return {**_span(reading, window), "limit": limit, "offset": offset, "models": found}


def orphans(
    reading: Reading, idle_ms: int, now_ms: int, since_ms: int, limit: int, offset: int
) -> Json:
    """`{sinceMs, idleMs, limit, offset, orphans}`: sessions that have gone quiet, the latest
    first.
    """
    whole = reading.totals.answerable(Window(since_ms, END_OF_TIME))
    found = reading.sessions.idle(idle_ms, now_ms, limit, offset, whole.since)
    span = _span(reading, Window(since_ms, END_OF_TIME))
    return {**span, "idleMs": idle_ms, "limit": limit, "offset": offset, "orphans": found}


def series(reading: Reading, window: Window, bucket: Bucket, zone: Zone) -> Json:
    """`{sinceMs, bucket, tz, series}`: what each hour or day of a time zone used."""
    whole = reading.totals.answerable(window)
    found = bucketed(points(reading.connection, whole, bucket, zone.info))
    return {**_span(reading, window), "bucket": bucket, "tz": zone.name, "series": found}


def session(reading: Reading, name: str, limit: int, offset: int) -> Json | None:
    """One session with its requests, each down to the line it came from; None when unknown."""
    found = reading.sessions.one(name)
    if found is None:
        return None
    requests = reading.sessions.requests(name, limit, offset)
    return {"session": found, "limit": limit, "offset": offset, "requests": requests}


def status(reading: Reading, health: Health, ledger_bytes: int, more: Mapping[str, Any]) -> Json:
    """How far reading has come, and what could not be read."""
    stored = reading.totals.contents()
    horizon = reading.totals.horizon()
    progress = health.progress
    waiting_bytes = progress.bytes_waiting if progress else 0
    rate = health.bytes_per_s
    return {
        "state": _state(health),
        "trouble": health.trouble,
        "notes": list(health.notes),
        "files": {
            "read": stored["files"],
            "seen": progress.files_seen if progress else None,
            "waiting": progress.files_waiting if progress else None,
            "tooOld": progress.files_too_old if progress else None,
        },
        "bytes": {
            "read": stored["bytes"],
            "waiting": waiting_bytes if progress else None,
            "tooOld": progress.bytes_too_old if progress else None,
            "perSecond": None if rate is None else round(rate),
        },
        "secondsLeft": round(waiting_bytes / rate) if waiting_bytes and rate else None,
        "requests": stored["requests"],
        "sessions": stored["sessions"],
        "skips": stored["skips"],
        "errors": dict(progress.errors) if progress else {},
        "partial": reading.totals.partial(EVERYTHING),
        "agentsOwnTotals": reading.totals.own_totals(),
        "ledgerBytes": ledger_bytes,
        "lookedAt": health.looked_at_ms,
        "maxFileAgeMs": health.max_age_ms,
        "watch": health.watch,
        "detail": {
            "days": health.detail_days,
            "fromMs": horizon.detail_from_ms or None,
            "sealedBeforeMs": horizon.sealed_before_ms or None,
        },
        **more,
    }


def _state(health: Health) -> str:
    if health.trouble:
        return "degraded"
    if health.progress is None:
        return "idle"
    return "up-to-date" if health.progress.caught_up else "catching-up"


def _span(reading: Reading, window: Window) -> Json:
    """What was asked for, and from when on the answer is exact to the millisecond, where it is not
    so from the beginning: before that it is at quarters of an hour."""
    until = None if window.until >= EVERYTHING.until else window.until
    span: Json = {"sinceMs": window.since, "untilMs": until}
    exact_from_ms = reading.totals.horizon().detail_from_ms
    if window.since < exact_from_ms:
        span["exactFromMs"] = exact_from_ms
    return span
