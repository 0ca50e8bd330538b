-- Types are those SQLite and PostgreSQL both know and the driver maps alike: BIGINT and TEXT.
-- Times are milliseconds since 1970, hashes 64 hexadecimal digits.

CREATE TABLE organisations (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

-- A team's id is its own in its organisation, and may be that of another one elsewhere.
CREATE TABLE teams (
    id TEXT NOT NULL,
    organisation_id TEXT NOT NULL REFERENCES organisations (id),
    name TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (organisation_id, id)
);

-- What a first installation calls for, which has one team and does not know it.
INSERT INTO organisations (id, name, created_at) VALUES ('default', 'default', 0);
INSERT INTO teams (id, organisation_id, name, created_at) VALUES ('default', 'default', 'default', 0);

CREATE TABLE api_keys (
    id TEXT PRIMARY KEY,
    organisation_id TEXT NOT NULL,
    team_id TEXT NOT NULL,
    agent TEXT,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    scopes TEXT NOT NULL,
    hash TEXT NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT,
    FOREIGN KEY (organisation_id, team_id) REFERENCES teams (organisation_id, id)
);

-- One row: how often tenants or keys were changed, for whoever follows them.
CREATE TABLE directory_revision (
    id BIGINT PRIMARY KEY,
    changes BIGINT NOT NULL
);
INSERT INTO directory_revision (id, changes) VALUES (1, 0);

-- Never updated, never deleted: each row carries the hash of the one before it.
CREATE TABLE audit_log (
    sequence BIGINT PRIMARY KEY,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL,
    previous TEXT NOT NULL,
    hash TEXT NOT NULL
);

-- One row: the end of the chain. Whoever appends updates it first, which makes appending take turns.
CREATE TABLE audit_head (
    id BIGINT PRIMARY KEY,
    sequence BIGINT NOT NULL,
    hash TEXT NOT NULL
);
INSERT INTO audit_head (id, sequence, hash)
VALUES (1, 0, '0000000000000000000000000000000000000000000000000000000000000000');
