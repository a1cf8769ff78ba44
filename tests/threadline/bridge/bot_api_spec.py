"""The public description of the Bot API, as the judge of every request and answer of the fake.

The excerpt beside this file is data from github.com/PaulSonOfLars/telegram-bot-api-spec (MIT, its
licence stands beside it), without the prose.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

_FILE = Path(__file__).with_name("telegram-bot-api-excerpt.json")
_SCALARS: dict[str, tuple[type, ...]] = {
    "Integer": (int,),
    "String": (str,),
    "Boolean": (bool,),
    "Float": (int, float),
    "True": (bool,),
}


class SpecViolationError(AssertionError):
    """A request or an answer that the Bot API does not know."""


@cache
def _spec() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    return loaded


def check_request(method: str, fields: dict[str, Any]) -> None:
    """Raise `SpecViolationError` for an unknown method, an unknown or missing field, a wrong
    type.
    """
    known = _spec()["methods"].get(method)
    if known is None:
        raise SpecViolationError(f"the Bot API has no method {method} (in our excerpt)")
    _check_fields(f"request {method}", fields, known["fields"])


def check_answer(method: str, result: Any) -> None:
    """Raise `SpecViolationError` unless `result` is what the method returns."""
    returns = _spec()["methods"][method]["returns"]
    _check_any(f"answer to {method}", result, returns)


def _check_fields(where: str, value: dict[str, Any], fields: list[dict[str, Any]]) -> None:
    known = {field["name"]: field for field in fields}
    for name in value.keys() - known.keys():
        raise SpecViolationError(f"{where} has no field {name}")
    for name, field in known.items():
        if name in value:
            _check_any(f"{where}.{name}", value[name], field["types"])
        elif field["required"]:
            raise SpecViolationError(f"{where} needs {name}")


def _check_any(where: str, value: Any, types: list[str]) -> None:
    complaints = []
    for kind in types:
        try:
            _check(where, value, kind)
        except SpecViolationError as error:
            complaints.append(str(error))
        else:
            return
    raise SpecViolationError("; ".join(complaints))


def _check(where: str, value: Any, kind: str) -> None:
    if kind.startswith("Array of "):
        if not isinstance(value, list):
            raise SpecViolationError(f"{where} has to be a list")
        for index, item in enumerate(value):
            _check(f"{where}[{index}]", item, kind.removeprefix("Array of "))
        return
    if kind in _SCALARS:
        right = isinstance(value, _SCALARS[kind])
        if not right or (isinstance(value, bool) and kind in ("Integer", "Float")):
            raise SpecViolationError(f"{where} has to be {kind}, not {value!r}")
        return
    if kind == "InputFile":
        return
    known = _spec()["types"].get(kind)
    if known is None:
        raise SpecViolationError(f"{where}: our excerpt does not hold {kind}")
    if not isinstance(value, dict):
        raise SpecViolationError(f"{where} has to be {kind}")
    if known["subtypes"]:
        _check_any(where, value, known["subtypes"])
    else:
        _check_fields(where, value, known["fields"])
