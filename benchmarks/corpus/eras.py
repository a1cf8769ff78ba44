"""The eras of the transcript format, as data.

Promises: one frozen record an era, holding only what differs: where subagents live, which fields
exist, and how the log tells a request's output. Measured on real transcripts. Writes nothing.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

Telling = Literal["rarely", "grows", "placeholder", "sometimes", "rich-last", "every-row"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Era:
    """One stretch of client versions.

    `telling` says which rows know the output: "rarely" = a steady figure and seldom a stop reason;
    "grows" = 1, 1, then the truth, seldom a stop reason; "placeholder" = never; "sometimes" = it
    moves now and then, no stop reason; "rich-last" = the last row alone is final and rich;
    "every-row" = all rows carry the same final usage. `stop_share` is the share of requests that
    bear a stop reason.
    """

    version: str
    models: tuple[str, ...]
    telling: Telling
    stop_share: float
    rows_per_request: float
    subagents: Literal["none", "beside", "nested"]
    split_cache: bool = True
    geo: bool = False
    slug: bool = False
    entrypoint: bool = False
    summaries: bool = False
    snapshots: bool = True
    attachments: bool = False
    progress: bool = False
    iterations: bool = False
    block_index: bool = False
    cost_state: bool = False


OLD_MODELS = ("claude-sonnet-4-20250514", "claude-opus-4-20250514", "claude-3-5-haiku-20241022")
MID_MODELS = ("claude-opus-4-5-20251101", "claude-sonnet-4-5-20250929", "claude-haiku-4-5-20251001")
NEW_MODELS = ("claude-opus-4-6", "claude-sonnet-4-6", "claude-haiku-4-5-20251001")
NEWEST_MODELS = ("claude-opus-5", "claude-opus-4-8", "claude-sonnet-5", "claude-haiku-4-5-20251001")

ERAS = (
    Era(
        version="1.0.17",
        models=OLD_MODELS,
        telling="rarely",
        stop_share=0.2,
        rows_per_request=1.4,
        subagents="none",
        split_cache=False,
        summaries=True,
        snapshots=False,
    ),
    Era(
        version="1.0.98",
        models=OLD_MODELS,
        telling="rarely",
        stop_share=0.25,
        rows_per_request=1.6,
        subagents="none",
        summaries=True,
    ),
    Era(
        version="2.0.76",
        models=MID_MODELS,
        telling="grows",
        stop_share=0.1,
        rows_per_request=2.4,
        subagents="beside",
        slug=True,
        summaries=True,
    ),
    Era(
        version="2.1.1",
        models=MID_MODELS,
        telling="grows",
        stop_share=0.1,
        rows_per_request=2.4,
        subagents="beside",
        slug=True,
    ),
    Era(
        version="2.1.7",
        models=MID_MODELS,
        telling="grows",
        stop_share=0.12,
        rows_per_request=2.4,
        subagents="nested",
        slug=True,
    ),
    Era(
        version="2.1.20",
        models=MID_MODELS,
        telling="placeholder",
        stop_share=0.0,
        rows_per_request=2.3,
        subagents="nested",
        slug=True,
        progress=True,
    ),
    Era(
        version="2.1.45",
        models=NEW_MODELS,
        telling="sometimes",
        stop_share=0.01,
        rows_per_request=2.0,
        subagents="nested",
        geo=True,
        slug=True,
        progress=True,
    ),
    Era(
        version="2.1.76",
        models=NEW_MODELS,
        telling="rich-last",
        stop_share=0.96,
        rows_per_request=2.1,
        subagents="nested",
        geo=True,
        slug=True,
        progress=True,
        iterations=True,
    ),
    Era(
        version="2.1.98",
        models=NEW_MODELS,
        telling="every-row",
        stop_share=1.0,
        rows_per_request=2.1,
        subagents="nested",
        geo=True,
        slug=True,
        entrypoint=True,
        attachments=True,
        iterations=True,
    ),
    Era(
        version="2.1.181",
        models=NEWEST_MODELS,
        telling="every-row",
        stop_share=1.0,
        rows_per_request=2.3,
        subagents="nested",
        geo=True,
        entrypoint=True,
        attachments=True,
        iterations=True,
        block_index=True,
        cost_state=True,
    ),
)


def row_count(era: Era, rng: random.Random) -> int:
    """How many rows a request gets: one content block each."""
    whole = int(era.rows_per_request)
    extra = rng.random() < era.rows_per_request - whole
    return max(1, whole + extra + rng.choice((-1, 0, 0, 0, 1)))


def outputs_told(era: Era, true_output: int, rows: int, rng: random.Random) -> list[int]:
    """The `output_tokens` that each of `rows` rows shows, first to last."""
    placeholder = rng.randint(1, 8)
    match era.telling:
        case "rarely":
            moves = rows > 1 and rng.random() < 0.07
            return [true_output * 4 // 5 if moves else true_output] + [true_output] * (rows - 1)
        case "grows" | "rich-last":
            return [placeholder] * (rows - 1) + [true_output]
        case "placeholder":
            return [placeholder] * rows
        case "sometimes":
            last = true_output if rng.random() < 0.2 else placeholder
            return [placeholder] * (rows - 1) + [last]
        case "every-row":
            return [true_output] * rows
