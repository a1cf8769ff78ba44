"""From the log to the chat: everything arrives, in order, in its topic, at the allowed pace."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from instar_threadline.bridge import mutes
from instar_threadline.bridge.policy import Rules
from tests.threadline.bridge.fake_bot_api import GROUP, RefusedError
from tests.threadline.bridge.world import DAWN, OPEN, TARGET, World

pytest_plugins = ["instar_host.testing"]


def only_topic(world: World) -> int:
    (topic,) = world.api.group.topics
    return topic


def test_d2_4_a_first_message_opens_a_topic_and_lands_in_it(world: World) -> None:
    """D2-4: one topic, one message, named and headed after who and what."""
    world.say("memory rot gates")
    world.run()
    topic = world.api.group.topics[only_topic(world)]
    assert topic.name == "echo↔Dawn — memory rot gates · a1b2c3d4"
    assert world.api.texts(topic.id) == ["📥 Dawn (a1b2c3d4) → echo\nmemory rot gates"]


def test_d2_10_and_11_bindings_survive_a_restart(world: World) -> None:
    """D2-11: after a restart the thread's next message, outbound too, lands in the same topic."""
    world.say("one")
    world.run()
    world.restart()
    world.say("two", direction="out")
    world.run()
    assert world.api.texts(only_topic(world))[-1] == "📤 echo → Dawn (a1b2c3d4)\ntwo"


def test_d2_17_posted_is_said_only_after_the_answer(world: World) -> None:
    """D2-17 inverted, C-48, B-30: nothing is reported delivered before Telegram has answered."""
    world.say()
    world.pull()
    assert world.settlements == []
    world.transport.faults = [None, "reset-before"]
    world.worker.step()
    world.clock.advance(2)
    world.worker.step()
    assert world.settlements == []
    world.clock.advance(300)
    world.run()
    ((rows, status, topic_id, _),) = world.settlements
    assert (len(rows), status, topic_id) == (1, "delivered", only_topic(world))


def test_c_44_a_burst_of_first_messages_opens_one_topic(world: World) -> None:
    """C-44, Q4: three messages of a new thread at once share one topic."""
    for number in range(3):
        world.say(f"message {number}")
    world.run()
    assert len(world.api.group.topics) == 1
    assert len(world.api.texts(only_topic(world))) == 1, "and are merged into one message"


def test_c_45_two_threads_with_the_same_words_have_two_topics(world: World) -> None:
    """C-45: the thread's id is the identity, whatever peer and opening text are."""
    world.say("same words as ever", "t1")
    world.say("same words as ever", "t2")
    world.run()
    assert len(world.api.group.topics) == 2


def test_c_46_nothing_overtakes_a_message_that_waits(world: World) -> None:
    """C-46: while one message waits out a pause, later ones of its thread wait behind it."""
    world.say("first")
    world.run()
    world.api.refusals.append(RefusedError(429, "Too Many Requests", retry_after=40))
    world.say("second")
    world.pull()
    world.clock.advance(3)
    world.worker.step()
    world.say("third")
    world.run()
    shown = world.shown()
    assert shown.index("first") < shown.index("second") < shown.index("third")


def test_a_pause_is_obeyed_across_restarts(world: World) -> None:
    """Within the time Telegram asked for there is no request at all, also after a restart."""
    world.say()
    world.pull()
    world.api.refusals.append(RefusedError(429, "Too Many Requests", retry_after=5072))
    world.worker.step()
    calls = len(world.api.calls)
    world.clock.advance(5000)
    world.restart()
    assert world.worker.step() > 60
    assert len(world.api.calls) == calls
    world.run()
    assert "hello" in world.shown()


def test_the_pace_of_a_group_is_kept(world: World) -> None:
    """At most 20 operations in any minute, topics included, so that no 429 is ever drawn."""
    world.api.per_minute = 20
    for number in range(60):
        world.say("x" * 3000, f"t{number % 5}")
    world.run()
    assert world.waiting() == 0
    assert world.counter("sent") == 60


def test_neighbours_are_merged(world: World) -> None:
    """A hundred short messages of a thread are a few messages in the chat."""
    world.say("opening")
    world.run()
    for number in range(100):
        world.say(f"short message number {number:03}")
    world.run()
    assert len(world.api.group.messages) < 8
    found = [f"number {number:03}" in world.shown() for number in range(100)]
    assert all(found)


