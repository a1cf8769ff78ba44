"""Structs that several threads meet for the first time at once."""

from __future__ import annotations

import subprocess
import sys
from typing import Any, cast

import msgspec
import pytest

from instar_host.shapes import work_out_shapes

RACE = """
import sys, threading
import msgspec
from instar_host.shapes import work_out_shapes

sys.setswitchinterval(1e-6)


def struct(name, fields):
    members = {"__annotations__": fields, **{field: None for field in fields}}
    return type(msgspec.Struct)(name, (msgspec.Struct,), members)


for number in range(150):
    inner = [
        struct(f"Inner{number}{i}", {f"g{j}": "int | None" for j in range(6)}) for i in range(4)
    ]
    outer = struct(f"Outer{number}", {f"f{i}": inner[i % 4] for i in range(8)})
    work_out_shapes()
    together = threading.Barrier(3)

    def decode():
        together.wait()
        msgspec.json.decode(b'{"f7": {"g1": 3}}', type=outer)

    threads = [threading.Thread(target=decode) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""


def test_threads_that_decode_a_struct_for_the_first_time_do_not_crash() -> None:
    """Without the shapes worked out beforehand the process dies of a null pointer."""
    done = subprocess.run([sys.executable, "-c", RACE], capture_output=True, text=True, timeout=100)

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("annotation", ["int.nothing", "a b", "1 / 0", "list[int"])
def test_a_struct_whose_annotations_cannot_be_read_is_passed_over(annotation: str) -> None:
    """Any library in the process may have one; the host did not start beside it."""
    odd = msgspec.defstruct("Odd", [("field", cast("Any", annotation), None)])

    assert work_out_shapes() > 0
    assert odd in msgspec.Struct.__subclasses__()
