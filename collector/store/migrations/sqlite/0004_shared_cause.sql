-- What several devices have in common when they fail alike, each with its Problem (see the fleet of the core).

CREATE TABLE shared_cause (
    rule TEXT NOT NULL,
    kind TEXT NOT NULL,
    value TEXT NOT NULL,
    ticket INTEGER NOT NULL REFERENCES ticket (id),
    open INTEGER NOT NULL,
    ended INTEGER,
    body TEXT NOT NULL,
    PRIMARY KEY (rule, kind, value)
) STRICT, WITHOUT ROWID;
CREATE INDEX shared_cause_by_ticket ON shared_cause (ticket);

-- Children with tickets, and members without. A damaged body belongs to nobody.
CREATE INDEX ticket_by_parent ON ticket (CASE WHEN json_valid(body) THEN json_extract(body, '$.parent') END);
CREATE INDEX finding_by_parent ON finding (
    CASE WHEN json_valid(body) THEN json_extract(body, '$.standing.member') END);
