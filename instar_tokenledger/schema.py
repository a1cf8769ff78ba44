"""The tables of the ledger, and how a file of an older shape becomes one of this shape.

Ids and texts that repeat are kept once and pointed at, so that a request costs about 150 bytes
with both of its ids, its provenance and its indexes. Nothing here reads a transcript or knows a
rule of the accounting.
"""

from __future__ import annotations

from instar_host.store.sqlite import Migration
from instar_tokenledger import ids
from instar_tokenledger.reshaping import Reshape

APPLICATION_ID = 0x494E544C
"""`INTL`: what marks a database file as a ledger of ours."""

PARTIAL = "flags & 4 = 0 AND output <= 10"
"""SQL for: a placeholder, its real output was never logged."""

COUNTERS = (
    "input", "output", "cache_create", "cache_read", "cache_5m", "cache_1h", "web_searches",
    "web_fetches", "thinking",
)  # fmt: skip

_COUNTER_COLUMNS = ", ".join(f"{name} INTEGER NOT NULL DEFAULT 0" for name in COUNTERS)

QUARTER_MS = 15 * 60 * 1000
DAY_MS = 24 * 60 * 60 * 1000
DAYS_A_BLOCK = 32

TABLES = f"""
CREATE TABLE sources (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
-- Long names, each once, found by a number made of them (of a file, of its whole path): an index
-- over the names would keep them twice.
CREATE TABLE sessions (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, number INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_number ON sessions (number);
CREATE TABLE folders (
    id INTEGER PRIMARY KEY, path BLOB NOT NULL, number INTEGER NOT NULL
) STRICT;
CREATE INDEX folders_number ON folders (number);
CREATE TABLE files (
    id INTEGER PRIMARY KEY,
    folder INTEGER NOT NULL REFERENCES folders,
    name BLOB NOT NULL,
    number INTEGER NOT NULL
) STRICT;
CREATE INDEX files_number ON files (number);

-- How far each file has been read. A row goes when its file has gone; what was read stays.
CREATE TABLE marks (
    file INTEGER PRIMARY KEY REFERENCES files,
    source INTEGER NOT NULL REFERENCES sources,
    offset INTEGER NOT NULL,
    dev INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    size INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL,
    skipping INTEGER NOT NULL,
    guard BLOB NOT NULL,
    state BLOB
) STRICT;
CREATE TABLE skips (
    file INTEGER NOT NULL REFERENCES files,
    reason TEXT NOT NULL,
    lines INTEGER NOT NULL,
    PRIMARY KEY (file, reason)
) STRICT, WITHOUT ROWID;

-- Where requests were made: one row for each combination that a file shows.
CREATE TABLE places (
    id INTEGER PRIMARY KEY,
    source INTEGER NOT NULL REFERENCES sources,
    file INTEGER REFERENCES files,
    session INTEGER NOT NULL REFERENCES sessions,
    project INTEGER REFERENCES names,
    agent INTEGER REFERENCES names,
    sidechain INTEGER NOT NULL,
    branch INTEGER REFERENCES names,
    version INTEGER REFERENCES names
) STRICT;
CREATE INDEX places_session ON places (session, file);

CREATE TABLE variants (
    id INTEGER PRIMARY KEY,
    model TEXT NOT NULL,
    tier TEXT NOT NULL,
    speed TEXT NOT NULL,
    UNIQUE (model, tier, speed)
) STRICT;

-- One row a request. flags: 1 also stands for every request of its message id, 2 for every one of
-- its request id, 4 some row had a stop reason or a rich usage block, 8 the row that describes it
-- had a stop reason, 16 it had iterations, 32 there are rows in nodes, iterations or contents.
-- size: tokens of the row that describes it, null when equal to its own. The ids of messages and
-- requests stand without the beginning that they share; see the view below.
CREATE TABLE requests (
    id INTEGER PRIMARY KEY,
    place INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    variant INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    size INTEGER,
    {_COUNTER_COLUMNS},
    message_id TEXT,
    request_id TEXT,
    row_id TEXT
) STRICT;
-- The last characters of an id are its random ones: enough to find it, at a quarter of the index.
CREATE INDEX requests_message ON requests (substr(message_id, -6)) WHERE message_id IS NOT NULL;
CREATE INDEX requests_wild ON requests (substr(request_id, -6)) WHERE flags & 2;
CREATE INDEX requests_row ON requests (row_id) WHERE row_id IS NOT NULL;
CREATE INDEX requests_place ON requests (place, at_ms / {QUARTER_MS});
-- Places with a request in a quarter of an hour (or once had one): leads to requests by time at a
-- seventh of what an index on every request costs.
CREATE TABLE quarter_places (
    quarter INTEGER NOT NULL,
    place INTEGER NOT NULL,
    PRIMARY KEY (quarter, place)
) STRICT, WITHOUT ROWID;

-- Every node of a request that its own row cannot say.
CREATE TABLE nodes (
    request INTEGER NOT NULL,
    message_id TEXT NOT NULL,
    request_id TEXT NOT NULL,
    PRIMARY KEY (request, message_id, request_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX nodes_message ON nodes (message_id);
CREATE INDEX nodes_request ON nodes (request_id);

-- Billed calls inside a request that its counters leave out, and fallback attempts.
CREATE TABLE iterations (
    request INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    place_in_list INTEGER NOT NULL,
    model TEXT NOT NULL,
    {_COUNTER_COLUMNS},
    PRIMARY KEY (request, kind, place_in_list)
) STRICT, WITHOUT ROWID;

-- Length of content by file, for as long as a request is partial. lines: a map of MessagePack,
-- number of a line to its characters, because a line met again counts once.
CREATE TABLE contents (
    request INTEGER NOT NULL,
    file INTEGER NOT NULL REFERENCES files,
    chars INTEGER NOT NULL,
    lines BLOB NOT NULL,
    PRIMARY KEY (request, file)
) STRICT, WITHOUT ROWID;

-- The agent's own running totals, as it last wrote them.
CREATE TABLE cost_states (
    session INTEGER NOT NULL REFERENCES sessions,
    model TEXT NOT NULL,
    cost_micro_usd INTEGER NOT NULL,
    {_COUNTER_COLUMNS},
    PRIMARY KEY (session, model)
) STRICT, WITHOUT ROWID;

-- For people: every request with what it points at.
CREATE VIEW requests_in_full AS
SELECT r.id, r.at_ms, sessions.name AS session, projects.name AS project, v.model, v.tier, v.speed,
    r.input, r.output, r.cache_create, r.cache_read,
    {ids.whole_sql("r.message_id", ids.MESSAGE)} AS message_id,
    {ids.whole_sql("r.request_id", ids.REQUEST)} AS request_id, r.row_id
FROM requests r JOIN places ON places.id = r.place JOIN sessions ON sessions.id = places.session
JOIN variants v ON v.id = r.variant LEFT JOIN names projects ON projects.id = places.project;
"""

