"""`instar`: finding commands, passing flags, exit codes."""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from instar_host import (
    Command,
    HostContext,
    InstarError,
    LeaseHeld,
    Option,
    Response,
    Route,
    Settings,
    Terminal,
    hookimpl,
)
from instar_host.cli import run
from instar_host.store.errors import MissingStore
from instar_host.testing import MakeHost


class Said(NamedTuple):
    code: int
    out: str
    err: str


class Folders(Settings, frozen=True, kw_only=True):
    dirs: tuple[str, ...] = ()
    depth: int = 1


class Greets:
    """A plugin with one command, one nested command, two flags, and a way to go wrong."""

    def __init__(self, fault: BaseException | None = None) -> None:
        self.fault = fault

    @hookimpl
    def instar_options(self, host: HostContext) -> list[Option]:
        common: dict[str, Any] = {"section": "greets", "summary": "", "commands": ("greet",)}
        return [
            Option(flag="--dir", key="dirs", repeatable=True, **common),
            Option(flag="--depth", key="depth", metavar="N", **common),
        ]

    @hookimpl
    def instar_commands(self, host: HostContext) -> list[Command]:
        return [Command(name="greet", summary="say hello", configure=self.configure, run=self.run)]

    def configure(self, parser: argparse.ArgumentParser) -> None:
        children = parser.add_subparsers(dest="command")
        children.add_parser("loudly").add_argument("--twice", action="store_true")

    def run(self, arguments: argparse.Namespace, host: HostContext, terminal: Terminal) -> int:
        if self.fault is not None:
            raise self.fault
        folders = host.config.section("greets", Folders)
        print(arguments.command, ",".join(folders.dirs), folders.depth, file=terminal.out)
        return 0


class Breaks:
    """A command that cannot be set up, or one with a summary."""

    def __init__(self, fault: BaseException | None = None, summary: str = "") -> None:
        self.fault = fault
        self.summary = summary

    @hookimpl
    def instar_commands(self, host: HostContext) -> list[Command]:
        run, summary = (lambda _a, _h, _t: 0), self.summary
        return [Command(name="broken", summary=summary, configure=self.configure, run=run)]

    def configure(self, parser: argparse.ArgumentParser) -> None:
        if self.fault is not None:
            raise self.fault


Call = Callable[..., Said]


@pytest.fixture
def call(make_host: MakeHost, state_dir: Path) -> Call:
    """Run a command line against in-process plugins."""

    def run_it(
        *argv: str,
        plugins: Mapping[str, object] | None = None,
        environ: dict[str, str] | None = None,
    ) -> Said:
        terminal = Terminal(out=io.StringIO(), err=io.StringIO())
        code = run(
            argv,
            environ or {},
            lambda: state_dir,
            lambda: state_dir,
            terminal,
            lambda _where: make_host(plugins or {"greets": Greets()}),
        )
        assert isinstance(terminal.out, io.StringIO)
        assert isinstance(terminal.err, io.StringIO)
        return Said(code, terminal.out.getvalue(), terminal.err.getvalue())

    return run_it


@pytest.mark.parametrize(
    "argv",
    [
        ("--state-dir", "x", "greet", "loudly"),
        ("greet", "--state-dir", "x", "loudly"),
        ("greet", "loudly", "--state-dir=x"),
    ],
)
def test_the_state_directory_may_stand_anywhere(call: Call, argv: tuple[str, ...]) -> None:
    """Before, between and after the words of a command."""
    assert call(*argv) == Said(0, "loudly  1\n", "")


def test_the_state_directory_is_the_one_that_is_opened(make_host: MakeHost, tmp_path: Path) -> None:
    """The first pass finds it before there are any plugins."""
    seen = []

    def open_host(where: Any) -> HostContext:
        seen.append(where)
        return make_host({"greets": Greets()})

    terminal = Terminal(out=io.StringIO(), err=io.StringIO())
    argv = ["greet", "loudly", "--state-dir", "x"]
    run(argv, {"INSTAR_STATE_DIR": "/y"}, lambda: tmp_path, lambda: tmp_path, terminal, open_host)

    assert [(w.path, w.origin) for w in seen] == [(tmp_path / "x", "given")]


