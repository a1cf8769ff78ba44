"""Settings: where they come from, what is refused, and the token."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest

from instar_host import ConfigError
from instar_host.config import Config, locate_state_dir
from instar_host.settings import Settings, describe
from instar_host.testing import MakeHost


class Inner(Settings, frozen=True, kw_only=True):
    max_depth: int = 3


class Section(Settings, frozen=True, kw_only=True):
    max_file_age_ms: Annotated[
        int,
        msgspec.Meta(
            ge=0,
            description="how old a file may be",
            extra={"unit": "ms", "env": "TEST_MAX_AGE"},
        ),
    ] = 1000
    claude_dirs: Annotated[
        tuple[str, ...], msgspec.Meta(description="folders", extra={"env": "TEST_DIRS"})
    ] = ()
    mode: Literal["fast", "slow"] = "fast"
    inner: Inner = msgspec.field(default_factory=Inner)


def config(state_dir: Path, values: object = None, **environ: str) -> Config:
    if values is not None:
        (state_dir / "config.json").write_text(json.dumps(values), encoding="utf-8")
    return Config.load(state_dir, environ)


def test_without_a_file_every_setting_has_its_default(state_dir: Path) -> None:
    """Nothing is written either: a reader leaves no trace."""
    assert config(state_dir).section("tokenLedger", Section) == Section()
    assert os.listdir(state_dir) == []


def test_host_then_file_then_environment_then_command_line(state_dir: Path) -> None:
    """Each one wins over those before it, key by key."""
    (state_dir / "config.json").write_text('{"s": {"mode": "slow", "inner": {}}}', encoding="utf-8")
    host = {"s": {"maxFileAgeMs": 1, "mode": "fast", "inner": {"maxDepth": 9}, "claudeDirs": ["h"]}}
    read = Config.load(state_dir, {"TEST_MAX_AGE": "2", "TEST_DIRS": "a, b,"}, host_values=host)

    before = read.section("s", Section)
    after = read.with_overrides({"s": {"claudeDirs": ["c,d"]}}).section("s", Section)

    assert before.max_file_age_ms == 2
    assert before.mode == "slow"
    assert before.inner.max_depth == 9
    assert before.claude_dirs == ("a", "b")
    assert after.claude_dirs == ("c,d",)


def test_a_dotted_name_leads_into_objects(state_dir: Path) -> None:
    """`threadline.telegramBridge` is an object in an object; others' keys are free."""
    read = config(state_dir, {"outer": {"relayEnabled": True, "inner": {"maxDepth": 5}}})

    assert read.section("outer.inner", Inner).max_depth == 5


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"maxFileAgMs": 1}, "s.maxFileAgMs is not a setting (did you mean maxFileAgeMs?)"),
        ({"inner": {"depth": 1}}, "s.inner.depth is not a setting (did you mean maxDepth?)"),
        ({"maxFileAgeMs": "1"}, "maxFileAgeMs has to be an integer of at least 0, in ms (how old"),
        ({"maxFileAgeMs": -1}, "s.maxFileAgeMs: expected int >= 0"),
        ({"maxFileAgeMs": 1.5}, "s.maxFileAgeMs: expected int, got float"),
        ({"maxFileAgeMs": None}, "s.maxFileAgeMs: expected int, got null"),
        ({"mode": "fats"}, "mode has to be one of fast, slow"),
        ({"claudeDirs": [1]}, "s.claudeDirs[0]: expected str, got int"),
        ([], "s has to be an object"),
    ],
)  # fmt: skip
def test_a_bad_section_is_refused_in_words(state_dir: Path, section: Any, words: str) -> None:
    """File, key path, what is allowed, nearest name: all one needs to mend it."""
    read = config(state_dir, {"s": section})

    with pytest.raises(ConfigError) as caught:
        read.section("s", Section)

    assert str(caught.value).startswith(f"{state_dir}/config.json: ")
    assert words in str(caught.value)


def test_a_bad_value_names_where_it_came_from(state_dir: Path) -> None:
    """The environment and the command line are blamed by name, and the value is not repeated."""
    with pytest.raises(
        ConfigError, match=r"^the environment variable TEST_MAX_AGE: s\.maxFileAgeMs"
    ):
        config(state_dir, None, TEST_MAX_AGE="soon").section("s", Section)
    with pytest.raises(
        ConfigError, match=r"^the command line: s\.maxFileAgeMs has to be an integer"
    ):
        config(state_dir).with_overrides({"s": {"maxFileAgeMs": "x"}}).section("s", Section)


def test_other_sections_are_not_looked_at(state_dir: Path) -> None:
    """The file is shared: what belongs to others may be anything."""
    read = config(state_dir, {"sessions": {"max": "?"}, "s": {"mode": "slow"}})

    assert read.section("s", Section).mode == "slow"


