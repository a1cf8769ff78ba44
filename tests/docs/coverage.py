"""What is registered and named by no test."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

from docs.registered import Registered, children, fields, parser_of
from instar_host.records import Route

TESTS = Path(__file__).parents[1]


def texts_of_tests() -> list[str]:
    """The text of every test but those of the documentation."""
    return [
        path.read_text(encoding="utf-8")
        for path in sorted(TESTS.rglob("*.py"))
        if path.parent != Path(__file__).parent
    ]


def unnamed(found: Registered, texts: list[str]) -> list[str]:
    """Hooks, settings, routes and commands that none of the texts names."""
    text = "\n".join(texts)
    return [name for name, pattern in patterns(found) if not re.search(pattern, text)]


def patterns(found: Registered) -> Iterator[tuple[str, str]]:
    """What is registered, each with what a test that is about it says somewhere."""
    for hooks in found.specifications.values():
        for hook in hooks:
            yield f"the hook {hook.__name__}", rf"\b{hook.__name__}\b"
    for section, doc in fields(found):
        snake = re.sub(r"(?=[A-Z])", "_", doc.key).lower()
        yield f"the setting {section}.{doc.key}", rf"\b({doc.key}|{snake})\b"
    for routes in found.routes.values():
        for route in routes:
            yield f"the route {route.method} {route.path}", _of_route(route)
    for commands in found.commands.values():
        for command in commands:
            yield from _of_command((command.name,), parser_of(command))


def _of_route(route: Route) -> str:
    """The path, in a line that says the method where that is not GET."""
    fixed = [re.escape(part) for part in re.split(r"\{[^}]*\}", route.path)]
    path = r"[^/\s]+".join(fixed) + r"(?![\w/-])"
    if route.method == "GET":
        return path
    method = rf"(?i:\b{route.method}\b)"
    return rf"{method}[^\n]*{path}|{path}[^\n]*{method}"


def _of_command(
    words: tuple[str, ...], parser: argparse.ArgumentParser
) -> Iterator[tuple[str, str]]:
    inner = children(parser)
    if not inner:
        between = r"[\"', \n\[\]\(]{1,20}"
        yield f"the command {' '.join(words)}", r"\b" + between.join(words) + r"\b"
    for name, child in inner.items():
        yield from _of_command((*words, name), child)
