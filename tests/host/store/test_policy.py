"""The rules every connection follows, and the gate on the library itself."""

from __future__ import annotations

import ast
from pathlib import Path

import apsw
import pytest

from instar_host.store import policy
from instar_host.store.errors import UnsupportedSQLite

PACKAGES = ("instar_host", "instar_tokenledger", "instar_threadline")
PROJECT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("version", "safe"),
    [
        ("3.40.1", False),
        ("3.44.5", False),
        ("3.44.6", True),
        ("3.44.7", True),
        ("3.45.0", False),
        ("3.50.6", False),
        ("3.50.7", True),
        ("3.50.8", True),
        ("3.51.0", False),
        ("3.51.2", False),
        ("3.51.3", True),
        ("3.52.0", False),
        ("3.52.1", True),
        ("3.53.0", True),
        ("4.0.0", True),
        ("nonsense", False),
        ("", False),
    ],
)
def test_the_gate_lets_only_safe_libraries_pass(version: str, safe: bool) -> None:
    """D14: releases with the bug in the write-ahead log, or withdrawn, are refused with a cure."""
    if safe:
        policy.check_version(version)
        return
    with pytest.raises(UnsupportedSQLite, match="pip install --upgrade apsw"):
        policy.check_version(version)


def test_the_linked_library_is_safe() -> None:
    """The environment that the tests run in passes its own gate."""
    policy.check_version()


def test_a_connection_of_the_host_is_left_alone() -> None:
    """No rule is registered for the whole process: a connection we did not open has no policy."""
    before = list(apsw.connection_hooks)
    ours = apsw.Connection(":memory:")
    policy.apply(policy.writer_rules("FULL"), ours)
    theirs = apsw.Connection(":memory:")
    assert apsw.connection_hooks == before
    assert (ours.pragma("foreign_keys"), theirs.pragma("foreign_keys")) == (1, 0)
    assert (ours.pragma("trusted_schema"), theirs.pragma("trusted_schema")) == (0, 1)
    ours.close()
    theirs.close()


def test_every_rule_gives_its_reason() -> None:
    """A rule without a docstring is a superstition."""
    rules = {*policy.writer_rules("FULL"), *policy.writer_rules("NORMAL"), *policy.READER}
    assert all(len(rule.__doc__ or "") > 20 for rule in rules)


def test_no_code_of_ours_goes_around_the_storage_layer() -> None:
    """D13: no second SQLite library, and no plain open of a database file, in any package."""
    found = [
        f"{path.relative_to(PROJECT)}:{line}"
        for package in PACKAGES
        for path in sorted((PROJECT / package).rglob("*.py"))
        for line in forbidden_lines(path.read_text())
    ]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "import sqlite3",
        "import sqlite3.dbapi2 as s",
        "from sqlite3 import connect",
        "__import__('sqlite3')",
        "import importlib\nimportlib.import_module('sqlite3')",
        "open(base + '/x.db')",
        "shutil.copy('x.db-wal', y)",
        "os.open(f'{a}/ledger.db', 0)",
        "Path('x.db').read_bytes()",
        "apsw.connection_hooks.append(f)",
    ],
)
def test_the_search_finds_what_it_is_for(source: str) -> None:
    """The lint is not blind."""
    assert forbidden_lines(source)


def forbidden_lines(source: str) -> list[int]:
    """Return the lines that bring in sqlite3, hook all connections, or open a database plainly."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, (ast.Import, ast.ImportFrom, ast.Call, ast.Attribute))
        and _forbidden(node)
    ]


def _forbidden(node: ast.AST) -> bool:
    if isinstance(node, ast.Import):
        return any(alias.name.split(".")[0] == "sqlite3" for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        return (node.module or "").split(".")[0] == "sqlite3"
    if isinstance(node, ast.Attribute):
        return node.attr == "connection_hooks"
    assert isinstance(node, ast.Call)
    name = ast.unparse(node.func).split(".")[-1]
    if name in ("__import__", "import_module"):
        return "'sqlite3" in ast.unparse(node)
    plain = ("open", "copy", "copyfile", "copy2", "read_bytes", "read_text", "write_bytes")
    return name in plain and any(
        isinstance(part, ast.Constant)
        and isinstance(part.value, str | bytes)
        and (b".db" if isinstance(part.value, bytes) else ".db") in part.value  # type: ignore[operator]
        for part in ast.walk(node)
    )