def test_q5_live_overtakes_history_and_threads_take_turns(world: World) -> None:
    """Q5: a live message of another thread is sent before a backlog, and within one turn."""
    backlog = [world.say("x" * 3900 + f" {n}", "old") for n in range(50)]
    world.log.messages.clear()
    admitted = world.intake.admit(backlog, OPEN, asked_for=True)
    world.intake.enqueue(admitted, history=True)
    world.run(60)
    world.log.messages.clear()
    world.outbox.set_mark("log", b"0")
    world.say("now", "fresh")
    world.pull()
    world.run(8)
    assert "now" in world.shown()
    assert world.waiting() > 20


def test_c_58_and_c_59_nothing_empty_and_no_receipt_is_mirrored(world: World) -> None:
    """C-58, C-59: no topic for a text without a visible mark, or for an automatic receipt."""
    world.say("\u200b")
    world.say("Message received. Composing response...")
    world.run()
    assert world.api.calls == []


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (401, "Unauthorized"),
        (403, "Forbidden: bot was kicked from the supergroup chat"),
        (400, "Bad Request: chat not found"),
        (400, "Bad Request: CHAT_WRITE_FORBIDDEN"),
        (400, "Bad Request: CHAT_RESTRICTED"),
        (400, "Bad Request: group chat was upgraded to a supergroup chat"),
    ],
)
def test_q2_a_chat_that_is_gone_pauses_and_keeps_the_queue(
    world: World, code: int, words: str
) -> None:
    """Q2: 401, 403 and a lost chat pause the target; nothing is parked; it goes on once mended."""
    world.api.refusals += [RefusedError(code, words)] * 3
    world.say("one")
    world.run(200)
    assert world.waiting() == 1
    assert world.counter("dead") == 0
    world.worker.resume()
    world.api.refusals.clear()
    world.run()
    assert "one" in world.shown()


def test_q6_a_poison_message_is_parked_and_blocks_nothing(world: World) -> None:
    """Q6: what Telegram refuses for its words is parked with a placeholder; the rest flows in
    order.
    """
    world.api.poison = lambda text: "poison" in text and "could not be shown" not in text
    for text in ("before", "poison", "after"):
        world.say(text)
    world.run()
    shown = world.shown()
    assert shown.index("before") < shown.index("could not be shown") < shown.index("after")
    (letter,) = world.outbox.dead_letters()
    assert letter.row.body == "poison"
    assert world.waiting() == 0


def test_dead_letters_are_retried_and_dropped_by_hand(world: World) -> None:
    """A parked message is sent when a person says so, or forgotten."""
    world.api.poison = lambda text: "poison" in text and "could not" not in text
    world.say("poison one")
    world.say("poison two")
    world.run()
    world.api.poison = lambda _text: False
    first = world.outbox.dead_letters()[-1]
    assert world.outbox.retry_dead([first.id]) == 1
    assert world.outbox.drop_dead() == 1
    world.run()
    assert "poison one" in world.shown()
    assert "poison two" not in world.shown()


def test_q8_policy_is_asked_again_at_the_moment_of_sending(world: World) -> None:
    """Q8: what was queued and is no longer wanted is skipped, by mute, veto or switch."""
    world.say("opening")
    world.run()
    world.say("muted", "t1")
    world.pull()
    mutes.mute(world.outbox, "agent", DAWN)
    world.run()
    mutes.unmute(world.outbox, "agent", DAWN)
    world.say("vetoed")
    world.pull()
    world.vetoes = lambda _message: True
    world.run()
    world.vetoes = lambda _message: False
    assert world.shown().count("📥") == 1
    assert world.waiting() == 0


def test_while_the_bridge_is_off_nothing_queues_and_nothing_is_sent(world: World) -> None:
    """Off: the mark moves on, nothing is queued; what was queued before waits until it is on."""
    world.say("before", "t1")
    world.pull()
    world.on = False
    world.say("while off", "t2")
    world.run()
    assert world.api.calls == []
    world.on = True
    world.run()
    assert "before" in world.shown()
    assert "while off" not in world.shown()


def test_without_the_lease_nothing_is_sent(world: World) -> None:
    """B-24: a process that does not hold the lease makes no call."""
    world.leader = False
    world.say()
    world.run()
    assert world.api.calls == []


