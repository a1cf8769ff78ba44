"""What a hook implementation returned: made a list, or refused as nonsense.

Promises that a generator is run to its end here, inside the caller's `try`, and that a record of
the wrong kind is caught at this edge, by the annotation of the hook's own specification. Never
repairs an answer.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, Literal, Union

import msgspec

from instar_host.errors import PluginError

MAX_RECORDS = 10_000
"""More than this from one implementation is a generator that never ends."""

Kinds = tuple[type, ...] | None
"""Classes that an answer may be of; None when the annotation does not say."""


def returns(specification: object) -> Any:
    """The return annotation of a hook's specification; None when it cannot be resolved."""
    try:
        return typing.get_type_hints(specification).get("return")
    except Exception:  # noqa: BLE001 - annotations of a plugin's hooks may name what only exists for mypy
        return None


def drained(value: object, annotation: Any) -> list[Any]:
    """The records of an `Iterable[...]` answer; None is none. Raises PluginError for nonsense."""
    if value is None:
        return []
    _refuse_coroutine(value)
    if isinstance(value, (str, bytes, Mapping, msgspec.Struct)) or not isinstance(value, Iterable):
        raise PluginError(f"returned {_named(value)} where a list of records is expected")
    records = list(islice(value, MAX_RECORDS + 1))
    if len(records) > MAX_RECORDS:
        raise PluginError(f"returned more than {MAX_RECORDS} records")
    arguments = typing.get_args(annotation)
    kinds = _kinds(arguments[0]) if arguments else None
    for record in records:
        _require(record, kinds)
    return records


def checked(value: object, annotation: Any) -> Any:
    """A single answer, as it is. Raises PluginError for one of the wrong kind."""
    if value is not None:
        _refuse_coroutine(value)
        _require(value, _kinds(annotation))
    return value


def _require(value: object, kinds: Kinds) -> None:
    if kinds is not None and not isinstance(value, kinds):
        wanted = " or ".join(kind.__name__ for kind in kinds if kind is not types.NoneType)
        raise PluginError(f"returned {_named(value)} where {wanted} is expected")


def _refuse_coroutine(value: object) -> None:
    if inspect.iscoroutine(value):
        value.close()  # or Python warns, later and elsewhere, that it was never awaited
        raise PluginError("returned a coroutine; hooks are plain functions")


def _named(value: object) -> str:
    return f"an object of type {type(value).__name__}"


def _kinds(annotation: Any) -> Kinds:
    origin = typing.get_origin(annotation)
    if annotation is None or annotation is types.NoneType:
        return (types.NoneType,)
    if origin in (Union, types.UnionType):
        members = [_kinds(member) for member in typing.get_args(annotation)]
        known = [member for member in members if member is not None]
        return None if len(known) < len(members) else tuple(k for member in known for k in member)
    if origin is Literal:
        return tuple({type(value) for value in typing.get_args(annotation)})
    kind = origin or annotation
    if not isinstance(kind, type) or getattr(kind, "_is_protocol", False):
        return None
    return (int, float) if kind is float else (kind,)
