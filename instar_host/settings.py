"""One section of settings: a frozen struct whose fields say what they mean.

Promises that a section is either a whole, checked value or an error that names the place, the key,
what is allowed there and the nearest key that exists. Reads no file and no environment: it is given
both.

A field documents itself, so that the page about settings is generated and cannot rot:

    max_file_age_ms: Annotated[int, Meta(ge=0, description="...", extra={"unit": "ms", "env":
    "NAME"})] = 0

`unit` is for people, `env` names the environment variable that overrides the field (a list: commas
between).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, TypeVar

import msgspec
from msgspec import inspect as shape

from instar_host.errors import ConfigError

T = TypeVar("T")

_PLACE = re.compile(r" - at `\$(?P<path>.*)`$", re.DOTALL)
_ABSENT = re.compile(r"Object missing required field `([^`]+)`")
_FIRST_KEY = re.compile(r"^\.([^.\[]+)")


class Settings(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"
):
    """What a section derives from: immutable, camelCase in the file, an unknown key is an error.

    Repeat `frozen=True, kw_only=True` in the subclass: type checkers do not inherit them.
    """


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """Values of one section from one place; later layers win."""

    origin: str
    """How an error names the place: a path, `the environment variable X`, `the command line`."""
    values: Mapping[str, Any]
    prefix: str = ""
    """What stands before the keys in an error: the section's name and a dot."""


class FieldDoc(msgspec.Struct, frozen=True, kw_only=True):
    """One setting as a page or an error shows it."""

    key: str
    allowed: str
    default: str
    """JSON text; empty when the setting has to be given."""
    description: str
    unit: str
    env: str
    """Environment variable that overrides it; empty when there is none."""


@cache
def describe(settings: type) -> tuple[FieldDoc, ...]:
    """Every field of a settings struct, in order. Raises TypeError for a type that is no struct."""
    info = _shape_of(settings)
    if not isinstance(info, shape.StructType):
        raise TypeError(f"{settings!r} is not a msgspec.Struct")
    return tuple(_describe_field(field) for field in info.fields)


def decode(layers: Iterable[Layer], settings: type[T]) -> T:
    """Lay the layers over each other, lowest first, and check the whole. Raises ConfigError."""
    stack = list(layers)
    merged: dict[str, Any] = {}
    for layer in stack:
        _refuse_unknown_keys(layer, settings)
        merged = overlay(merged, layer.values)
    try:
        return msgspec.convert(merged, settings)
    except msgspec.ValidationError as exc:
        raise _explained(exc, stack, settings) from None


def from_text(
    values: Mapping[str, str | list[str]], settings: type, prefix: str, origin: str
) -> Layer:
    """A layer of values that came as text: numbers and booleans are read from their words.

    `values` maps keys of the file to a text, or to several texts for a list. Raises ConfigError.
    """
    read: dict[str, Any] = {}
    if not values:
        return Layer(origin=origin, values=read, prefix=prefix)
    types = {field.encode_name: field.type for field in msgspec.structs.fields(settings)}
    for key, value in values.items():
        if key in types:
            read[key] = _read_text(key, value, types[key], settings, prefix, origin)
        else:
            read[key] = value  # decode() refuses it by name
    return Layer(origin=origin, values=read, prefix=prefix)


def from_environment(environ: Mapping[str, str], settings: type, prefix: str) -> tuple[Layer, ...]:
    """One layer for each field whose `env` variable is set and not empty. Raises ConfigError."""
    found: list[Layer] = []
    for doc in describe(settings):
        text = environ.get(doc.env, "").strip() if doc.env else ""
        if text:
            origin = f"the environment variable {doc.env}"
            found.append(from_text({doc.key: text}, settings, prefix, origin))
    return tuple(found)


