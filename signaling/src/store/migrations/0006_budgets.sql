-- Budgets that are set while gateways run. An empty name is every name; `set_by` is the organisation of whoever set it; limits are
-- nano-dollars.
CREATE TABLE budgets (
    id TEXT PRIMARY KEY,
    set_by TEXT NOT NULL,
    organisation TEXT NOT NULL,
    team TEXT NOT NULL,
    api_key TEXT NOT NULL,
    agent TEXT NOT NULL,
    lasts TEXT NOT NULL,
    soft BIGINT,
    hard BIGINT,
    set_at BIGINT NOT NULL,
    UNIQUE (set_by, organisation, team, api_key, agent, lasts)
);
-- One row: how often budgets were changed, for whoever follows them.
CREATE TABLE budgets_revision (
    id BIGINT PRIMARY KEY,
    changes BIGINT NOT NULL
);
INSERT INTO budgets_revision (id, changes) VALUES (1, 0);
