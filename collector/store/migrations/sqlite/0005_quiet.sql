-- Maintenance windows. The definition is JSON that only its author reads; `site` decides who sees it.
CREATE TABLE maintenance (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    site TEXT,
    definition TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- Breaches that made no ticket, each with its reason.
CREATE TABLE suppression (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    device TEXT NOT NULL REFERENCES device (id),
    at INTEGER NOT NULL,
    rule TEXT NOT NULL,
    component_kind TEXT NOT NULL,
    component_id TEXT NOT NULL,
    reason TEXT NOT NULL,
    until INTEGER
) STRICT;
CREATE INDEX suppression_by_device ON suppression (device, id);
CREATE INDEX suppression_by_age ON suppression (at);
