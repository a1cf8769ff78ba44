"""The made-up history of `instar serve --sample`."""

from __future__ import annotations

from pathlib import Path

from instar_host.testing import START_MS, MakeHost
from instar_tokenledger import answers
from instar_tokenledger.ingest import Budget
from instar_tokenledger.plugin import TokenLedgerPlugin
from instar_tokenledger.sample import PROJECTS, write_sample
from instar_tokenledger.windows import Window

DAY_MS = 24 * 60 * 60 * 1000


def test_a_sample_fills_the_page(tmp_path: Path, make_host: MakeHost) -> None:
    """Several projects and models, some weeks, the last day too; placeholders and a skip to see."""
    plugin = TokenLedgerPlugin()
    before = make_host([plugin])
    settings = plugin.instar_sample(before, tmp_path)
    service = plugin.service(make_host([plugin], dict(settings)))
    list(service.step(Budget(), lambda: False))
    ever, day = answers.EVERYTHING, Window(START_MS - DAY_MS, START_MS)
    with service.reading() as reading:
        assert len(answers.projects(reading, ever, 50, 0)["projects"]) == len(PROJECTS)
        assert len(answers.models(reading, ever, 50, 0)["models"]) == 3
        assert answers.summary(reading, day)["summary"]["sessionsActive"] >= 3
        whole = answers.summary(reading, ever)["summary"]
        assert whole["partial"]["requests"] > 0
        assert whole["newestEventTs"] < START_MS
        assert set(reading.totals.contents()["skips"]) == {"malformed"}
    service.close()


def test_a_sample_is_the_same_for_the_same_instant(tmp_path: Path) -> None:
    """Nothing is drawn from the machine: two samples of one instant are equal, and lie below their
    folder.
    """
    trees = []
    for name in ("one", "two"):
        root = write_sample(tmp_path / name, START_MS)
        assert root.is_relative_to(tmp_path / name)
        trees.append({p.relative_to(root): p.read_bytes() for p in root.rglob("*.jsonl")})
    assert trees[0] == trees[1]
    assert sum(map(len, trees[0].values())) < 10_000_000
