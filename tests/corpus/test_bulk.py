"""The bulk writer: totals by arithmetic equal totals by reading."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.corpus import models, read_tree, summary, truth_of_tree
from benchmarks.corpus.__main__ import main
from benchmarks.corpus.bulk import Shape, build_bulk


@pytest.mark.parametrize("shape", ["tail", "even", "giant"])
def test_arithmetic_equals_reading(tmp_path: Path, shape: Shape) -> None:
    """What the writer added up is what a plain reader finds, to the token."""
    wrote = build_bulk(tmp_path, seed=3, files=23, total_bytes=3_000_000, shape=shape)
    truth = truth_of_tree(tmp_path)
    said = summary(truth)
    assert (said["totalInput"], said["totalOutput"]) == (wrote.input, wrote.output)
    assert (said["totalCacheCreate"], said["totalCacheRead"]) == (
        wrote.cache_create,
        wrote.cache_read,
    )
    assert said["totalTokens"] == wrote.total_tokens
    assert (said["eventCount"], said["sessionsActive"]) == (wrote.requests, wrote.sessions)
    assert (said["oldestEventTs"], said["newestEventTs"]) == (wrote.oldest_ts, wrote.newest_ts)
    assert said["partial"]["requests"] == wrote.partial_requests > 0
    assert said["partial"]["estimatedOutput"] == wrote.estimated_output > 0
    assert {row["model"]: row["totalTokens"] for row in models(truth)} == wrote.tokens_by_model
    assert truth.skips == {}


def test_the_shape_is_that_of_real_trees(tmp_path: Path) -> None:
    """A quarter of the bytes on assistant lines, 2.4 rows a request, sizes as asked."""
    wrote = build_bulk(tmp_path, seed=1, files=40, total_bytes=6_000_000)
    sizes = [path.stat().st_size for path in tmp_path.rglob("*.jsonl")]
    assert (len(sizes), sum(sizes)) == (wrote.files, wrote.bytes)
    assert abs(wrote.bytes - 6_000_000) < 60_000
    assert 0.2 < wrote.assistant_bytes / wrote.bytes < 0.35
    assert 2.2 < wrote.rows / wrote.requests < 2.6
    assert len(read_tree(tmp_path).rows) == wrote.rows


def test_a_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    """The same arguments write the same tree; another seed shares no request with it."""
    for name, seed in (("one", 5), ("two", 5), ("other", 6)):
        build_bulk(tmp_path / name, seed=seed, files=8, total_bytes=200_000)
    trees = {
        name: {path.name: path.read_bytes() for path in (tmp_path / name).rglob("*.jsonl")}
        for name in ("one", "two")
    }
    assert trees["one"] == trees["two"]
    ids = [{row.message_id for row in read_tree(tmp_path / name).rows} for name in ("one", "other")]
    assert not ids[0] & ids[1]


@pytest.mark.parametrize(
    "extra", [["--sessions", "3"], ["--bulk", "--files", "4", "--bytes", "90KB"]]
)
def test_the_command_prints_totals(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], extra: list[str]
) -> None:
    """Both ways print one JSON object."""
    assert main(["--root", str(tmp_path), "--seed", "2", *extra]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["files"] == len(list(tmp_path.rglob("*.jsonl")))


def test_a_size_must_be_a_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A size that cannot be read is refused with an example of one that can."""
    with pytest.raises(SystemExit):
        main(["--root", str(tmp_path), "--bulk", "--bytes", "lots"])
    assert "write 2GB" in capsys.readouterr().err
