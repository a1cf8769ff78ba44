"""One voice, many listeners: bounded, told what they missed, ended together."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from instar_host.broadcast import HEARTBEAT, Broadcast, sse


async def first(frames: AsyncIterator[bytes], count: int) -> list[bytes]:
    """The next `count` frames."""
    return [await anext(frames) for _ in range(count)]


def test_an_event_is_one_line_of_ascii_json() -> None:
    """A line break or a lone surrogate in data cannot end or break an event."""
    assert sse("x", {"a": "1\n\n2\ud83d"}) == b'event: x\ndata: {"a":"1\\n\\n2\\ud83d"}\n\n'
    with pytest.raises(ValueError, match="one line"):
        sse("x\ndata: forged", {})


def test_every_subscriber_hears_what_is_said_from_then_on() -> None:
    """From any thread; what was said before is not repeated."""

    async def scene() -> list[list[bytes]]:
        voice = Broadcast()
        voice.publish({"n": 0})
        streams = [voice.subscribe(), voice.subscribe()]
        assert [await first(s, 1) for s in streams] == [[HEARTBEAT], [HEARTBEAT]]
        thread = threading.Thread(target=voice.publish, args=({"n": 1}, "count"))
        thread.start()
        heard = [await first(s, 1) for s in streams]
        thread.join()
        return heard

    assert asyncio.run(scene()) == [[sse("count", {"n": 1})]] * 2


def test_a_listener_that_lags_loses_the_oldest_and_is_told_how_many() -> None:
    """Memory is bounded by the listener, whatever the speaker does."""

    async def scene() -> list[bytes]:
        voice = Broadcast(max_queued=3)
        stream = voice.subscribe()
        await first(stream, 1)
        for n in range(5):
            voice.publish({"n": n})
        return await first(stream, 4)

    said = asyncio.run(scene())
    assert said[0] == sse("lagged", {"dropped": 2})
    assert said[1:] == [sse("message", {"n": n}) for n in (2, 3, 4)]


def test_silence_is_filled_with_heartbeats() -> None:
    """A reader can tell a quiet host from a dead one."""

    async def scene() -> list[bytes]:
        return await first(Broadcast(heartbeat_s=0.001).subscribe(), 3)

    assert asyncio.run(scene()) == [HEARTBEAT] * 3


def test_closing_ends_every_stream_and_leaving_frees_its_place() -> None:
    """No listener is kept after it has gone, and there is a cap on how many there are."""

    async def scene() -> None:
        voice = Broadcast(max_subscribers=1)
        stream = voice.subscribe()
        await first(stream, 1)
        with pytest.raises(RuntimeError, match="1 streams"):
            await anext(voice.subscribe())
        voice.publish(b"data: last\n\n")
        await asyncio.sleep(0)
        voice.close()
        assert await anext(stream) == b"data: last\n\n"
        assert await anext(stream, None) is None
        assert voice.subscribers == 0

    asyncio.run(scene())


def test_publishing_to_a_loop_that_has_ended_is_no_error() -> None:
    """A speaker never pays for a listener that died without saying so."""
    voice = Broadcast()

    async def scene() -> AsyncIterator[bytes]:
        stream = voice.subscribe()
        await first(stream, 1)
        return stream

    loop = asyncio.new_event_loop()
    stream = loop.run_until_complete(scene())
    loop.close()
    voice.publish({"n": 1})
    assert voice.subscribers == 1
    del stream
