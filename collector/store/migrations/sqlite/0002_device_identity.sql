-- What is known of a device's identity beside its present certificate (see src/identity.rs).

CREATE TABLE device_identity (
    device TEXT NOT NULL PRIMARY KEY REFERENCES device (id),
    -- Fingerprint of the authority that issued the present certificate.
    issuer TEXT,
    -- A renewed certificate that the device has not shown yet.
    next_fingerprint TEXT,
    next_not_after INTEGER,
    next_issuer TEXT,
    -- Where the chain of its streams stands.
    lineage BLOB
) STRICT, WITHOUT ROWID;