def test_the_plugins_section_is_strict(make_host: MakeHost) -> None:
    """A misspelt enable list must not silently enable nothing."""
    with pytest.raises(
        ConfigError, match=r"plugins\.enable is not a setting .did you mean enabled"
    ):
        make_host(config={"plugins": {"enable": ["x"]}})


def test_a_third_party_plugin_has_settings_of_its_own(state_dir: Path) -> None:
    """Its name may hold dots; its struct checks its object."""
    read = config(state_dir, {"plugins": {"settings": {"a.b": {"maxDepth": 7}}}})

    assert read.plugins.settings == {"a.b": {"maxDepth": 7}}
    assert read.plugin_settings("a.b", Inner).max_depth == 7
    with pytest.raises(ConfigError, match="has to be an object"):
        config(state_dir, {"plugins": {"settings": {"a.b": 1}}}).plugin_settings("a.b", Inner)


class Needy(Settings, frozen=True, kw_only=True):
    folder: Annotated[str, msgspec.Meta(description="where it lies")]


def test_a_setting_that_has_to_be_given_is_asked_for_where_people_write(state_dir: Path) -> None:
    """The command line was blamed for what nobody had written into the file."""
    said = r"config\.json: plugins\.settings\.a\.folder is missing; folder has to be text \(where"
    with pytest.raises(ConfigError, match=said):
        config(state_dir).plugin_settings("a", Needy)


def test_port_and_project_name(state_dir: Path) -> None:
    """The original's own keys."""
    assert (config(state_dir).port, config(state_dir).project_name) == (4042, "")
    assert config(state_dir, {"port": 0, "projectName": "echo"}).port == 0
    assert config(state_dir, {"port": 0, "projectName": "echo"}).project_name == "echo"


@pytest.mark.parametrize("port", [65536, 70000, -1, "4042", 4042.5, True])
def test_a_port_that_is_none_is_refused_by_every_command(state_dir: Path, port: object) -> None:
    """Where the file is read, not first where somebody serves."""
    allowed = r"config\.json: port: .*; port has to be an integer of at least 0 and at most 65535"
    with pytest.raises(ConfigError, match=allowed):
        config(state_dir, {"port": port})


def test_a_struct_describes_itself() -> None:
    """The page about settings is made from this."""
    docs = {doc.key: doc for doc in describe(Section)}

    assert docs["maxFileAgeMs"].allowed == "an integer of at least 0"
    assert docs["maxFileAgeMs"].default == "1000"
    assert (docs["maxFileAgeMs"].unit, docs["maxFileAgeMs"].env) == ("ms", "TEST_MAX_AGE")
    assert docs["claudeDirs"].allowed == "a list, each text"
    assert docs["inner"].default == '{"maxDepth":3}'


def test_a_change_of_the_file_is_seen(state_dir: Path) -> None:
    """`reloaded` is the very same object while the file is."""
    read = config(state_dir, {"s": {"mode": "fast"}})
    assert read.reloaded() is read

    config(state_dir, {"s": {"mode": "slow"}})

    assert read.reloaded().section("s", Section).mode == "slow"


# The token


def test_the_token_of_the_environment_comes_first(state_dir: Path) -> None:
    """And nothing is written."""
    read = config(state_dir, {"authToken": "file"}, INSTAR_AUTH_TOKEN=" env ")

    assert read.token() == "env"
    assert config(state_dir, INSTAR_AUTH_TOKEN="").token() == "file"


def test_a_token_is_made_once(state_dir: Path) -> None:
    """At first start, private, and the same ever after: for this object and for others."""
    first = config(state_dir)

    token = first.token()

    assert len(token) >= 43
    assert first.token() == token == config(state_dir).token()
    assert stat.S_IMODE(os.stat(state_dir / "config.json").st_mode) == 0o600


def test_making_a_token_keeps_the_rest_as_it_is(state_dir: Path) -> None:
    """Byte for byte: order, spelling and layout of others' keys are theirs."""
    path = state_dir / "config.json"
    path.write_text('{ "b":1.50,\n\t"a": [1e400 , "\\ud83d"] }\n', encoding="utf-8")

    token = config(state_dir).token()

    assert path.read_text(encoding="utf-8") == (
        f'{{ "b":1.50,\n\t"a": [1e400 , "\\ud83d"],\n  "authToken": "{token}" }}\n'
    )


