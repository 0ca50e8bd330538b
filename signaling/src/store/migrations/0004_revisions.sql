-- Every configuration a gateway of this store has run with, in the order in which it did. Never updated, never deleted. `bundle` is
-- the configuration with its files as JSON; it holds no secret.
CREATE TABLE config_revisions (
    number BIGINT PRIMARY KEY,
    hash TEXT NOT NULL,
    made_at BIGINT NOT NULL,
    made_by TEXT NOT NULL,
    origin TEXT NOT NULL,
    bundle TEXT NOT NULL
);
-- One row: the last number. Whoever adds a revision updates it first, which makes adding take turns.
CREATE TABLE config_head (
    id BIGINT PRIMARY KEY,
    number BIGINT NOT NULL
);
INSERT INTO config_head (id, number) VALUES (1, 0);
