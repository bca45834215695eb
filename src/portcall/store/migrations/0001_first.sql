-- The log of facts is the truth; every other table is a projection of it, or a queue.

CREATE TABLE playbook (
    digest TEXT PRIMARY KEY,
    text   TEXT NOT NULL,
    file   TEXT NOT NULL
) STRICT;

CREATE TABLE catalog (
    path   TEXT PRIMARY KEY,
    digest TEXT NOT NULL REFERENCES playbook,
    at     REAL NOT NULL
) STRICT;

CREATE TABLE execution (
    id       INTEGER PRIMARY KEY,
    path     TEXT NOT NULL,
    playbook TEXT NOT NULL REFERENCES playbook,
    status   TEXT NOT NULL,              -- running -> (failing | cancelling) -> completed | failed | cancelled
    started  REAL NOT NULL,
    ended    REAL,
    last_seq INTEGER NOT NULL,
    owner    TEXT NOT NULL               -- the embedded process that drives it; '' for a server
) STRICT;

CREATE TABLE event (
    execution_id INTEGER NOT NULL REFERENCES execution,
    seq          INTEGER NOT NULL,
    event_id     TEXT,                   -- of facts from outside; decided ones are named by their place
    body         BLOB NOT NULL,
    PRIMARY KEY (execution_id, seq)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX event_once ON event (event_id) WHERE event_id IS NOT NULL;

CREATE TABLE call (
    call_id      TEXT PRIMARY KEY,
    execution_id INTEGER NOT NULL REFERENCES execution,
    step         TEXT NOT NULL,
    kind         TEXT NOT NULL,
    status       TEXT NOT NULL,          -- issued -> parked -> closed
    runtime      TEXT,
    handle       TEXT,
    parked_at    REAL,
    overdue      INTEGER NOT NULL DEFAULT 0,
    stop         TEXT,                   -- cancel | deadline
    stop_seq     INTEGER                 -- order in which watchers are told
) STRICT, WITHOUT ROWID;

CREATE INDEX call_parked ON call (execution_id) WHERE status = 'parked';
CREATE INDEX call_stop ON call (stop_seq) WHERE stop_seq IS NOT NULL;

CREATE TABLE command (
    id           INTEGER PRIMARY KEY,    -- order of the queue
    call_id      TEXT NOT NULL UNIQUE REFERENCES call,
    execution_id INTEGER NOT NULL REFERENCES execution,
    not_before   REAL NOT NULL,
    worker_id    TEXT,                   -- NULL: queued
    claim        INTEGER NOT NULL,       -- fencing token: raised by every claim
    lease_until  REAL,
    stop         INTEGER NOT NULL DEFAULT 0,
    body         BLOB NOT NULL
) STRICT;

-- None over the queue itself: it is read from its head, and every commit would write another page.
CREATE INDEX command_held ON command (worker_id, lease_until) WHERE worker_id IS NOT NULL;
CREATE INDEX command_due ON command (not_before) WHERE worker_id IS NULL AND not_before > 0;

CREATE TABLE timer (
    call_id      TEXT NOT NULL REFERENCES call,
    kind         TEXT NOT NULL,          -- resume | overdue
    execution_id INTEGER NOT NULL REFERENCES execution,
    due_at       REAL NOT NULL,
    PRIMARY KEY (call_id, kind)
) STRICT, WITHOUT ROWID;

CREATE INDEX timer_due ON timer (due_at);
