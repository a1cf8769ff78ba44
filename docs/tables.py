"""Markdown out of texts: tables, paragraphs, signatures. Knows nothing of what they say."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from types import FunctionType

_MARKUP = re.compile(r"(?<!`)([<>*_])(?!`)")


def page(blocks: Iterable[str]) -> str:
    """A whole page: blocks with an empty line between them."""
    return "\n\n".join(block for block in blocks if block) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; empty text where there are no rows."""
    cells = [[_cell(text) for text in row] for row in rows]
    if not cells:
        return "None."
    lines = [head, ["---"] * len(head), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def paragraph(doc: str | None, skip: int = 0) -> str:
    """A docstring as paragraphs, without the first `skip` of them."""
    blocks = re.split(r"\n\s*\n", inspect.cleandoc(doc or ""))[skip:]
    return "\n\n".join(" ".join(block.split()) for block in blocks)


def sentence(words: str) -> str:
    """The words as a sentence."""
    words = " ".join(words.split())
    return words[:1].upper() + words[1:] + ("" if words.endswith((".", ":")) or not words else ".")


def signature(function: FunctionType) -> str:
    """`name(arguments) -> answer`, as the source says it."""
    said = inspect.signature(function)
    arguments = ", ".join(f"{p.name}: {p.annotation}" for p in said.parameters.values())
    return f"{function.__name__}({arguments}) -> {said.return_annotation}"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
