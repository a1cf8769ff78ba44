"""The settings of the record and the bridge under the names they have in `config.json`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from instar_host.errors import ConfigError
from instar_host.testing import MakeHost
from instar_threadline.bridge.options import SECTION as BRIDGE
from instar_threadline.bridge.options import BridgeOptions
from instar_threadline.config import SECTION as RECORD
from instar_threadline.config import RecordSettings


def bridge(make_host: MakeHost, **values: Any) -> BridgeOptions:
    host = make_host(config={"threadline": {"bridge": values}})
    return host.config.section(BRIDGE, BridgeOptions)


def record(make_host: MakeHost, **values: Any) -> RecordSettings:
    host = make_host(config={"threadline": {"record": values}})
    return host.config.section(RECORD, RecordSettings)


def test_the_topic_budget_is_made_of_three_settings(make_host: MakeHost) -> None:
    """topicsPerAgent, topicsTotal and topicWindowMs are what the single creation point asks."""
    budget = bridge(make_host, topicsPerAgent=2, topicsTotal=5, topicWindowMs=60_000).budget()

    assert (budget.per_agent, budget.total, budget.window_ms) == (2, 5, 60_000)


def test_the_queue_is_bounded_in_rows_and_bytes(make_host: MakeHost) -> None:
    """maxQueuedMessages and maxQueuedBytes are the bounds beyond which a marker is sent."""
    limits = bridge(make_host, maxQueuedMessages=10, maxQueuedBytes=100_000).limits()

    assert (limits.rows, limits.bytes) == (10, 100_000)


def test_quiet_hours_are_read_in_the_zone_that_is_named(make_host: MakeHost) -> None:
    """timeZone decides what 22:00 means."""
    options = bridge(make_host, quietHours="22:00-07:00", timeZone="Asia/Kathmandu")

    quiet = options.quiet()
    assert quiet is not None
    assert (quiet.start_minute, quiet.end_minute) == (22 * 60, 7 * 60)
    noon = datetime(2026, 6, 1, 12, tzinfo=UTC).astimezone(options.zone())
    assert noon.utcoffset() == timedelta(hours=5, minutes=45)


@pytest.mark.parametrize("choice", ["recreate", "hub", "mute"])
def test_a_deleted_topic_has_three_meanings(make_host: MakeHost, choice: str) -> None:
    """onTopicDeleted takes exactly the ways that are documented."""
    assert bridge(make_host, onTopicDeleted=choice).on_topic_deleted == choice


def test_content_is_protected_only_on_request(make_host: MakeHost) -> None:
    """protectContent is off unless somebody asks: a person may want to forward a message."""
    assert bridge(make_host).protect_content is False
    assert bridge(make_host, protectContent=True).protect_content is True


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"topicsPerAgent": -1}, "topicsPerAgent"),
        ({"topicsTotal": 1001}, "topicsTotal"),
        ({"topicWindowMs": 1}, "topicWindowMs"),
        ({"maxQueuedMessages": 1}, "maxQueuedMessages"),
        ({"maxQueuedBytes": 1}, "maxQueuedBytes"),
        ({"onTopicDeleted": "ignore"}, "onTopicDeleted"),
        ({"protectContent": "yes"}, "protectContent"),
        ({"protectContnt": True}, "protectContent"),
    ],
)
def test_a_bad_bridge_setting_is_named(
    make_host: MakeHost, values: dict[str, Any], key: str
) -> None:
    """What cannot be is an error that names the key, or the nearest one there is."""
    with pytest.raises(ConfigError, match=key):
        bridge(make_host, **values)


def test_the_record_is_rotated_and_looked_at_as_said(make_host: MakeHost) -> None:
    """maxFileBytes, indexIntervalMs and sourceIntervalMs reach the record under these names."""
    settings = record(make_host, maxFileBytes=2 << 20, indexIntervalMs=250, sourceIntervalMs=60_000)

    assert settings.max_file_bytes == 2 << 20
    assert settings.index_interval_ms == 250
    assert settings.source_interval_ms == 60_000


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"maxFileBytes": 1}, "maxFileBytes"),
        ({"indexIntervalMs": 0}, "indexIntervalMs"),
        ({"sourceIntervalMs": 1}, "sourceIntervalMs"),
    ],
)
def test_a_bad_record_setting_is_named(
    make_host: MakeHost, values: dict[str, Any], key: str
) -> None:
    """A bound that would stop the record is refused before anything is opened."""
    with pytest.raises(ConfigError, match=key):
        record(make_host, **values)


@pytest.mark.parametrize("hours", ["25:00-07:00", "22-07", "always"])
def test_quiet_hours_that_make_no_sense_are_refused(make_host: MakeHost, hours: str) -> None:
    """The form is said in the error."""
    with pytest.raises(ConfigError, match="22:00-07:00"):
        bridge(make_host, quietHours=hours).quiet()


def test_a_zone_that_does_not_exist_is_refused(make_host: MakeHost) -> None:
    """A misspelt timeZone is an error, never UTC by silence."""
    with pytest.raises(ConfigError, match="timeZone"):
        bridge(make_host, timeZone="Europe/Berln").zone()
