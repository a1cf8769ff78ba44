"""Inside Bub's gateway: what is Bub's own."""

from __future__ import annotations

import pytest

from tests.hosts import fake_model
from tests.hosts.inhabited import Inhabited

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(900)]


def test_its_tapes_are_a_source(bub: Inhabited) -> None:
    """A real turn of Bub is in the ledger, to the token, and once."""
    site = bub.begin()
    with fake_model.serving() as model:
        bub.run(
            "run", "say hi", BUB_MODEL="openai:fake-model", BUB_API_KEY="none",
            BUB_API_BASE=model.url,
        )  # fmt: skip
        calls = model.answers
    assert calls
    total = site.until(
        "/tokens/summary",
        lambda said: said["summary"]["totalOutput"] >= 34 * calls and said["summary"],
    )
    assert (total["totalInput"], total["totalCacheRead"]) == (200 * calls, 1000 * calls)
    assert total["totalOutput"] == 34 * calls
    bub.end(site.program)


def test_a_section_turns_it_off(bub: Inhabited) -> None:
    """Bub has no allow-list, so the section has a switch; commands work all the same."""
    bub.configure({"enabled": False, "stateDir": str(bub.state_dir)})
    done = bub.attempt(*bub.command)
    assert "No channels are enabled" in done.stderr + done.stdout
    assert "No requests" in bub.run("instar", "tokens", "summary")
    assert not bub.state_dir.exists()
