"""A follower of one file, and what its writer does: for the tests of the tail."""

from __future__ import annotations

from pathlib import Path

from instar_host.store.tail import Mark, TooLong, iter_lines, open_tail


class Reader:
    """One followed file: reads on from the mark it kept, as an ingest tick does."""

    def __init__(self, path: Path, *, block_bytes: int = 64, max_line_bytes: int = 1 << 16) -> None:
        self.path = path
        self.block_bytes, self.max_line_bytes = block_bytes, max_line_bytes
        self.kept: Mark | None = None
        self.verdict = ""
        self.unfinished: bytes | None = None
        self.skipped: list[TooLong] = []

    def tick(self, max_bytes: int | None = None) -> list[tuple[int, bytes]]:
        found: list[tuple[int, bytes]] = []
        with open_tail(
            self.path,
            self.kept,
            block_bytes=self.block_bytes,
            max_line_bytes=self.max_line_bytes,
        ) as opened:
            self.verdict = opened.verdict
            for block in opened.blocks(max_bytes=max_bytes):
                if isinstance(block, TooLong):
                    self.skipped.append(block)
                else:
                    found.extend(iter_lines(block))
            rest = opened.unfinished()
            self.unfinished = rest.data if rest else None
            self.kept = opened.mark()
        return found

    def lines(self, max_bytes: int | None = None) -> list[bytes]:
        return [line for _, line in self.tick(max_bytes)]


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def rewrite_in_place(path: Path, data: bytes) -> None:
    with path.open("r+b") as file:
        file.write(data)
        file.truncate()


def numbered(count: int, start: int = 0, width: int = 40) -> bytes:
    return b"".join(b"%0*d\n" % (width, start + i) for i in range(count))
