-- The first schema. Tables lead with what shards them: the device. Times are milliseconds since 1970 in UTC.
-- Bodies are JSON (see src/row); columns beside a body are what is filtered, ordered or unique.

CREATE TABLE device (
    id TEXT NOT NULL PRIMARY KEY,
    hostname TEXT NOT NULL COLLATE NOCASE,
    site TEXT,
    status TEXT NOT NULL,
    tags TEXT NOT NULL,
    facts TEXT NOT NULL,
    agent_version TEXT NOT NULL,
    enrolled_at INTEGER NOT NULL,
    last_seen_at INTEGER,
    presence TEXT,
    certificate_fingerprint TEXT NOT NULL,
    certificate_not_after INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX device_by_hostname ON device (hostname, id);
CREATE INDEX device_by_status ON device (status);

-- Every collector follows this log, so that a withdrawn identity is cut everywhere.
CREATE TABLE device_status_change (
    revision INTEGER PRIMARY KEY AUTOINCREMENT,
    device TEXT NOT NULL REFERENCES device (id),
    status TEXT NOT NULL
) STRICT;

CREATE TABLE enrollment_token (
    hash BLOB NOT NULL PRIMARY KEY,
    uses_left INTEGER NOT NULL CHECK (uses_left >= 0),
    expires_at INTEGER NOT NULL,
    site TEXT,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The highest committed sequence number of each epoch.
CREATE TABLE mark (
    device TEXT NOT NULL REFERENCES device (id),
    epoch BLOB NOT NULL,
    through INTEGER NOT NULL,
    PRIMARY KEY (device, epoch)
) STRICT, WITHOUT ROWID;

CREATE TABLE record (
    device TEXT NOT NULL REFERENCES device (id),
    epoch BLOB NOT NULL,
    seq INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    payload BLOB NOT NULL,
    PRIMARY KEY (device, epoch, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX record_by_age ON record (received_at);

CREATE TABLE engine_state (
    device TEXT NOT NULL PRIMARY KEY REFERENCES device (id),
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE finding (
    device TEXT NOT NULL REFERENCES device (id),
    rule TEXT NOT NULL,
    component_kind TEXT NOT NULL,
    component_id TEXT NOT NULL,
    phase TEXT NOT NULL,
    since INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (device, rule, component_kind, component_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX finding_alive ON finding (since DESC) WHERE phase <> 'cleared';
CREATE INDEX finding_in_motion ON finding (device) WHERE phase IN ('pending', 'clearing');

CREATE TABLE latest (
    device TEXT NOT NULL REFERENCES device (id),
    component_kind TEXT NOT NULL,
    component_id TEXT NOT NULL,
    name TEXT NOT NULL,
    series TEXT NOT NULL,
    observed_at INTEGER NOT NULL,
    content TEXT NOT NULL,
    PRIMARY KEY (device, component_kind, component_id, name, series)
) STRICT, WITHOUT ROWID;

CREATE TABLE ticket (
    id INTEGER PRIMARY KEY,
    device TEXT REFERENCES device (id),
    rule TEXT,
    component_kind TEXT,
    component_id TEXT,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    site TEXT,
    priority INTEGER NOT NULL,
    due INTEGER NOT NULL,               -- resolution due; the largest integer when there is none
    resolved_at INTEGER,
    title TEXT NOT NULL,
    summary TEXT NOT NULL,
    version INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;
CREATE INDEX ticket_queue ON ticket (priority, due, id);
CREATE INDEX ticket_by_device ON ticket (device, state);
CREATE INDEX ticket_by_state ON ticket (state);
-- Whatever races: one open ticket per fault of a device, one open parent per shared cause.
CREATE UNIQUE INDEX ticket_one_open ON ticket (device, rule, ifnull(component_kind, ''), ifnull(component_id, ''))
    WHERE device IS NOT NULL AND rule IS NOT NULL AND state IN ('new', 'assigned', 'in_progress', 'on_hold');
CREATE UNIQUE INDEX ticket_one_open_parent ON ticket (rule, ifnull(component_kind, ''), ifnull(component_id, ''))
    WHERE device IS NULL AND rule IS NOT NULL AND state IN ('new', 'assigned', 'in_progress', 'on_hold');

CREATE TABLE timeline (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    ticket INTEGER NOT NULL REFERENCES ticket (id),
    at INTEGER NOT NULL,
    person TEXT,                        -- null: the collector itself
    kind TEXT NOT NULL,
    text TEXT NOT NULL
) STRICT;
CREATE INDEX timeline_by_ticket ON timeline (ticket, id);
CREATE TRIGGER timeline_no_update BEFORE UPDATE ON timeline
BEGIN SELECT RAISE(ABORT, 'the timeline is append-only'); END;
CREATE TRIGGER timeline_no_delete BEFORE DELETE ON timeline
BEGIN SELECT RAISE(ABORT, 'the timeline is append-only'); END;

-- What has to be done in the world: tests that a device was asked for.
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    device TEXT NOT NULL REFERENCES device (id),
    request_id TEXT NOT NULL UNIQUE,
    ticket INTEGER,
    payload TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    finished_at INTEGER
) STRICT;
CREATE INDEX outbox_unfinished ON outbox (device, id) WHERE finished_at IS NULL;

CREATE TABLE user (
    name TEXT NOT NULL PRIMARY KEY,
    role TEXT NOT NULL,
    site TEXT,
    password_hash TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    disabled INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One row at most: the link with which the first administrator signs in.
CREATE TABLE setup_link (
    only_one INTEGER NOT NULL PRIMARY KEY CHECK (only_one = 1),
    hash BLOB NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

CREATE TABLE session (
    hash BLOB NOT NULL PRIMARY KEY,
    user TEXT NOT NULL REFERENCES user (name),
    created_at INTEGER NOT NULL,
    used_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE api_token (
    hash BLOB NOT NULL PRIMARY KEY,
    role TEXT NOT NULL,
    site TEXT,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;

-- `ticket`: the last number given out. `record`: how many records are stored, because counting them takes too long.
CREATE TABLE counter (
    name TEXT NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO counter (name, value) VALUES ('ticket', 0), ('record', 0);
