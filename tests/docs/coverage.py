"""What is registered and named by no test.

A name counts where a test would use it: a setting by its key or field, a route by its path beside
its method, a command by its words.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from docs.registered import Registered, children, fields, parser_of
from instar_host.records import Route

TESTS = Path(__file__).parents[1]

Named = Callable[[str], bool]
"""True when a text names it."""


def texts_of_tests() -> list[str]:
    """The text of every test file but those of the documentation, constant paths written out."""
    return [
        _without_constants(path.read_text(encoding="utf-8"))
        for path in sorted(TESTS.rglob("*.py"))
        if path.parent != Path(__file__).parent
    ]


def unnamed(found: Registered, texts: list[str]) -> list[str]:
    """Hooks, settings, routes and commands that none of the texts names."""
    return [what for what, named in everything(found) if not any(map(named, texts))]


def everything(found: Registered) -> Iterator[tuple[str, Named]]:
    """What is registered, each with how to know it in a test's text."""
    for hooks in found.specifications.values():
        for hook in hooks:
            yield f"the hook {hook.__name__}", _has(rf"\b{hook.__name__}\b")
    for section, doc in fields(found):
        snake = re.sub(r"(?=[A-Z])", "_", doc.key).lower()
        yield f"the setting {section}.{doc.key}", _has(rf"\b({doc.key}|{snake})\b")
    for routes in found.routes.values():
        for route in routes:
            yield f"the route {route.method} {route.path}", _has(_asked_for(route))
    for commands in found.commands.values():
        for command in commands:
            yield from _commands((command.name,), parser_of(command))


def _has(pattern: str) -> Named:
    compiled = re.compile(pattern)
    return lambda text: compiled.search(text) is not None


def _asked_for(route: Route) -> str:
    """The path, in a line that says the method where that is not GET."""
    fixed = [re.escape(part) for part in re.split(r"\{[^}]*\}", route.path)]
    path = r"[^/\s]+".join(fixed) + r"(?![\w/-])"
    if route.method == "GET":
        return path
    method = rf"(?i:\b{route.method}\b)"
    return rf"{method}[^\n]*{path}|{path}[^\n]*{method}"


def _commands(
    words: tuple[str, ...], parser: argparse.ArgumentParser
) -> Iterator[tuple[str, Named]]:
    inner = children(parser)
    if not inner:
        phrase = " ".join(words)
        yield (
            f"the command {phrase}",
            lambda text: phrase in text or all(f'"{word}"' in text for word in words),
        )
    for name, child in inner.items():
        yield from _commands((*words, name), child)


def _without_constants(text: str) -> str:
    """The text with constants that hold a path replaced by it."""
    for name, path in re.findall(r'^([A-Z_]+) = "(/[^"]*)"$', text, re.MULTILINE):
        text = text.replace(f"{{{name}}}", path)
        text = re.sub(rf"\b{name}\b", f'"{path}"', text)
    return re.sub(r'" \+ f?"', "", text)
