"""`instar bridge ...` from a shell: set-up, tests, history, and nothing silently ignored."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from instar_host.cli import main
from instar_host.testing import MakeHost
from instar_host.testing_web import RunHost
from instar_threadline.messages import NewMessage
from instar_threadline.plugin import ThreadlinePlugin
from tests.threadline.bridge.fake_bot_api import BotApi, RefusedError
from tests.threadline.bridge.stage import ON, PEER, MakeStage
from tests.threadline.logs import open_log, received

pytest_plugins = ["instar_host.testing"]


def run(state_dir: Path, *arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = main(["bridge", *arguments, "--state-dir", str(state_dir)])
    captured = capsys.readouterr()
    return code, captured.out + captured.err


@pytest.fixture
def in_shell(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, state_dir: Path) -> Path:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("INSTAR_PLUGINS", raising=False)
    (state_dir / "config.json").write_text(json.dumps(ON))
    return state_dir


def test_check_says_what_to_fix(
    in_shell: Path, api: BotApi, capsys: pytest.CaptureFixture[str]
) -> None:
    """`instar bridge check` finds bot, chat, topics and rights, and names the cure of each
    fault.
    """
    assert run(in_shell, "check", capsys=capsys)[0] == 0
    api.group.can_manage_topics = False
    api.group.forum = False
    code, said = run(in_shell, "check", capsys=capsys)
    assert code == 1
    assert "Topics: switch them on" in said
    assert "Administrators" in said
    api.group.status = "left"
    assert "add the bot to the group" in run(in_shell, "check", capsys=capsys)[1]
    api.refusals.append(RefusedError(401, "Unauthorized"))
    assert "@BotFather" in run(in_shell, "check", capsys=capsys)[1]


def test_send_test_goes_through_the_queue(
    in_shell: Path, api: BotApi, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a running host the command takes the lease, sends, and says that it arrived."""
    code, said = run(in_shell, "send-test", capsys=capsys)
    assert (code, "has arrived" in said) == (0, True)
    assert any("This is a test" in message.text for message in api.group.messages)