def test_flags_override_settings_wherever_they_stand(call: Call) -> None:
    """A repeatable flag collects, another one takes the last."""
    argv = ["greet", "--dir=a", "--depth=2", "loudly", "--dir", "b", "--twice", "--depth", "3"]

    assert call(*argv).out == "loudly a,b 3\n"


def test_a_flag_with_a_bad_value_is_one_sentence(call: Call) -> None:
    """The section's own check reads flags too."""
    said = call("greet", "--depth", "deep")

    assert said.code == 1
    assert said.err == "instar: the command line: greets.depth has to be an integer\n"


def test_a_flag_belongs_to_the_commands_that_list_it(call: Call) -> None:
    """Others do not know it."""
    said = call("plugins", "--dir", "a")

    assert said.code == 2
    assert "unrecognized arguments: --dir a" in said.err
    assert "usage: instar plugins" in said.err  # that of the command, which lists what it takes


def test_an_unknown_command_says_what_there_is(call: Call) -> None:
    """And which plugin may be the reason that it is missing."""
    said = call("gret", plugins={"greets": Greets(), "empty": object()})

    assert said.code == 2
    assert "there is no command gret (did you mean greet?)" in said.err
    assert "plugin empty is failed: has no hooks" in said.err


def test_a_misspelt_sub_command_says_which_one_is_near(call: Call) -> None:
    """As a misspelt command does."""
    said = call("greet", "lowdly")

    assert said.code == 2
    assert said.err.startswith(
        "instar: there is no command greet lowdly (did you mean loudly?); there is loudly\n"
    )
    assert "usage: instar greet" in said.err


def test_no_command_shows_the_help(call: Call) -> None:
    """Every command with its summary, and exit code 2."""
    said = call()

    assert said.code == 2
    assert "greet" in said.err
    assert "say hello" in said.err


@pytest.mark.parametrize("argv", [("plugins", "--state-dir"), ("--dir", "x"), ("greet", "softly")])
def test_wrong_usage_is_told_without_a_stack(call: Call, argv: tuple[str, ...]) -> None:
    """What is wrong, then how it is used."""
    said = call(*argv)

    assert said.code == 2
    assert said.err.startswith("instar: ")
    assert "usage: instar" in said.err


@pytest.mark.parametrize(
    ("fault", "code", "err"),
    [
        (InstarError("the store is locked; wait"), 1, "instar: the store is locked; wait\n"),
        (
            LeaseHeld("process 12 holds the lease", pid=12),
            3,
            "instar: process 12 holds the lease\n",
        ),
        (MissingStore("There is no ledger yet."), 1, "instar: There is no ledger yet.\n"),
        (
            OSError(28, "No space left", "/d/\x1b\udc80"),
            1,
            "instar: No space left: /d/\\x1b\\x80\n",
        ),
        (KeyboardInterrupt(), 130, "instar: interrupted\n"),
        (SystemExit(5), 5, ""),
    ],
)
def test_how_a_command_ends(call: Call, fault: BaseException, code: int, err: str) -> None:
    """One line and a code that means something."""
    assert call("greet", plugins={"greets": Greets(fault)}) == Said(code, "", err)


def test_a_defect_is_one_line_and_a_traceback_only_when_asked(call: Call) -> None:
    """The line names the plugin whose command it was; INSTAR_DEBUG=1 adds the stack."""
    plugins = {"greets": Greets(ZeroDivisionError("by nothing"))}

    said = call("greet", plugins=plugins)
    asked = call("greet", plugins=plugins, environ={"INSTAR_DEBUG": "1"})

    assert said.code == asked.code == 70
    assert said.err.count("\n") == 1
    assert "the command greet of the plugin greets failed: ZeroDivisionError" in said.err
    assert "ZeroDivisionError: by nothing (test_cli.py:" in said.err
    assert "report" not in said.err  # to us: it is not ours
    assert "Traceback" in asked.err


@pytest.mark.parametrize("fault", [ValueError("no parser of mine"), SystemExit(7)])
def test_a_command_that_cannot_be_set_up_is_reported_and_left_out(
    call: Call, fault: BaseException
) -> None:
    """The rest of the command line works, and whoever asks for it learns why it is not there."""
    plugins = {"greets": Greets(), "breaks": Breaks(fault)}

    assert call("greet", plugins=plugins).code == 0
    assert call("--help", plugins=plugins).code == 0
    said = call("broken", plugins=plugins)
    assert "there is no command broken" in said.err
    assert f"plugin breaks is loaded: command broken: {type(fault).__name__}" in said.err


