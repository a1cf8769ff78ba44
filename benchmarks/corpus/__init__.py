"""A deterministic corpus of transcripts with exact ground truth; shares nothing with the ingest.

Promises: standard library only. `build` writes a tree of every hard case and knows its truth;
`truth_of_tree` reads any tree again from scratch; `answers` renders a truth as the product's JSON.
"""

from __future__ import annotations

from benchmarks.corpus.answers import answers, models, projects, series, sessions, summary
from benchmarks.corpus.building import START_MS, Corpus, build
from benchmarks.corpus.disk import read_tree, truth_of_tree
from benchmarks.corpus.growing import reveal, sizes_of
from benchmarks.corpus.model import Counters, Iteration, Row, Truth
from benchmarks.corpus.programs import (
    emit_line,
    emit_lines,
    lay,
    partitioned,
    random_rows,
    rows_permuted,
    slices,
)
from benchmarks.corpus.truth import truth_of

__all__ = [
    "START_MS",
    "Corpus",
    "Counters",
    "Iteration",
    "Row",
    "Truth",
    "answers",
    "build",
    "emit_line",
    "emit_lines",
    "lay",
    "models",
    "partitioned",
    "projects",
    "random_rows",
    "read_tree",
    "reveal",
    "rows_permuted",
    "series",
    "sessions",
    "sizes_of",
    "slices",
    "summary",
    "truth_of",
    "truth_of_tree",
]
