"""What a hook implementation returned: made a list, or refused as nonsense.

Promises that a generator is run to its end here, inside the caller's `try`, and that a record of
the wrong kind is caught at this edge, by the annotation of the hook's own specification, and so is
a record with a field of the wrong kind: msgspec checks none when a record is made. Never repairs an
answer.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
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
        raise PluginError(f"returned {_named(value)} where {_any_of(kinds)} is expected")
    if isinstance(value, msgspec.Struct):
        _require_fields(value)


def _require_fields(record: msgspec.Struct) -> None:
    """Raises PluginError for the first field that is not what its annotation says."""
    for name, annotation in _annotations(type(record)).items():
        fault = _fault(getattr(record, name), annotation)
        if fault:
            raise PluginError(f"returned a {type(record).__name__} whose {name} {fault}")


@cache
def _annotations(record: type[msgspec.Struct]) -> dict[str, Any]:
    """Of each field; empty where they name what only exists for mypy. A pure function, kept."""
    try:
        hints = typing.get_type_hints(record)
    except Exception:  # noqa: BLE001 - annotations of somebody else's record
        return {}
    return {name: hints[name] for name in record.__struct_fields__ if name in hints}


def _fault(value: object, annotation: Any) -> str:
    """What is wrong with the value of a field, as the end of a sentence; empty when nothing is."""
    kinds, arguments = _kinds(annotation), typing.get_args(annotation)
    if typing.get_origin(annotation) in (Union, types.UnionType):
        faults = [_fault(value, member) for member in arguments]
        return "" if "" in faults else max(faults, key=len)
    if kinds is not None and not isinstance(value, kinds):
        return f"is {_named(value)}, not {_any_of(kinds)}"
    if typing.get_origin(annotation) is Literal and value not in arguments:
        return f"is {value!r}, not one of {', '.join(map(str, arguments))}"
    if isinstance(value, str) and not _sayable(value):
        return "holds half a character, which nothing can show or send"
    if isinstance(value, msgspec.Struct):
        _require_fields(value)
    parts = _parts(value, arguments)
    return next((fault for part, kind in parts if (fault := _fault(part, kind))), "")


def _parts(value: object, arguments: tuple[Any, ...]) -> Iterator[tuple[object, Any]]:
    """What a tuple or a mapping holds, each with its annotation."""
    if isinstance(value, tuple) and arguments[1:] == (...,):
        yield from ((one, arguments[0]) for one in value)
    elif isinstance(value, Mapping) and len(arguments) == 2:
        for key, held in value.items():
            yield key, arguments[0]
            yield held, arguments[1]


def _sayable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _any_of(kinds: tuple[type, ...]) -> str:
    return " or ".join(kind.__name__ for kind in kinds if kind is not types.NoneType)


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
    if not isinstance(kind, type) or kind is Any or typing.is_typeddict(kind):
        return None  # from Python 3.11 on Any is a class, and none that isinstance takes
    if getattr(kind, "_is_protocol", False):
        return None
    return (int, float) if kind is float else (kind,)