@pytest.mark.parametrize(
    "arguments",
    [
        ["backfill", "--dryrun"],
        ["backfill", "--dry-run=true"],
        ["backfill", "--dry"],
        ["backfill", "--threads"],
        ["backfill", "extra"],
        ["nonsense"],
        ["mute"],
        ["mute", "--thread", ""],
        ["mute", "--agent="],
        ["retry"],
        ["config", "enabled=perhaps"],
        ["config", "colour=red"],
    ],
)
def test_c_76_a_misspelt_flag_is_an_error(
    in_shell: Path, api: BotApi, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """C-76: nothing is ignored, and nothing is sent."""
    try:
        code = run(in_shell, *arguments, capsys=capsys)[0]
    except SystemExit as left:
        code = int(left.code or 0)
    assert code == 2
    assert api.calls == []


def test_backfill_from_the_command_line(
    in_shell: Path,
    make_host: MakeHost,
    api: BotApi,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A plan first, `--yes` to go, a seed beside the log; then everything is posted."""
    plugin = ThreadlinePlugin()
    host = make_host(
        {"threadline": plugin}, ON, environ={"INSTAR_AUTH_TOKEN": "auth-token-for-tests"}
    )
    new = NewMessage(direction="in", counterparty=PEER, thread_id="t1", text="from the log")
    plugin.service(host).recorder.record(new)
    plugin.instar_host_stopping(host)
    seed = in_shell / "seed.json"
    row = {"threadId": "t1", "direction": "out", "timestamp": "2025-04-28T12:00:00Z"}
    seed.write_text(json.dumps([{**row, "text": "from the seed", "remoteAgent": PEER}]))
    arguments = ["backfill", "--threads", "t1,t9", "--seed", str(seed)]
    code, said = run(in_shell, *arguments, "--dry-run", capsys=capsys)
    assert code == 0
    assert "2 messages in" in said
    assert "t9: no messages" in said
    assert api.calls == []
    assert run(in_shell, *arguments, capsys=capsys)[0] == 2, "without --yes, and no terminal to ask"
    code, said = run(in_shell, *arguments, "--yes", capsys=capsys)
    assert (code, "Everything is posted" in said) == (0, True)
    shown = "\n".join(message.text for message in api.group.messages)
    assert shown.index("from the seed") < shown.index("from the log")


def test_an_interrupted_backfill_goes_on_when_asked_again(
    in_shell: Path, make_stage: MakeStage, api: BotApi, capsys: pytest.CaptureFixture[str]
) -> None:
    """Q9: queued and not yet sent, nobody running: the same command says so and finishes it."""
    stage = make_stage()
    for number in range(3):
        stage.say(f"history {number}")
    stage.plugin.service(stage.host).bridge_settings.update({"enabled": False})
    stage.call("POST", "/threadline/bridge/backfill", {})
    stage.end()
    code, said = run(in_shell, "backfill", "--dry-run", capsys=capsys)
    assert (code, api.calls) == (0, [])
    assert "4 messages of an earlier backfill wait" in said
    code, said = run(in_shell, "backfill", capsys=capsys)
    assert (code, "Everything is posted" in said) == (0, True)
    shown = "\n".join(message.text for message in api.group.messages)
    assert [shown.count(f"history {number}") for number in range(3)] == [1, 1, 1]


def test_the_status_says_what_to_do_next(
    in_shell: Path, make_stage: MakeStage, api: BotApi, capsys: pytest.CaptureFixture[str]
) -> None:
    """A new user reads the next step; dead letters stand there with their words and the cure."""
    (in_shell / "config.json").write_text("{}")
    assert "next: instar bridge config enabled=on" in run(in_shell, "status", capsys=capsys)[1]
    api.poison = lambda text: "poison" in text and "could not" not in text
    stage = make_stage()
    stage.say("poison, they say")
    stage.work()
    stage.end()
    code, said = run(in_shell, "status", capsys=capsys)
    assert code == 1
    assert "can't parse entities" in said
    assert "     poison, they say" in said
    assert "next: instar bridge retry ID" in said


def test_muting_resuming_and_giving_up_the_queue_by_hand(
    in_shell: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a person changes in a terminal is what the status shows afterwards."""
    assert run(in_shell, "mute", "--thread", "t1", capsys=capsys)[0] == 0
    assert "thread t1" in run(in_shell, "status", "--json", capsys=capsys)[1]
    assert run(in_shell, "unmute", "--thread", "t1", capsys=capsys)[0] == 0
    assert "thread t1" not in run(in_shell, "status", "--json", capsys=capsys)[1]
    assert run(in_shell, "resume", capsys=capsys)[0] == 0
    code, said = run(in_shell, "drop-queue", "--live-too", capsys=capsys)
    assert (code, said.strip()) == (0, "0 waiting messages dropped")


def test_a_backfill_waits_for_the_chat_and_for_no_sink(
    in_shell: Path, make_stage: MakeStage, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sink takes its part while a host runs and the bridge is on: the command, which only works
    for the chat, would wait for it for ever.
    """
    config = {"projectName": "echo", "threadline": {"bridge": {"jsonlFile": "mirror.jsonl"}}}
    stage = make_stage(config=config)
    stage.say("history")
    stage.call("POST", "/threadline/bridge/backfill", {})
    stage.work()
    assert stage.bridge.open().outbox.waiting("sink:jsonl")[0] == 1
    stage.end()
    code, said = run(in_shell, "backfill", "--dry-run", capsys=capsys)
    assert code == 0
    assert "wait" not in said


def test_without_a_bot_nothing_is_claimed(
    state_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cure is one sentence beside the answer: what reads JSON gets no prose in its place."""
    monkeypatch.delenv("INSTAR_TELEGRAM_TOKEN", raising=False)
    for arguments in (["check"], ["check", "--json"], ["send-test"], ["resume"]):
        code = main(["bridge", *arguments, "--state-dir", str(state_dir)])
        said = capsys.readouterr()
        assert (code, said.out) == (1, "")
        assert said.err.startswith("instar: no bot is configured")


@pytest.mark.parametrize("words", [["send-test"], ["resume"], ["backfill", "--yes"]])
def test_a_host_without_a_bot_is_not_waited_for(
    run_host: RunHost,
    state_dir: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
) -> None:
    """The host cannot send it either: said at once, where the command waited for ever."""
    monkeypatch.delenv("INSTAR_TELEGRAM_TOKEN", raising=False)
    monkeypatch.setenv("INSTAR_AUTH_TOKEN", "test-auth-token")
    log = open_log(state_dir)
    log.record([received("history", id="m-1")])
    log.close()
    run_host({"threadline": ThreadlinePlugin()}, {"authToken": "test-auth-token"})
    code, said = run(state_dir, *words, capsys=capsys)
    assert code == 1
    assert "no bot is configured" in said