def test_b_29_the_same_words_again_are_one_line(world: World) -> None:
    """B-29: a peer's retry under a new id is shown as one line, not as the message again."""
    for _ in range(3):
        world.say("I have finished the migration of the index.")
    world.say("I have finished the migration of the index.", direction="out")
    world.run()
    assert world.shown().count("finished the migration") == 2
    assert world.shown().count("↻ the same words again") == 2


def test_ids_are_the_peers_choice_and_suppress_nothing(world: World) -> None:
    """A message with the id of another peer's message is another message."""
    world.say("from dawn", id="1")
    world.say("from dusk", id="1", counterparty="ffff0000ffff0000")
    world.say("other thread", "t2", id="1")
    world.run()
    assert all(words in world.shown() for words in ("from dawn", "from dusk", "other thread"))


def test_redaction_comes_before_storage(world: World) -> None:
    """A credential is neither in the chat nor in the database, not even in a topic's name."""
    secret = "ghp_" + "a1B2" * 9
    world.say(f"the key is {secret}, use it")
    world.run()
    assert "⟦redacted:github-token⟧" in world.shown().replace("\u2060", "")
    world.outbox.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    stored = (world.state_dir / "server-data/threadline-bridge.db").read_bytes()
    assert secret.encode() not in stored
    assert secret not in str([t.name for t in world.api.group.topics.values()])
    assert world.counter("redacted github-token") == 1


def test_a_failing_redactor_blocks_the_message_visibly(world: World) -> None:
    """Fail closed: the text is not stored or sent; a placeholder keeps its place."""

    def broken(text: str) -> str:
        raise ValueError(text)

    world.chain = [("strict", broken)]
    world.say("the text")
    world.run()
    assert "redactor strict failed" in world.shown()
    assert "the text" not in world.shown()


def test_a_full_queue_says_how_many_it_left_out(state_dir: Path) -> None:
    """Beyond the bound the oldest of the longest thread are skipped, with a marker in their
    place.
    """
    from instar_threadline.bridge.outbox import Limits

    world = World(state_dir, limits=Limits(rows=50, bytes=1 << 20))
    for number in range(200):
        world.say(f"message {number:03}")
    world.say("another thread", "t2")
    world.pull()
    assert world.waiting() <= 50
    world.run()
    shown = world.shown()
    arrived = sum(f"message {number:03}" in shown for number in range(200))
    skipped = sum(int(line.split()[1]) for line in shown.splitlines() if "are missing here" in line)
    assert arrived + skipped == 200
    assert "message 199" in shown
    assert "another thread" in shown
    world.close()


def test_another_chat_begins_anew(world: World) -> None:
    """A topic of the old chat is never used in a new one."""
    world.say("one")
    world.run()
    world.outbox.connection.execute("UPDATE target SET configured_chat_id = -5, chat_id = -5")
    world.restart()
    world.api.group.topics.clear()
    world.say("two")
    world.run()
    assert len(world.api.group.topics) == 1
    assert "two" in world.shown()


def test_a_group_that_stops_being_a_forum_raises_an_alarm(world: World) -> None:
    """The server drops the topic silently then: seen in the answer, and the chat is paused."""
    world.say("one")
    world.run()
    world.api.group.forum = False
    world.say("two")
    world.run(30)
    paused = world.outbox.connection.execute("SELECT paused FROM target").get
    assert "no longer a forum" in str(paused)


def test_titles_come_from_plugins(world: World) -> None:
    """`threadline_topic_title` names the topic; the fingerprint stays."""
    world.titles = lambda thread: f"About {thread.subject}"
    world.say("gates")
    world.run()
    assert world.api.group.topics[only_topic(world)].name == "echo↔Dawn — About gates · a1b2c3d4"


def test_denied_agents_open_nothing(state_dir: Path) -> None:
    """D2-7: a denied fingerprint gets no topic, whatever it calls itself."""
    world = World(state_dir, rules=replace(OPEN, deny_list=frozenset({DAWN})))
    world.say(counterparty_name="Somebody Else")
    world.run()
    assert world.api.calls == []
    assert world.counter("refused-auto-create-disallowed") == 1
    world.close()


def test_nothing_is_mirrored_by_default(state_dir: Path) -> None:
    """The bridge is off until a person switches it on."""
    world = World(state_dir, rules=Rules())
    world.say()
    world.run()
    assert (world.api.calls, world.api.chats[GROUP].messages) == ([], [])
    assert world.outbox.waiting(TARGET) == (0, 0)
    world.close()
