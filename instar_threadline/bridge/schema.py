"""The bridge's own database: what waits, what is under way, what was delivered, which topic is
whose.

Promises one file, `server-data/threadline-bridge.db`, with `synchronous=FULL`: what was
acknowledged to a person or to Telegram survives a power cut. It is not disposable: losing it
means sending things twice. Counters of lanes and targets are kept by triggers, so that no path
can forget them.
"""

from __future__ import annotations

from pathlib import Path

import apsw

from instar_host.store.sqlite import Migration, open_reader, open_writer

FILE = "server-data/threadline-bridge.db"
APPLICATION_ID = 0x49544252
"""`ITBR`."""

HUB_LANE = "hub"
"""The lane of the topic that several threads share; a thread's own lane is `t:` and its id."""
GENERAL_LANE = "general"
"""The lane of what is written outside of all topics."""

_FIRST = """
CREATE TABLE mark (
  name TEXT PRIMARY KEY,
  value BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE target (
  name TEXT PRIMARY KEY,
  chat_id INTEGER NOT NULL DEFAULT 0,
  configured_chat_id INTEGER NOT NULL DEFAULT 0,
  blocked_until_ms INTEGER NOT NULL DEFAULT 0,
  paused TEXT NOT NULL DEFAULT '',
  paused_until_ms INTEGER NOT NULL DEFAULT 0,
  topics_blocked_until_ms INTEGER NOT NULL DEFAULT 0,
  topics_blocked TEXT NOT NULL DEFAULT '',
  failures INTEGER NOT NULL DEFAULT 0,
  high_message_id INTEGER NOT NULL DEFAULT 0,
  suspect_message_id INTEGER NOT NULL DEFAULT 0,
  suspect_until_ms INTEGER NOT NULL DEFAULT 0,
  suspect_piece BLOB NOT NULL DEFAULT x'',
  recent BLOB NOT NULL DEFAULT x'5b5d',
  turn INTEGER NOT NULL DEFAULT 0,
  waiting INTEGER NOT NULL DEFAULT 0,
  waiting_bytes INTEGER NOT NULL DEFAULT 0,
  last_success_ms INTEGER NOT NULL DEFAULT 0,
  last_error TEXT NOT NULL DEFAULT '',
  last_error_ms INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE TABLE counter (
  target TEXT NOT NULL,
  name TEXT NOT NULL,
  value INTEGER NOT NULL,
  PRIMARY KEY (target, name)
) WITHOUT ROWID;

CREATE TABLE queue (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  target TEXT NOT NULL,
  lane TEXT NOT NULL,
  key BLOB NOT NULL,
  kind TEXT NOT NULL,
  history INTEGER NOT NULL,
  ring INTEGER NOT NULL,
  thread_id TEXT NOT NULL,
  direction TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  peer_name TEXT NOT NULL,
  message_id TEXT NOT NULL,
  verified INTEGER NOT NULL,
  outcome TEXT,
  at_ms INTEGER,
  body TEXT NOT NULL,
  bytes INTEGER NOT NULL,
  queued_at_ms INTEGER NOT NULL,
  alone INTEGER NOT NULL DEFAULT 0,
  plain INTEGER NOT NULL DEFAULT 0,
  maybe INTEGER NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX queue_key ON queue (target, key);
CREATE INDEX queue_lane ON queue (target, lane, seq);
CREATE INDEX queue_thread ON queue (target, thread_id);

CREATE TABLE lane (
  target TEXT NOT NULL,
  name TEXT NOT NULL,
  waiting INTEGER NOT NULL,
  live INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  turn INTEGER NOT NULL,
  PRIMARY KEY (target, name)
) WITHOUT ROWID;
CREATE INDEX lane_turn ON lane (target, turn) WHERE waiting > 0;

CREATE TRIGGER queue_in AFTER INSERT ON queue BEGIN
  INSERT INTO lane VALUES (new.target, new.lane, 1, 1 - new.history, new.bytes, 0)
    ON CONFLICT DO UPDATE SET
      waiting = waiting + 1, live = live + 1 - new.history, bytes = bytes + new.bytes;
  UPDATE target SET waiting = waiting + 1, waiting_bytes = waiting_bytes + new.bytes
    WHERE name = new.target;
END;
CREATE TRIGGER queue_out AFTER DELETE ON queue BEGIN
  UPDATE lane SET
      waiting = waiting - 1, live = live - 1 + old.history, bytes = bytes - old.bytes
    WHERE target = old.target AND name = old.lane;
  UPDATE target SET waiting = waiting - 1, waiting_bytes = waiting_bytes - old.bytes
    WHERE name = old.target;
END;
CREATE TRIGGER queue_moved AFTER UPDATE OF lane, bytes, history ON queue BEGIN
  UPDATE lane SET
      waiting = waiting - 1, live = live - 1 + old.history, bytes = bytes - old.bytes
    WHERE target = old.target AND name = old.lane;
  INSERT INTO lane VALUES (new.target, new.lane, 1, 1 - new.history, new.bytes, 0)
    ON CONFLICT DO UPDATE SET
      waiting = waiting + 1, live = live + 1 - new.history, bytes = bytes + new.bytes;
  UPDATE target SET waiting_bytes = waiting_bytes - old.bytes + new.bytes
    WHERE name = new.target;
END;

CREATE TABLE flight (
  target TEXT PRIMARY KEY,
  state TEXT NOT NULL,
  value BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE delivered (
  target TEXT NOT NULL,
  key BLOB NOT NULL,
  result TEXT NOT NULL,
  message_id INTEGER NOT NULL,
  topic_id INTEGER,
  at_ms INTEGER NOT NULL,
  PRIMARY KEY (target, key)
) WITHOUT ROWID;

CREATE TABLE correction (
  target TEXT NOT NULL,
  message_id INTEGER NOT NULL,
  piece BLOB NOT NULL,
  PRIMARY KEY (target, message_id)
) WITHOUT ROWID;

CREATE TABLE dead (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  target TEXT NOT NULL,
  reason TEXT NOT NULL,
  at_ms INTEGER NOT NULL,
  row BLOB NOT NULL
);

CREATE TABLE topic (
  target TEXT NOT NULL,
  thread_id TEXT NOT NULL,
  state TEXT NOT NULL,
  why TEXT NOT NULL DEFAULT '',
  topic_id INTEGER,
  name TEXT NOT NULL,
  agent TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL,
  last_message_at_ms INTEGER NOT NULL,
  PRIMARY KEY (target, thread_id)
) WITHOUT ROWID;

CREATE TABLE opening (
  id INTEGER PRIMARY KEY,
  target TEXT NOT NULL,
  agent TEXT NOT NULL,
  at_ms INTEGER NOT NULL
);
CREATE INDEX opening_at ON opening (target, at_ms);

CREATE TABLE mute (
  kind TEXT NOT NULL,
  id TEXT NOT NULL,
  at_ms INTEGER NOT NULL,
  PRIMARY KEY (kind, id)
) WITHOUT ROWID;
"""

