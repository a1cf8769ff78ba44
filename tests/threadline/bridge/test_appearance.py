"""How a message sounds and looks in the chat: what rings, what is a file, what is said once."""

from __future__ import annotations

from tests.threadline.bridge.world import World

pytest_plugins = ["instar_host.testing"]


def test_first_contact_rings_and_the_rest_is_silent(world: World) -> None:
    """The first message of a thread makes a sound; an ordinary second one does not."""
    world.say("one")
    world.run()
    world.say("two")
    world.run()
    world.say("@human may I?")
    world.run()
    assert [message.silent for message in world.api.group.messages] == [False, True, False]


def test_quiet_hours_hold_the_sound_not_the_message(world: World) -> None:
    """In quiet hours a message arrives silently."""
    world.quiet = True
    world.say("one")
    world.run()
    (message,) = world.api.group.messages
    assert message.silent


def test_a_very_long_text_arrives_whole_as_a_file(world: World) -> None:
    """D2-18 inverted: the beginning is shown, the whole comes as a document."""
    world.say("word " * 6000)
    world.run()
    text, file = world.api.group.messages
    assert "whole text in the file below" in text.text
    assert file.document is not None
    assert file.document.count(b"word") == 6000


def test_c_83_a_failure_between_parts_does_not_repeat_the_first(world: World) -> None:
    """C-83: parts that have arrived are not sent again when a later part fails."""
    world.say("word " * 2000)
    world.transport.faults = [None, None, "502-before"]
    world.run()
    heads = [m.text.splitlines()[0] for m in world.api.group.messages]
    assert sum("(1/3)" in head for head in heads) == 1
    assert sum("(3/3)" in head for head in heads) == 1