ROLLUPS = """
-- Totals that answer most questions; kept in the requests' transaction, proved equal to them.
CREATE TABLE quarters (
    quarter INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    input INTEGER NOT NULL,
    output INTEGER NOT NULL,
    cache_create INTEGER NOT NULL,
    cache_read INTEGER NOT NULL,
    partial INTEGER NOT NULL,
    missing INTEGER NOT NULL,
    PRIMARY KEY (quarter, kind)
) STRICT, WITHOUT ROWID;
CREATE TABLE quarter_usage (
    quarter INTEGER NOT NULL,
    project INTEGER NOT NULL,
    model INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    input INTEGER NOT NULL,
    output INTEGER NOT NULL,
    cache_create INTEGER NOT NULL,
    cache_read INTEGER NOT NULL,
    PRIMARY KEY (quarter, project, model, kind)
) STRICT, WITHOUT ROWID;
-- The same by whole hours and days, and by blocks of days where a day is still too many rows.
CREATE TABLE hours (
    hour INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    input INTEGER NOT NULL,
    output INTEGER NOT NULL,
    cache_create INTEGER NOT NULL,
    cache_read INTEGER NOT NULL,
    partial INTEGER NOT NULL,
    missing INTEGER NOT NULL,
    PRIMARY KEY (hour, kind)
) STRICT, WITHOUT ROWID;
CREATE TABLE days (
    day INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    input INTEGER NOT NULL,
    output INTEGER NOT NULL,
    cache_create INTEGER NOT NULL,
    cache_read INTEGER NOT NULL,
    partial INTEGER NOT NULL,
    missing INTEGER NOT NULL,
    PRIMARY KEY (day, kind)
) STRICT, WITHOUT ROWID;
CREATE TABLE day_models (
    day INTEGER NOT NULL,
    model INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    input INTEGER NOT NULL,
    output INTEGER NOT NULL,
    cache_create INTEGER NOT NULL,
    cache_read INTEGER NOT NULL,
    PRIMARY KEY (day, model, kind)
) STRICT, WITHOUT ROWID;
CREATE TABLE day_projects (
    day INTEGER NOT NULL,
    project INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    PRIMARY KEY (day, project)
) STRICT, WITHOUT ROWID;
CREATE TABLE block_projects (
    block INTEGER NOT NULL,
    project INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    PRIMARY KEY (block, project)
) STRICT, WITHOUT ROWID;

-- What a session used over its whole life, in each project, from its first request to its last.
CREATE TABLE session_usage (
    session INTEGER NOT NULL REFERENCES sessions,
    project INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    first_ms INTEGER NOT NULL,
    last_ms INTEGER NOT NULL,
    PRIMARY KEY (session, project)
) STRICT, WITHOUT ROWID;
CREATE INDEX session_usage_project ON session_usage (project, first_ms, last_ms);
CREATE TABLE session_totals (
    session INTEGER PRIMARY KEY REFERENCES sessions,
    project INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    first_ms INTEGER NOT NULL,
    last_ms INTEGER NOT NULL
) STRICT;
-- Everything that the sessions of a window are chosen and sorted by.
CREATE INDEX session_totals_last ON session_totals (last_ms, first_ms, tokens, requests);
CREATE INDEX session_totals_tokens ON session_totals (tokens, first_ms, last_ms, requests);
"""
"""Projects and models are numbers of `names`, 0 for none; quarters, hours, days and blocks
count from 1970 in UTC. Tokens and requests by project are those that are billed."""

