"""The shapes of all structs, worked out before several threads decode.

msgspec (0.22) works out a struct's shape when it is first decoded or converted to, and keeps it
for all to see before it is finished: a second thread that decodes the same struct at that moment
reads a null pointer and the process dies. So it is done once, in one thread, for every struct
that has been defined. Promises nothing for a struct defined later.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import msgspec


def work_out_shapes() -> int:
    """Make msgspec know every struct defined so far; returns how many it can decode."""
    known = 0
    for struct in _below(msgspec.Struct):
        with suppress(Exception):  # it holds a callable or the like, or is somebody else's
            msgspec.json.Decoder(struct)
            known += 1
    return known


def _below(struct: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    for child in struct.__subclasses__():
        yield child
        yield from _below(child)