_TURNS = """
DROP TRIGGER queue_in;
CREATE TRIGGER queue_in AFTER INSERT ON queue BEGIN
  INSERT INTO lane VALUES (
      new.target, new.lane, 1, 1 - new.history, new.bytes,
      (SELECT coalesce(max(turn), 0) FROM target WHERE name = new.target))
    ON CONFLICT DO UPDATE SET
      waiting = waiting + 1, live = live + 1 - new.history, bytes = bytes + new.bytes,
      turn = CASE waiting WHEN 0 THEN excluded.turn ELSE turn END;
  UPDATE target SET waiting = waiting + 1, waiting_bytes = waiting_bytes + new.bytes
    WHERE name = new.target;
END;
"""
"""A lane that was empty goes to the end of the line: one that fills again and again would always
be before one that has a backlog."""

MIGRATIONS = (
    Migration(title="queue, topics, targets", script=_FIRST),
    Migration(title="an empty lane that fills is the last in line", script=_TURNS),
)


def open_bridge_database(state_dir: Path) -> apsw.Connection:
    """Open the one writing connection, made or migrated as needed. Raises as `open_writer`
    does.
    """
    path = state_dir / FILE
    return open_writer(
        path, application_id=APPLICATION_ID, migrations=MIGRATIONS, synchronous="FULL"
    )


def open_bridge_reader(state_dir: Path) -> apsw.Connection:
    """Open for reading only. Raises as `open_reader` does."""
    return open_reader(state_dir / FILE, application_id=APPLICATION_ID)


def lane_of(thread_id: str) -> str:
    """The lane of a thread that has, or will have, a topic of its own."""
    return "t:" + thread_id