def overlay(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """`upper` over `lower`: objects are merged key by key, everything else is replaced."""
    merged = dict(lower)
    for key, value in upper.items():
        below = merged.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            merged[key] = overlay(below, value)
        else:
            merged[key] = value
    return merged


def nearest(name: str, known: Iterable[str]) -> str:
    """` (did you mean X?)`, or nothing when no known name is close."""
    import difflib  # for somebody who made a mistake: nobody else pays for it

    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    return f" (did you mean {close[0]}?)" if close else ""


def allowed_text(kind: shape.Type) -> str:
    """What a value of this type may be, in words."""
    kind = _bare(kind)
    if isinstance(kind, shape.UnionType):
        return " or ".join(allowed_text(member) for member in kind.types)
    if isinstance(kind, shape.LiteralType):
        return "one of " + ", ".join(str(value) for value in kind.values)
    if isinstance(kind, (shape.IntType, shape.FloatType)):
        return ("an integer" if isinstance(kind, shape.IntType) else "a number") + _bounds(kind)
    if isinstance(kind, (shape.ListType, shape.VarTupleType, shape.SetType, shape.FrozenSetType)):
        return f"a list, each {allowed_text(kind.item_type)}"
    names: list[tuple[type, str]] = [
        (shape.BoolType, "true or false"),
        (shape.StrType, "text"),
        (shape.NoneType, "null"),
        (shape.DictType, "an object"),
        (shape.StructType, "an object"),
    ]
    return next((words for cls, words in names if isinstance(kind, cls)), "any value")


def _bounds(kind: shape.IntType | shape.FloatType) -> str:
    pairs = (
        (kind.ge, "at least"),
        (kind.gt, "more than"),
        (kind.le, "at most"),
        (kind.lt, "less than"),
    )
    said = [f"{words} {bound}" for bound, words in pairs if bound is not None]
    return f" of {' and '.join(said)}" if said else ""


@cache
def _shape_of(settings: type) -> shape.Type:
    """A pure function of the class, kept: a section is asked for by each message and each tick, and
    this would be 2 ms of it.
    """
    return shape.type_info(settings)


def _describe_field(field: shape.Field) -> FieldDoc:
    schema: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    if isinstance(field.type, shape.Metadata):
        schema = field.type.extra_json_schema or {}
        extra = field.type.extra or {}
    default = "" if field.required else _default_text(field)
    return FieldDoc(
        key=field.encode_name,
        allowed=allowed_text(field.type),
        default=default,
        description=str(schema.get("description", "")),
        unit=str(extra.get("unit", "")),
        env=str(extra.get("env", "")),
    )


def _default_text(field: shape.Field) -> str:
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    return msgspec.json.encode(value).decode()


def _bare(kind: shape.Type) -> shape.Type:
    return _bare(kind.type) if isinstance(kind, shape.Metadata) else kind


def _read_text(
    key: str, value: str | list[str], kind: Any, settings: type, prefix: str, origin: str
) -> Any:
    doc = next(doc for doc in describe(settings) if doc.key == key)
    raw: object = value
    if isinstance(value, str) and doc.allowed.startswith("a list"):
        raw = [part.strip() for part in value.split(",") if part.strip()]
    try:
        return msgspec.convert(raw, kind, strict=False)
    except msgspec.ValidationError:
        raise ConfigError(f"{origin}: {prefix}{key} has to be {doc.allowed}") from None


def _refuse_unknown_keys(layer: Layer, settings: type) -> None:
    found = _unknown_key(_shape_of(settings), layer.values, layer.prefix.rstrip("."))
    if found is not None:
        place, key, known = found
        where = f"{place}.{key}" if place else key
        raise ConfigError(
            f"{layer.origin}: {where} is not a setting{nearest(key, known)}; "
            f"{place or 'here'} takes {', '.join(known) or 'nothing'}"
        )


def _unknown_key(
    kind: shape.Type, value: object, place: str
) -> tuple[str, str, tuple[str, ...]] | None:
    """The first key that no struct on the way knows: (place, key, keys known there)."""
    kind = _bare(kind)
    if isinstance(kind, shape.StructType) and isinstance(value, Mapping):
        fields = {field.encode_name: field.type for field in kind.fields}
        for key, inner in value.items():
            if key not in fields:
                return place, key, tuple(fields)
            found = _unknown_key(fields[key], inner, f"{place}.{key}")
            if found is not None:
                return found
    elif isinstance(kind, shape.UnionType):
        structs = [member for member in kind.types if isinstance(member, shape.StructType)]
        return _unknown_key(structs[0], value, place) if len(structs) == 1 else None
    elif isinstance(kind, shape.DictType) and isinstance(value, Mapping):
        inside = (_unknown_key(kind.value_type, v, f"{place}.{k}") for k, v in value.items())
        return next((found for found in inside if found is not None), None)
    elif isinstance(kind, (shape.ListType, shape.VarTupleType)) and isinstance(value, list):
        each = (_unknown_key(kind.item_type, v, f"{place}[{i}]") for i, v in enumerate(value))
        return next((found for found in each if found is not None), None)
    return None


def _explained(exc: msgspec.ValidationError, stack: list[Layer], settings: type) -> ConfigError:
    """The error of the library in our words: origin, key path, what is wrong, what is allowed."""
    absent = _ABSENT.fullmatch(str(exc))
    if absent is not None:  # no layer has it: the file is where people write
        return ConfigError(_absent(absent[1], stack[min(1, len(stack) - 1)], settings))
    match = _PLACE.search(str(exc))
    path = match["path"] if match else ""
    words = str(exc)[: match.start()] if match else str(exc)
    first = _FIRST_KEY.match(path)
    key = first[1] if first else ""
    layer = next((one for one in reversed(stack) if key in one.values), stack[-1])
    doc = next((doc for doc in describe(settings) if doc.key == key), None)
    hint = "" if doc is None else f"; {key} has to be {doc.allowed}" + _about(doc)
    where = (layer.prefix + path.removeprefix(".")).rstrip(".") or "the section"
    words = words.replace("`", "")
    return ConfigError(f"{layer.origin}: {where}: {words[:1].lower()}{words[1:]}{hint}")


def _absent(key: str, layer: Layer, settings: type) -> str:
    doc = next((doc for doc in describe(settings) if doc.key == key), None)
    hint = "" if doc is None else f"; {key} has to be {doc.allowed}{_about(doc)}"
    return f"{layer.origin}: {layer.prefix}{key} is missing{hint}"


def _about(doc: FieldDoc) -> str:
    unit = f", in {doc.unit}" if doc.unit else ""
    return f"{unit} ({doc.description})" if doc.description else unit
