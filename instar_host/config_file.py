"""`config.json` as a file: read strictly, changed one member at a time.

Promises that a change replaces exactly the bytes of the member it names: every other member keeps
its order, its spelling and its layout, because the file is shared with programs that we do not
know. A change is whole or not at all (temporary file, fsync, rename), under a lock so that two
processes cannot lose each other's edit, and never leaves the file readable by others. A file that
cannot be understood is refused and left untouched.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from instar_host.errors import ConfigError, refused
from instar_host.store.errors import UnsafeFile
from instar_host.store.files import ensure_private_dir, write_atomic

MAX_FILE_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 64
INDENT = 2
_SPACE = " \t\n\r"
_CLOSE_ON_EXEC = os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK


def read(path: str) -> dict[str, Any]:
    """The file's object; empty when there is no file. Raises ConfigError, saying what is wrong
    where.
    """
    text = _text(path)
    return {} if text is None else parse(text, path)


def parse(text: str, origin: str) -> dict[str, Any]:
    """Strict JSON with an object on top: no duplicate key, no NaN, at most 64 levels. Raises
    ConfigError.
    """
    try:
        value = json.loads(
            text.removeprefix("\ufeff"), object_pairs_hook=_unique, parse_constant=_no_constant
        )
    except json.JSONDecodeError as exc:
        if not text.strip("\ufeff" + _SPACE):
            raise ConfigError(f"{origin} is empty; write {{}} into it, or delete it") from None
        raise ConfigError(
            f"{origin} is not JSON: {exc.msg} at line {exc.lineno}, column {exc.colno}; "
            "it was left as it is, please mend it"
        ) from None
    except RecursionError:
        raise ConfigError(f"{origin} is nested too deeply") from None
    except ValueError as exc:
        raise ConfigError(f"{origin}: {exc}; it was left as it is, please mend it") from None
    if not isinstance(value, dict):
        raise ConfigError(f"{origin} has to hold an object ({{...}}); it was left as it is")
    if _depth(value) > MAX_DEPTH:
        raise ConfigError(f"{origin} is nested more than {MAX_DEPTH} levels deep")
    return value


def update(path: str, member: Sequence[str], change: Callable[[Any], Any]) -> Any:
    """Replace the value at `member` (keys from the top) by `change(value or None)`; returns the new
    value.

    Nothing is written when the value does not change. Raises ConfigError; the file is then as it
    was.
    """
    _make_directory(os.path.dirname(path) or ".", path)
    with _locked(path + ".lock"):
        target = os.path.realpath(path)
        text = _text(target)
        values = {} if text is None else parse(text, path)
        before = lookup(values, member, path)
        after = change(before)
        if text is None or _dump(after, 0) != _dump(before, 0):  # 1 equals True, and is not it
            body = (text or "{}\n").removeprefix("\ufeff")
            _write(target, replace_member(body, member, after), path)
        return after


def lookup(values: Mapping[str, Any], member: Sequence[str], origin: str) -> Any:
    """The value at `member`, None when absent. Raises ConfigError when something on the way is no
    object.
    """
    here: Any = values
    for depth, key in enumerate(member):
        if not isinstance(here, Mapping):
            raise ConfigError(f"{origin}: {'.'.join(member[:depth])} has to be an object")
        here = here.get(key)
        if here is None:
            return None
    return here


def replace_member(text: str, member: Sequence[str], value: Any) -> str:
    """The JSON text with one member set, made where it is missing; all other characters as they
    were.
    """
    at = _skip(text, 0)
    for depth, key in enumerate(member):
        span = next(((a, b) for name, a, b in _members(text, at) if name == key), None)
        if span is None or (depth + 1 < len(member) and text[span[0]] != "{"):
            inner = value
            for missing in reversed(member[depth + 1 :]):
                inner = {missing: inner}
            if span is None:
                return _insert(text, at, key, inner, depth + 1)
            return text[: span[0]] + _dump(inner, depth + 1) + text[span[1] :]
        at = span[0]
        if depth + 1 == len(member):
            return text[:at] + _dump(value, depth + 1) + text[span[1] :]
    raise ValueError("a member needs at least one key")


def _text(path: str) -> str | None:
    try:
        fd = os.open(path, os.O_RDONLY | _CLOSE_ON_EXEC)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise ConfigError(f"{path} cannot be read: {exc.strerror}") from None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ConfigError(f"{path} is not a regular file")
        with open(fd, "rb", closefd=False) as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as exc:
        raise ConfigError(f"{path} cannot be read: {exc.strerror}") from None
    finally:
        os.close(fd)
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError(f"{path} is over {MAX_FILE_BYTES // 1024} KiB, which is no configuration")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path} is not UTF-8 (byte {exc.start}); it was left as it is") from None


def _make_directory(directory: str, shown: str) -> None:
    try:
        ensure_private_dir(directory)
    except UnsafeFile as exc:
        raise ConfigError(f"{shown} cannot be written: {exc}") from None
    except OSError as exc:
        raise refused(f"{directory} cannot be created", exc) from None


def _write(path: str, text: str, shown: str) -> None:
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode) & 0o600
    except FileNotFoundError:
        mode = 0o600
    try:
        write_atomic(path, text.encode("utf-8"), mode=mode)
    except OSError as exc:
        raise ConfigError(
            f"{shown} cannot be written: {exc.strerror}; it was left as it is"
        ) from None


@contextmanager
def _locked(path: str) -> Iterator[None]:
    """One writer at a time among processes; the kernel frees the lock of a writer that dies."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | _CLOSE_ON_EXEC, 0o600)
    except OSError as exc:
        raise refused(f"{path} cannot be opened for writing", exc) from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return values


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def _depth(value: Any) -> int:
    """Levels of nesting, without recursion: the parser lets more through than a stack likes."""
    deepest = 0
    todo: list[tuple[Any, int]] = [(value, 1)]
    while todo:
        here, level = todo.pop()
        deepest = max(deepest, level)
        inside = here.values() if isinstance(here, dict) else here if isinstance(here, list) else ()
        todo.extend((item, level + 1) for item in inside)
    return deepest


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at


def _members(text: str, at: int) -> Iterator[tuple[str, int, int]]:
    """(key, start, end) of each value of the object that begins at `at`; the text is known to be
    valid.
    """
    decode = json.JSONDecoder().raw_decode
    at = _skip(text, at + 1)
    while text[at] != "}":
        key, at = decode(text, at)
        start = _skip(text, _skip(text, at) + 1)
        _value, end = decode(text, start)
        yield key, start, end
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)


def _insert(text: str, at: int, key: str, value: Any, depth: int) -> str:
    """A new last member of the object that begins at `at`."""
    last = max((end for _name, _start, end in _members(text, at)), default=None)
    line = "\n" + " " * (INDENT * depth) + f"{json.dumps(key)}: {_dump(value, depth)}"
    if last is not None:
        return text[:last] + "," + line + text[last:]
    end = _skip(text, at + 1)
    return text[: at + 1] + line + "\n" + " " * (INDENT * (depth - 1)) + text[end:]


def _dump(value: Any, depth: int) -> str:
    """JSON indented as its place asks; a lone surrogate stays the escape that it has to be."""
    text = json.dumps(value, ensure_ascii=False, indent=INDENT)
    if any("\ud800" <= c <= "\udfff" for c in text):
        text = json.dumps(value, indent=INDENT)
    return text.replace("\n", "\n" + " " * (INDENT * depth))