READINGS = f"""
-- What agents said of totals that only run on: each distinct reading, whole. The requests are the
-- differences; `request` is the one of a reading, null where it adds nothing.
CREATE TABLE running_totals (
    id INTEGER PRIMARY KEY,
    source INTEGER NOT NULL REFERENCES sources,
    name TEXT NOT NULL,
    UNIQUE (source, name)
) STRICT;
CREATE TABLE readings (
    id INTEGER PRIMARY KEY,
    total INTEGER NOT NULL REFERENCES running_totals,
    request INTEGER,
    at_ms INTEGER NOT NULL,
    place INTEGER NOT NULL REFERENCES places,
    offset INTEGER NOT NULL,
    variant INTEGER NOT NULL REFERENCES variants,
    {_COUNTER_COLUMNS}
) STRICT;
CREATE INDEX readings_total ON readings (total, at_ms);
"""

PRUNED = """
-- Where detail begins, once some was let go of; see `retention`.
CREATE TABLE horizon (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    detail_from_ms INTEGER NOT NULL,
    sealed_before_ms INTEGER NOT NULL
) STRICT;
-- What stands in place of requests that were let go of.
CREATE TABLE pruned (
    session INTEGER NOT NULL,
    project INTEGER NOT NULL,
    quarter INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    first_ms INTEGER NOT NULL,
    last_ms INTEGER NOT NULL,
    PRIMARY KEY (session, project, quarter)
) STRICT, WITHOUT ROWID;
CREATE INDEX pruned_quarter ON pruned (quarter, first_ms, last_ms);
"""

ANY_REQUEST_ID = """
CREATE INDEX IF NOT EXISTS requests_request ON requests (substr(request_id, -6))
WHERE request_id IS NOT NULL
"""
"""Made when a row first comes without a message id: most ledgers never need it, and it is their
largest index."""

MIGRATIONS = (
    Migration(title="requests and where they came from", script=TABLES),
    Migration(title="totals by quarter, day and session", script=ROLLUPS),
    Migration(title="readings of running totals", script=READINGS),
    Migration(title="what stays of pruned detail", script=PRUNED),
    Migration(title="shorter rows and indexes", script=Reshape(TABLES + ROLLUPS)),
)
"""The n-th leads to schema version n. A released one is never changed: another is added."""
