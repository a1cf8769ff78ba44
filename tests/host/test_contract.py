"""The contract itself: its hooks, its records, its public names."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterable

import msgspec
import pluggy
import pytest

import instar_host
from instar_host import hookspecs, records
from instar_host.registry import Registry

HOOKS = Registry().hooks()
RECORDS = [
    kind
    for _name, kind in inspect.getmembers(records, inspect.isclass)
    if issubclass(kind, records.Record) and kind.__module__ == records.__name__
]


def test_the_hooks_of_the_host() -> None:
    """Removing one breaks every plugin that implements it."""
    assert set(HOOKS) >= {
        "instar_commands",
        "instar_host_ready",
        "instar_host_stopping",
        "instar_options",
        "instar_panels",
        "instar_routes",
        "instar_telegram",
        "instar_ticks",
    }


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_is_documented_typed_plain_and_prefixed(hook: str) -> None:
    """A sentence, annotations that resolve, no coroutine, the host's prefix."""
    function = getattr(hookspecs, hook)

    assert inspect.getdoc(function)
    assert "return" in typing.get_type_hints(function)
    assert not inspect.iscoroutinefunction(function)
    assert hook.startswith("instar_")


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_that_returns_one_thing_says_so(hook: str) -> None:
    """`firstresult` and the annotation agree: an iterable, nothing, or one answer."""
    returns = typing.get_type_hints(getattr(hookspecs, hook))["return"]
    spec = Registry().caller(hook).spec
    assert spec is not None

    many = typing.get_origin(returns) is Iterable
    single = not many and returns not in (None, type(None))
    if spec.opts["firstresult"]:
        assert single


@pytest.mark.parametrize("record", RECORDS, ids=lambda kind: kind.__name__)
def test_a_record_is_frozen_and_built_by_keyword(record: type[msgspec.Struct]) -> None:
    """So that a new field never shifts an old one, and nobody changes what was handed to others."""
    config = record.__struct_config__

    assert config.frozen
    assert inspect.getdoc(record)
    if record.__struct_fields__:
        with pytest.raises(TypeError, match="positional"):
            record(*record.__struct_fields__)


def test_markers_made_elsewhere_are_ours() -> None:
    """A plugin may bring its own marker and so need not import us to be seen."""
    mine = pluggy.HookimplMarker("instar")

    class Plugin:
        @mine
        def instar_ticks(self) -> list[object]:
            return []

    assert [one.hook for one in Registry().declared(Plugin())] == ["instar_ticks"]


@pytest.mark.parametrize("name", instar_host.__all__)
def test_a_public_name_is_there(name: str) -> None:
    """Also those that are imported when first asked for."""
    assert getattr(instar_host, name) is not None


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    """As with any module."""
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = instar_host.Nothing
