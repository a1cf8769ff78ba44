"""`/tokens/*`, endpoint by endpoint: the original's keys, strict parameters, no lasting refusal."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import apsw
import msgspec
import pytest

from benchmarks.corpus import START_MS
from instar_host.endpoints import HttpError
from instar_host.records import Request, Response
from instar_tokenledger.routes import TokenRoutes
from tests.tokenledger.homes import SESSION, LedgerHome, clock_of, said
from tests.tokenledger.old_ledgers import make_old_ledger, old_row

DAY_MS = 86_400_000
PATHS = [
    "/tokens/summary", "/tokens/sessions", "/tokens/by-project", "/tokens/by-model",
    "/tokens/orphans", "/tokens/series", "/tokens/status",
]  # fmt: skip
WINDOWED = [path for path in PATHS if path not in ("/tokens/orphans", "/tokens/status")]
PAGED = ["/tokens/sessions", "/tokens/by-project", "/tokens/by-model", "/tokens/orphans"]


class Api:
    """The endpoints of a home, asked without a server between."""

    def __init__(self, home: LedgerHome) -> None:
        self._routes = {
            route.path: route for route in TokenRoutes(home.host, home.service).routes()
        }

    def ask(self, path: str, **query: str | list[str]) -> Any:
        """The JSON of a 200. Raises HttpError."""
        return self._ask(path, {}, query)

    def session(self, name: str, **query: str | list[str]) -> Any:
        """The same for one session."""
        return self._ask("/tokens/sessions/{id}", {"id": name}, query)

    def refusal(self, path: str, **query: str | list[str]) -> HttpError:
        """The error that a request is answered with."""
        with pytest.raises(HttpError) as caught:
            self.ask(path, **query)
        assert "Traceback" not in caught.value.error
        return caught.value

    def _ask(self, path: str, params: dict[str, str], query: Mapping[str, str | list[str]]) -> Any:
        values = {
            name: (value,) if isinstance(value, str) else tuple(value)
            for name, value in query.items()
        }
        request = Request(method="GET", path=path, params=params, query=values)
        answer = self._routes[path].endpoint(request)
        assert isinstance(answer, Response)
        assert isinstance(answer.body, bytes)
        assert answer.status == 200
        return msgspec.json.decode(answer.body)


@pytest.fixture
def api(home: LedgerHome) -> Api:
    """Two requests of today and one of two days ago, asked at the end of the day."""
    clock_of(home).set(START_MS + DAY_MS)
    home.write(
        SESSION,
        said("m1", "r1"),
        said("m2", "r2", session="session-2", cwd="/other", ts=START_MS + 3_600_000, output=1),
        said("m3", "r3", ts=START_MS - DAY_MS),
    )
    home.scan()
    return Api(home)


def test_the_summary_has_the_originals_keys(api: Api) -> None:
    """A3: the nine keys of 0.28 in their order, and what is new after them."""
    found = api.ask("/tokens/summary", since="0")
    assert found["sinceMs"] == 0
    assert list(found["summary"]) == [
        "totalTokens", "totalInput", "totalOutput", "totalCacheRead", "totalCacheCreate",
        "eventCount", "sessionsActive", "oldestEventTs", "newestEventTs", "kinds", "partial",
    ]  # fmt: skip
    assert found["summary"]["eventCount"] == 3


def test_sessions_have_the_originals_keys(api: Api) -> None:
    """A3: `{sinceMs, limit, sessions}` with six keys a session, most tokens first."""
    found = api.ask("/tokens/sessions", since="0")
    assert (found["limit"], found["total"]) == (20, 2)
    assert [row["sessionId"] for row in found["sessions"]] == ["session-1", "session-2"]
    keys = ["sessionId", "projectPath", "totalTokens", "eventCount", "firstTs", "lastTs"]
    assert list(found["sessions"][0]) == keys


def test_projects_have_the_originals_keys(api: Api) -> None:
    """A3: `{sinceMs, projects}` with four keys a project."""
    found = api.ask("/tokens/by-project", since="0")
    keys = ["projectPath", "totalTokens", "eventCount", "sessionCount"]
    assert [list(row) for row in found["projects"]] == [keys, keys]


def test_orphans_have_the_originals_keys(api: Api) -> None:
    """A3: `{idleMs, orphans}`, the latest first, half an hour unless `idleMs` says otherwise."""
    found = api.ask("/tokens/orphans")
    assert found["idleMs"] == 1_800_000
    assert [row["sessionId"] for row in found["orphans"]] == ["session-2", "session-1"]
    keys = ["sessionId", "projectPath", "lastTs", "totalTokens", "idleMs"]
    assert list(found["orphans"][0]) == keys
    assert api.ask("/tokens/orphans", idleMs=str(DAY_MS - 1))["orphans"] != found["orphans"]


def test_since_is_a_day_ago_unless_said(api: Api) -> None:
    """A3: without `since` the last 24 hours are meant, and the answer says from when."""
    found = api.ask("/tokens/summary")
    assert (found["sinceMs"], found["summary"]["eventCount"]) == (START_MS, 2)


@pytest.mark.parametrize(
    ("since", "until", "count"),
    [
        (str(START_MS), None, 2), (str(START_MS + 1), None, 1), ("0", str(START_MS), 1),
        ("0", str(START_MS + 1), 2), ("2026-01-05T00:00:00Z", None, 2), ("7d", None, 3),
        ("2026-01-05T01:00:00+01:00", "2026-01-05T00:00:00.001Z", 1), ("0", "0", 0),
    ],
)  # fmt: skip
def test_a_window_is_exact(api: Api, since: str, until: str | None, count: int) -> None:
    """`since` is inclusive, `until` exclusive, in epoch milliseconds, spans or ISO 8601."""
    found = api.ask("/tokens/summary", since=since, until=[until] if until else [])
    assert found["summary"]["eventCount"] == count


@pytest.mark.parametrize("path", WINDOWED)
@pytest.mark.parametrize(
    "value",
    ["", "-1", "1.5", "yesterday", "2026-01-05", "2026-01-05T00:00:00", "9" * 17, "1e3", "\u0661",
     "0x1"],
)  # fmt: skip
def test_a_since_that_cannot_be_is_a_400(api: Api, path: str, value: str) -> None:
    """No silent default: what is not an instant, or is local to nobody knows where, is refused."""
    assert api.refusal(path, since=value).status == 400
    assert api.refusal(path, until=value).status == 400


@pytest.mark.parametrize("path", WINDOWED)
@pytest.mark.parametrize("hours", [0, 12, 48])
def test_a_window_that_ends_before_it_begins_is_empty(api: Api, path: str, hours: int) -> None:
    """Whatever lies between its ends, or across them, is not inside it."""
    since, until = START_MS + 2 * DAY_MS, START_MS - DAY_MS + hours * 3_600_000
    found = api.ask(path, since=str(since), until=str(until))
    if path == "/tokens/summary":
        summary = found["summary"]
        assert (summary["eventCount"], summary["sessionsActive"]) == (0, 0)
    else:
        assert [row for rows in found.values() if isinstance(rows, list) for row in rows] == []


@pytest.mark.parametrize("path", PAGED)
@pytest.mark.parametrize("value", ["0", "501", "-1", "1.0", "", "many", "9" * 30])
def test_a_limit_out_of_range_is_a_400(api: Api, path: str, value: str) -> None:
    """Every list is bounded, and the bound is said."""
    refusal = api.refusal(path, limit=value)
    assert (refusal.status, "1 to 500" in refusal.error) == (400, True)


@pytest.mark.parametrize("path", PAGED)
def test_pages_put_together_are_the_whole_list(api: Api, path: str) -> None:
    """`limit` and `offset` cut the list and leave nothing out."""
    (name,) = [k for k, v in api.ask(path, since="0").items() if isinstance(v, list)]
    whole = api.ask(path, since="0")[name]
    pages = [
        api.ask(path, since="0", limit="1", offset=str(i))[name] for i in range(len(whole) + 1)
    ]
    assert [row for page in pages for row in page] == whole


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/tokens/summary", {"since": ["1", "2"]}),
        ("/tokens/sessions", {"limit": ["1", "2"]}),
        ("/tokens/orphans", {"idleMs": "0"}),
        ("/tokens/orphans", {"idleMs": "soon"}),
        ("/tokens/series", {"bucket": "year"}),
        ("/tokens/series", {"tz": "Mars/Olympus"}),
        ("/tokens/series", {"tz": "../../../etc/passwd"}),
        ("/tokens/series", {"tz": "\0"}),
        ("/tokens/series", {"tz": "x" * 5000}),
    ],
)
def test_other_parameters_that_cannot_be_are_a_400(
    api: Api, path: str, query: dict[str, str | list[str]]
) -> None:
    """A parameter given twice, or with a value that does not exist, is refused by name."""
    assert api.refusal(path, **query).status == 400


def test_a_series_is_by_the_day_of_the_zone_asked_for(api: Api) -> None:
    """Buckets begin at local midnight of `tz`, UTC unless said."""
    utc = api.ask("/tokens/series", since="0")
    assert (utc["bucket"], utc["tz"], len(utc["series"])) == ("day", "UTC", 2)
    there = api.ask("/tokens/series", since="0", tz="Asia/Kathmandu", bucket="day")
    assert {row["start"] % DAY_MS for row in there["series"]} == {DAY_MS - 20_700_000}


def test_a_session_down_to_its_lines(api: Api, home: LedgerHome) -> None:
    """One session with its requests, each with the file and offset it came from."""
    found = api.session("session-1")
    assert found["session"]["eventCount"] == 2
    assert [row["requestId"] for row in found["requests"]] == ["r3", "r1"]
    assert found["requests"][1]["file"] == str(home.claude / SESSION)
    assert len(api.session("session-1", limit="1", offset="1")["requests"]) == 1


@pytest.mark.parametrize("name", ["nobody", "", "\0", "../../etc/passwd", "x" * 10_000, "'; --"])
def test_an_unknown_session_is_a_404(api: Api, name: str) -> None:
    """A session that is not there is not found, whatever it is called."""
    with pytest.raises(HttpError) as caught:
        api.session(name)
    assert caught.value.status == 404


@pytest.mark.parametrize("path", PATHS)
def test_an_empty_ledger_answers(home: LedgerHome, path: str) -> None:
    """TL-20: before anything was read there are zeros, nulls and empty lists, not an error."""
    found = Api(home).ask(path)
    if path == "/tokens/summary":
        assert found["summary"]["eventCount"] == found["summary"]["totalTokens"] == 0
        assert found["summary"]["oldestEventTs"] is None
    assert not os.path.exists(home.database)


@pytest.mark.parametrize("path", PATHS)
def test_a_ledger_taken_over_answers(home: LedgerHome, path: str) -> None:
    """D17: what 0.28 knew is answered by every route."""
    make_old_ledger(home.database, [old_row("r1"), old_row("r2", project_path=None, model=None)])
    home.scan()
    found = Api(home).ask(path, since="0")
    if path == "/tokens/by-project":
        assert [row["projectPath"] for row in found["projects"]] == [None, "/home/dev/app"]
    if path == "/tokens/summary":
        assert found["summary"]["eventCount"] == 2


@pytest.mark.parametrize("path", PATHS)
def test_a_ledger_that_cannot_be_read_is_a_503_for_as_long_as_that_lasts(
    api: Api, home: LedgerHome, path: str
) -> None:
    """C-HT-00: a store that fails once is asked again, and answers as soon as it can."""
    home.service.close()
    os.rename(home.database, home.database + ".away")
    os.mkdir(home.database)
    refusal = api.refusal(path)
    assert (refusal.status, str(home.state_dir) in refusal.error) == (503, False)
    os.rmdir(home.database)
    os.rename(home.database + ".away", home.database)
    assert api.ask(path)


def test_somebody_elses_database_is_a_503(home: LedgerHome) -> None:
    """D8: a foreign file at our path is neither read nor touched."""
    os.makedirs(os.path.dirname(home.database), mode=0o700)
    connection = apsw.Connection(home.database)
    connection.execute("CREATE TABLE recipes (name TEXT); INSERT INTO recipes VALUES ('soup')")
    connection.close()
    assert Api(home).refusal("/tokens/summary").status == 503


def test_status_says_how_reading_fares(api: Api) -> None:
    """State, files, bytes, skips and trouble, for the page and for a person with curl."""
    found = api.ask("/tokens/status")
    assert (found["state"], found["trouble"], found["requests"]) == ("up-to-date", None, 3)
    assert found["files"] == {"read": 1, "seen": 1, "waiting": 0, "tooOld": 0}


def test_answers_agree_while_the_ledger_grows(api: Api, home: LedgerHome) -> None:
    """One answer is one snapshot: a commit between its questions changes nothing in it."""
    with home.reading() as reading:
        before = reading.totals.contents()
        home.append(SESSION, said("m9", "r9"))
        home.scan()
        assert reading.totals.contents() == before
    assert api.ask("/tokens/status")["requests"] == 4
