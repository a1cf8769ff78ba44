"""The records that hooks give and take, with the words that stand beside their fields.

Reads the words from the source, because Python keeps no docstrings of fields.
"""

from __future__ import annotations

import ast
import copy
import inspect
import sys
import typing
from collections.abc import Iterable
from functools import cache
from types import FunctionType
from typing import Any, NamedTuple

import msgspec

import instar_host
import instar_threadline
import instar_tokenledger
from instar_host.config import Config

PUBLIC = (instar_host, instar_tokenledger, instar_threadline)

HIDDEN: tuple[type, ...] = (Config,)
"""Classes with pages of their own."""


class Field(NamedTuple):
    """One field, or one method of a protocol."""

    name: str
    kind: str
    default: str
    doc: str


class Shape(NamedTuple):
    """One record."""

    name: str
    package: str
    """Where a plugin imports it from; empty when it cannot."""
    doc: str
    fields: tuple[Field, ...]


def reachable(hooks: Iterable[FunctionType]) -> list[type]:
    """Every record of ours in the signatures of some hooks, or in a field of one that is."""
    found: dict[type, None] = {}
    waiting = [cls for hook in hooks for cls in _classes(_hints(hook).values())]
    while waiting:
        cls = waiting.pop(0)
        if cls not in found and _is_record(cls):
            found[cls] = None
            waiting += _classes(_hints(cls).values())
    return list(found)


def shape_of(cls: type) -> Shape:
    """Name, words and fields of a record."""
    body = _class(cls).body
    spelled = _spelled(cls.__module__)
    fields = [
        _field(spelled.visit(node), _words(body, at + 1))
        for at, node in enumerate(body)
        if _is_field(node)
    ]
    if getattr(cls, "_is_protocol", False):
        fields += [_method(node) for node in body if isinstance(node, ast.FunctionDef)]
    return Shape(cls.__name__, _package(cls), inspect.getdoc(cls) or "", tuple(fields))


def _package(cls: type) -> str:
    names = (one.__name__ for one in PUBLIC if getattr(one, cls.__name__, None) is cls)
    return next(names, "")


def _hints(owner: FunctionType | type) -> dict[str, Any]:
    """Annotations as types. Some name what is imported for type checkers only."""
    names = vars(sys.modules[owner.__module__]) | _checkers_names()
    methods = _methods(owner) if getattr(owner, "_is_protocol", False) else []
    found: dict[str, Any] = {}
    for at, one in enumerate((owner, *methods)):
        try:
            hints = typing.get_type_hints(one, names)
        except NameError:
            continue
        found |= {f"{at} {name}": hint for name, hint in hints.items()}
    return found


def _methods(owner: FunctionType | type) -> list[FunctionType]:
    return [one for one in vars(owner).values() if isinstance(one, FunctionType)]


@cache
def _checkers_names() -> dict[str, Any]:
    from instar_host.plugins import Plugins

    return {"Config": Config, "Plugins": Plugins}


def _classes(hints: Iterable[Any]) -> list[type]:
    """The classes named anywhere inside some annotations."""
    found: list[type] = []
    for hint in hints:
        if isinstance(hint, type) and not typing.get_args(hint):
            found.append(hint)
        else:
            inner = [a for a in typing.get_args(hint) if not isinstance(a, str | bytes | int)]
            found += _classes(i for a in inner for i in (a if isinstance(a, list) else [a]))
    return found


def _is_record(cls: type) -> bool:
    kinds = issubclass(cls, msgspec.Struct | tuple) or getattr(cls, "_is_protocol", False)
    return bool(kinds) and cls.__module__.startswith("instar_") and cls not in HIDDEN


class _Spelled(ast.NodeTransformer):
    """Writes out the short names that a module gives to types: `Method`, `Endpoint`."""

    def __init__(self, short: dict[str, ast.expr]) -> None:
        self._short = short

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AnnAssign:
        spelled = ast.AnnAssign(**dict(ast.iter_fields(node)))
        spelled.annotation = self.visit(copy.deepcopy(node.annotation))
        return spelled

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self._short.get(node.id, node)


@cache
def _spelled(module: str) -> _Spelled:
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    given = (one for one in tree.body if isinstance(one, ast.Assign))
    aliases = {ast.unparse(one.targets[0]): one.value for one in given if _is_type(one.value)}
    return _Spelled(aliases)


def _is_type(value: ast.expr) -> bool:
    kinds = ("Literal", "Callable")
    return isinstance(value, ast.Subscript) and ast.unparse(value.value) in kinds


@cache
def _class(cls: type) -> ast.ClassDef:
    tree = ast.parse(inspect.getsource(sys.modules[cls.__module__]))
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == cls.__name__:
            return node
    raise LookupError(cls)


def _is_field(node: ast.stmt) -> typing.TypeGuard[ast.AnnAssign]:
    return isinstance(node, ast.AnnAssign)


def _field(node: ast.AnnAssign, words: str) -> Field:
    return Field(
        ast.unparse(node.target), ast.unparse(node.annotation), _default(node.value), words
    )


def _method(node: ast.FunctionDef) -> Field:
    arguments = ast.unparse(node.args).removeprefix("self").removeprefix(", ")
    answer = ast.unparse(node.returns) if node.returns else "None"
    return Field(f"{node.name}({arguments})", answer, "", ast.get_docstring(node) or "")


def _default(value: ast.expr | None) -> str:
    """The default as a person would write it: what a factory makes, not the factory."""
    if not isinstance(value, ast.Call) or not ast.unparse(value.func).endswith("field"):
        return "" if value is None else ast.unparse(value)
    for keyword in value.keywords:
        if keyword.arg == "default":
            return ast.unparse(keyword.value)
        if keyword.arg == "default_factory":
            made = keyword.value
            empty = {"dict": "{}", "list": "[]"}
            return empty.get(ast.unparse(made)) or ast.unparse(
                made.body if isinstance(made, ast.Lambda) else made
            )
    return ""


def _words(body: list[ast.stmt], at: int) -> str:
    if at >= len(body):
        return ""
    node = body[at]
    is_words = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return str(node.value.value) if is_words else ""  # type: ignore[attr-defined]
