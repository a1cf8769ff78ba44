"""What has been read and not yet committed: requests, marks, skips and cost states that belong
together.

A batch is committed whole or not at all, so that a mark never runs ahead of the rows it stands
for. It grows with the number of requests, not of bytes, and says how large it is so that the
reader can stop in time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from instar_host.store.tail import Mark
from instar_tokenledger.accounting import Request, absorb_row, greatest, request_of
from instar_tokenledger.usage import CostState, Decoded, UsageRow

TOO_LONG = "too-long"


class FileProgress(msgspec.Struct, kw_only=True):
    """How far one file has come in this batch, and what could not be read on the way."""

    source: str
    mark: Mark
    state: bytes
    restarted: bool
    """True when the file was read from its beginning: what was skipped before no longer counts."""
    skips: dict[str, int]


Lone = tuple[bytes, UsageRow]
"""A file and its row: a request that a batch knows by one row only. Most are, and need not be made
a `Request`."""

Key = tuple[str, str]
"""(message id, request id) of a request's rows; (`ROW_ID`, row id) where there is neither."""

ROW_ID = "\ud800"
"""What no id can be: no text that was decoded holds half a surrogate pair."""


class Batch:
    """An uncommitted batch. Requests are keyed by the ids of their rows, within each source."""

    def __init__(self) -> None:
        self.requests: dict[str, dict[Key, Request | Lone]] = {}
        self.readings: dict[str, list[tuple[bytes, UsageRow]]] = {}
        """Rows of cumulative sources, with their files."""
        self.cost_states: dict[tuple[str, str], CostState] = {}
        self.files: dict[bytes, FileProgress] = {}
        self.rows = 0

    @property
    def empty(self) -> bool:
        return not self.files

    def add(self, source: str, path: bytes, decoded: Decoded) -> None:
        """Take in what a snapshot source made of some lines of `path`."""
        self._add_rows(self.requests.setdefault(source, {}), path, decoded.rows)
        self._add_costs(decoded.cost_states)

    def add_readings(self, source: str, path: bytes, decoded: Decoded) -> None:
        """Take in what a cumulative source made of some lines of `path`."""
        self.readings.setdefault(source, []).extend((path, row) for row in decoded.rows)
        self.rows += len(decoded.rows)
        self._add_costs(decoded.cost_states)

    def reach(
        self,
        path: bytes,
        source: str,
        mark: Mark,
        state: bytes,
        skips: Mapping[str, int],
        *,
        restarted: bool,
    ) -> None:
        """Note that `path` has been read up to `mark`, with `skips` lines passed over on the way
        there."""
        known = self.files.get(path)
        total = dict(known.skips) if known and not restarted else {}
        for reason, lines in skips.items():
            total[reason] = total.get(reason, 0) + lines
        self.files[path] = FileProgress(
            source=source,
            mark=mark,
            state=state,
            restarted=restarted or (known is not None and known.restarted),
            skips=total,
        )

    def _add_rows(
        self, requests: dict[Key, Request | Lone], path: bytes, rows: Sequence[UsageRow]
    ) -> None:
        self.rows += len(rows)
        for row in rows:
            key = (row.message_id, row.request_id)
            if not (key[0] or key[1]):
                key = (ROW_ID, row.row_id)
            known = requests.setdefault(key, lone := (path, row))
            if known is lone:
                continue
            if isinstance(known, tuple):
                known = requests[key] = request_of(known[1], known[0])
            absorb_row(known, row, path)

    def _add_costs(self, states: Sequence[CostState]) -> None:
        for state in states:
            key = (state.session, state.model)
            known = self.cost_states.get(key)
            self.cost_states[key] = (
                state
                if known is None
                else CostState(
                    session=state.session,
                    model=state.model,
                    counters=greatest(state.counters, known.counters),
                    cost_micro_usd=max(state.cost_micro_usd, known.cost_micro_usd),
                )
            )