@pytest.mark.parametrize("value", [{"secret": True}, ["x"], 5, True])
def test_a_token_that_is_no_text_is_refused_loudly(state_dir: Path, value: object) -> None:
    """B-25: a token moved to a vault left an object behind, and every script got 403 without a
    word.
    """
    read = config(state_dir, {"authToken": value})

    with pytest.raises(ConfigError, match=r"authToken has to be text.*set INSTAR_AUTH_TOKEN"):
        read.token()
    assert json.loads(read.path.read_text(encoding="utf-8")) == {"authToken": value}


@pytest.mark.parametrize("blank", ["", " ", "\t\n", None])
def test_a_blank_token_is_no_token_and_one_is_made(state_dir: Path, blank: str | None) -> None:
    """It never means that nobody is asked: the file holds a real one afterwards."""
    read = config(state_dir, {"authToken": blank}, INSTAR_AUTH_TOKEN=" ")

    token = read.token()

    assert len(token) >= 43
    assert json.loads(read.path.read_text(encoding="utf-8")) == {"authToken": token}


@pytest.mark.parametrize("token", ["a\nb", "a\x01b", "schlüssel", "a€", "\ud800"])
@pytest.mark.parametrize("place", ["file", "environment"])
def test_a_token_that_no_header_can_carry_is_refused(
    state_dir: Path, token: str, place: str
) -> None:
    """It let nobody in, and every command that asks the running host ended in a defect."""
    in_file = {"authToken": token} if place == "file" else {}
    (state_dir / "config.json").write_text(json.dumps(in_file), encoding="utf-8")
    environ = {"INSTAR_AUTH_TOKEN": token} if place == "environment" else {}

    with pytest.raises(
        ConfigError, match=r"(authToken|INSTAR_AUTH_TOKEN) may hold printable ASCII"
    ):
        Config.load(state_dir, environ).token()


def test_space_around_a_token_is_none_of_it(state_dir: Path) -> None:
    """A line break at its end, as `cat key` leaves it, would let nobody in."""
    (state_dir / "config.json").write_text(json.dumps({"authToken": " a token\n"}))

    assert Config.load(state_dir, {}).token() == "a token"


def test_half_a_character_in_the_name_of_the_project_is_a_question_mark(state_dir: Path) -> None:
    """The guard compares it with a header, and never fails to."""
    (state_dir / "config.json").write_text(json.dumps({"projectName": "a\ud800"}))

    assert Config.load(state_dir, {}).project_name == "a?"


def test_a_configuration_shows_no_secret(state_dir: Path) -> None:
    """It is part of what every plugin is handed, and plugins print."""
    read = config(state_dir, {"authToken": "hush"}, INSTAR_AUTH_TOKEN="hush")

    assert "hush" not in f"{read!r} {read}"


# The state directory


def test_the_state_directory_is_found_in_order(tmp_path: Path) -> None:
    """Flag, environment, here, home; relative paths from here, `~` from home."""
    here, home = tmp_path / "here", tmp_path / "home"
    (here / ".instar").mkdir(parents=True, mode=0o755)
    env = {"INSTAR_STATE_DIR": "~/env"}

    found = [
        locate_state_dir("a/../flag", env, here, home),
        locate_state_dir(None, env, here, home),
        locate_state_dir(None, {}, here, home),
        locate_state_dir(None, {"INSTAR_STATE_DIR": ""}, home, home),
    ]

    assert [(str(f.path.relative_to(tmp_path)), f.origin) for f in found] == [
        ("here/flag", "given"),
        ("home/env", "environment"),
        ("here/.instar", "working directory"),
        ("home/.instar", "home"),
    ]


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o702])
def test_a_directory_here_that_others_may_write_is_passed_over(tmp_path: Path, mode: int) -> None:
    """Whoever can write there could choose our settings."""
    (tmp_path / ".instar").mkdir()
    (tmp_path / ".instar").chmod(mode)

    assert locate_state_dir(None, {}, tmp_path, Path("/h")).path == Path("/h/.instar")


def test_a_directory_here_that_is_a_link_a_file_or_another_s_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a real directory of our own counts."""
    (tmp_path / "target").mkdir()
    (tmp_path / ".instar").symlink_to(tmp_path / "target")
    assert locate_state_dir(None, {}, tmp_path, Path("/h")).origin == "home"

    (tmp_path / ".instar").unlink()
    (tmp_path / ".instar").touch()
    assert locate_state_dir(None, {}, tmp_path, Path("/h")).origin == "home"

    (tmp_path / ".instar").unlink()
    (tmp_path / ".instar").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert locate_state_dir(None, {}, tmp_path, Path("/h")).origin == "home"


def test_an_empty_flag_names_no_directory(tmp_path: Path) -> None:
    """`--state-dir ""` is a mistake of a script, not the working directory."""
    with pytest.raises(ConfigError, match="--state-dir names no directory"):
        locate_state_dir("", {}, tmp_path, tmp_path)
