"""The bridge's settings: the reference's cases, and a file that nobody can be made to lose."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from instar_host.config import Config
from instar_host.errors import ConfigError
from instar_threadline.bridge.settings import (
    BridgeSettings,
    BridgeSettingsStore,
    Change,
    etag,
    should_auto_create,
    should_mirror,
)
from instar_threadline.errors import InvalidSettings, SettingsConflict
from tests.threadline.logs import StillClock

DEFAULTS = {
    "enabled": False,
    "autoCreateTopics": False,
    "mirrorExisting": True,
    "allowList": [],
    "denyList": [],
}


def store(folder: Path, content: str | None = None) -> BridgeSettingsStore:
    if content is not None:
        (folder / "config.json").write_text(content)
    return BridgeSettingsStore(Config.load(folder, {}), folder, StillClock())


def stored(folder: Path) -> Any:
    return json.loads((folder / "config.json").read_text())


def test_defaults(tmp_path: Path) -> None:
    """D3-1 to D3-3: off, off, on, and two empty lists."""
    assert store(tmp_path).get() == BridgeSettings()


def test_a_change_is_there_for_everybody(tmp_path: Path) -> None:
    """D3-5: a second reader of the same file reads it."""
    one, two = store(tmp_path), store(tmp_path)
    assert two.get().enabled is False
    one.update({"enabled": True})
    assert two.get() == BridgeSettings(enabled=True)


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ({"enabled": "yes"}, "enabled must be boolean"),
        ({"mirrorExisting": 1}, "mirrorExisting must be boolean"),
        ({"allowList": "not-array"}, r"allowList must be string\[\]"),
        ({"denyList": [1]}, r"denyList must be string\[\]"),
        ({"allowList": None}, r"allowList must be string\[\]"),
        ({"colour": "red"}, "colour is not a setting"),
    ],
)
def test_a_bad_value_is_refused_by_name(
    tmp_path: Path, patch: dict[str, Any], message: str
) -> None:
    """D3-6 to D3-8, and an unknown key."""
    with pytest.raises(InvalidSettings, match=message):
        store(tmp_path).update(patch)


def test_a_change_is_taken_whole_or_not_at_all(tmp_path: Path) -> None:
    """C-41: one bad key, and the good ones before it are not saved either."""
    settings = store(tmp_path, '{"authToken": "t"}')
    with pytest.raises(InvalidSettings):
        settings.update({"enabled": True, "allowList": "bad"})
    assert stored(tmp_path) == {"authToken": "t"}


def test_lists_are_trimmed_and_without_repetition(tmp_path: Path) -> None:
    """D3-4, D3-9: trimmed, without empties, the first of equal ones; and nobody can push into
    it."""
    settings = store(tmp_path).update({"allowList": ["  dawn  ", "dawn", "", "gail"]})
    assert settings.allow_list == ("dawn", "gail")


def test_only_what_really_changed_is_announced(tmp_path: Path) -> None:
    """D3-10: one event, for the key that changed, after it is on disk; and one audit line."""
    settings = store(tmp_path)
    heard: list[tuple[Change, ...]] = []
    settings.on_change(heard.append)
    settings.update({"enabled": True, "autoCreateTopics": False, "allowList": []})
    settings.update({"enabled": True})
    assert heard == [(Change(field="enabled", before=False, after=True),)]
    audit = tmp_path / "threadline" / "telegram-bridge-audit.jsonl"
    lines = [json.loads(line) for line in audit.read_text().splitlines()]
    assert [line["changes"] for line in lines] == [
        [{"field": "enabled", "before": False, "after": True}]
    ]
    assert audit.stat().st_mode & 0o777 == 0o600


def test_list_entries_come_and_go(tmp_path: Path) -> None:
    """D3-11 to D3-13: twice is once; what is not there can be removed."""
    settings = store(tmp_path)
    for key in ("allowList", "denyList"):
        settings.add(key, "fp-1")
        settings.add(key, " fp-1 ")
        settings.remove(key, "fp-2")
    assert settings.get() == BridgeSettings(allow_list=("fp-1",), deny_list=("fp-1",))
    settings.remove("allowList", "fp-1")
    assert settings.get().allow_list == ()


@pytest.mark.parametrize(
    ("settings", "agent", "creates"),
    [
        (BridgeSettings(auto_create_topics=True, allow_list=("a",)), "a", False),
        (BridgeSettings(enabled=True, allow_list=("a",)), "a", True),
        (BridgeSettings(enabled=True, allow_list=("a",)), "b", False),
        (BridgeSettings(enabled=True, auto_create_topics=True, deny_list=("b",)), "a", True),
        (BridgeSettings(enabled=True, auto_create_topics=True, deny_list=("b",)), "b", False),
        (BridgeSettings(enabled=True, allow_list=("a",), deny_list=("a",)), "a", True),
        (BridgeSettings(enabled=True), "a", False),
        (BridgeSettings(enabled=True, allow_list=("abcdef",)), "abc", False),
    ],
)
def test_who_gets_a_topic(settings: BridgeSettings, agent: str, creates: bool) -> None:
    """D3-14 to D3-18: allow wins over deny; C-53, C-54: whole fingerprints only."""
    assert should_auto_create(settings, agent) is creates


def test_what_is_mirrored() -> None:
    """D3-19 to D3-22: enabled and mirroring; the lists have no say."""
    assert not should_mirror(BridgeSettings())
    assert should_mirror(BridgeSettings(enabled=True, deny_list=("a",)))
    assert not should_mirror(BridgeSettings(enabled=True, mirror_existing=False))


def test_a_broken_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    """C-38: a file that does not parse keeps every byte, the token in it too."""
    broken = '{"authToken": "precious", '
    (tmp_path / "config.json").write_text("{}")
    settings = store(tmp_path)
    (tmp_path / "config.json").write_text(broken)
    with pytest.raises(ConfigError):
        settings.update({"enabled": True})
    assert (tmp_path / "config.json").read_text() == broken
    assert settings.current()[0] == BridgeSettings(mirror_existing=False)


def test_the_rest_of_the_file_is_kept_and_its_mode_tightened(tmp_path: Path) -> None:
    """C-39: 0600 stays or becomes; every other key, also beside ours, is as it was."""
    content = {"authToken": "t", "x": [1.0, None], "threadline": {"relayEnabled": True}}
    settings = store(tmp_path, json.dumps(content))
    (tmp_path / "config.json").chmod(0o644)
    settings.update({"enabled": True})
    after = stored(tmp_path)
    assert after["threadline"] == {"relayEnabled": True, "telegramBridge": {"enabled": True}}
    assert {k: after[k] for k in ("authToken", "x")} == {"authToken": "t", "x": [1.0, None]}
    assert (tmp_path / "config.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_write_that_fails_is_an_error_for_non_root(tmp_path: Path) -> None:
    """C-42: nothing is said to be saved that is not."""
    settings = store(tmp_path, "{}")
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(ConfigError):
            settings.update({"enabled": True})
    finally:
        tmp_path.chmod(0o700)


def test_a_write_that_fails_is_an_error(tmp_path: Path) -> None:
    """C-42: the folder is gone; the caller hears it, and memory says what the disk says."""
    folder = tmp_path / "state"
    folder.mkdir()
    settings = store(folder, "{}")
    (folder / "config.json").unlink()
    folder.rmdir()
    folder.write_text("a file now")
    with pytest.raises(ConfigError):
        settings.update({"enabled": True})
    assert not settings.current()[0].enabled


@pytest.mark.parametrize("value", [{"enabled": "false"}, {"allowList": "abc"}, {"allowList": None}])
def test_what_is_wrong_on_disk_is_an_error_and_never_on(
    tmp_path: Path, value: dict[str, Any]
) -> None:
    """C-43: the text "false" does not switch the bridge on, a text is not a list."""
    settings = store(tmp_path, json.dumps({"threadline": {"telegramBridge": value}}))
    with pytest.raises(ConfigError, match=next(iter(value))):
        settings.get()
    now, why = settings.current()
    assert not now.enabled
    assert why


def test_if_match_protects_against_a_lost_change(tmp_path: Path) -> None:
    """Whoever changes settings that somebody else changed since hears it, and changes nothing."""
    settings = store(tmp_path)
    seen = etag(settings.get())
    settings.update({"enabled": True}, if_match=seen)
    with pytest.raises(SettingsConflict):
        settings.update({"enabled": False}, if_match=seen)
    assert settings.get().enabled
    assert settings.update({"enabled": False}, if_match="*").enabled is False


def test_what_a_host_sets_is_no_change_of_somebody_else(tmp_path: Path) -> None:
    """Who read settings that lie over those of an embedding host may change them."""
    host_values = {"threadline": {"telegramBridge": {"enabled": True, "denyList": ["fp-0"]}}}
    config = Config.load(tmp_path, {}, host_values=host_values)
    settings = BridgeSettingsStore(config, tmp_path, StillClock())
    settings.update({"autoCreateTopics": True}, if_match=etag(settings.get()))
    settings.add("denyList", "fp-1")
    assert settings.get().deny_list == ("fp-0", "fp-1")
    assert (settings.get().enabled, settings.get().auto_create_topics) == (True, True)