class Chatty:
    """Prints where nobody asked it to."""

    def __init__(self) -> None:
        print("made")

    @hookimpl
    def instar_commands(self, host: HostContext) -> list[Command]:
        print("asked")
        return []


def test_what_plugins_print_is_no_part_of_an_answer(
    call: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    """A program that reads JSON from standard output got a greeting first."""
    assert call("plugins", "--json", plugins={"chatty": Chatty}).code == 0
    said = capsys.readouterr()
    assert (said.out, said.err.split()) == ("", ["made", "asked"])


def test_a_summary_is_shown_as_it_is(call: Call) -> None:
    """argparse would fill in what stands after a per cent sign, or fail to: the help did."""
    said = call(plugins={"whole": Breaks(summary="counts 100% of it, %(prog)s")})
    assert "counts 100% of it, %(prog)s" in said.err


class Claims:
    """A plugin with a route that no host can serve, and a command."""

    def __init__(self, path: str) -> None:
        self.path = path

    @hookimpl
    def instar_routes(self, host: HostContext) -> list[Route]:
        return [Route(method="GET", path=self.path, endpoint=lambda _request: Response())]

    @hookimpl
    def instar_commands(self, host: HostContext) -> list[Command]:
        return [Command(name="own", summary="", configure=lambda _p: None, run=lambda *_a: 0)]


@pytest.mark.parametrize("path", ["/health", "/static/x", "/a//b"])
def test_plugins_says_of_routes_what_serve_would_say(call: Call, path: str) -> None:
    """It said "loaded", and `serve` refused the plugin; what is refused is refused as a whole."""
    plugins = {"claims": Claims(path)}
    said = call("plugins", plugins=plugins)

    assert said.code == 1
    assert "claims  refused" in said.out
    assert "there is no command own" in call("own", plugins=plugins).err


def test_plugins_lists_states_and_reasons(call: Call) -> None:
    """For people as a table; 1 because one of them does not run."""
    said = call("plugins", plugins={"greets": Greets(), "empty": object()})

    assert said.code == 1
    assert said.out.splitlines() == [
        "PLUGIN  STATE   PACKAGE  HOOKS",
        "greets  loaded  -        instar_commands, instar_options",
        "empty   failed  -        -",
        "  has no hooks; mark them with instar_host.hookimpl",
    ]


@pytest.mark.parametrize(
    ("section", "named"),
    [
        ({"tokenLedger": {"idleIntervalMs": "x"}}, "tokenLedger.idleIntervalMs"),
        ({"tokenLedger": {"detailDay": 1}}, "tokenLedger.detailDay is not a setting"),
        ({"threadline": {"record": {"foo": 1}}}, "threadline.record.foo is not a setting"),
        ({"threadline": {"bridge": {"foo": 1}}}, "threadline.bridge.foo is not a setting"),
        ({"threadline": {"telegramBridge": {"enabled": "yes"}}}, "threadline.telegramBridge"),
    ],
)
def test_plugins_checks_the_sections_of_ours(
    tmp_path: Path, section: dict[str, object], named: str
) -> None:
    """1, the key and what is allowed, where it said "loaded" and nothing else."""
    (tmp_path / "config.json").write_text(json.dumps(section), encoding="utf-8")
    out = io.StringIO()
    argv = ["plugins", "--state-dir", str(tmp_path)]

    assert run(argv, {}, Path.cwd, Path.home, Terminal(out=out, err=out)) == 1
    assert named in out.getvalue()


def test_plugins_as_json(call: Call) -> None:
    """The same for programs."""
    said = call("plugins", "--json")

    assert said.code == 0
    assert json.loads(said.out)["plugins"][0] == {
        "name": "greets",
        "distribution": None,
        "version": None,
        "state": "loaded",
        "error": None,
        "hooks": ["instar_commands", "instar_options"],
        "errors": 0,
        "dropped": 0,
        "off": [],
    }
