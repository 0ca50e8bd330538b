-- Never updated, never deleted; what comes twice is taken once, by its id. Amounts are nano-dollars, days are of UTC, times are
-- milliseconds since 1970. `entry` is the whole entry as JSON: the columns are what reports ask for.
CREATE TABLE ledger_entries (
    id TEXT PRIMARY KEY,
    day TEXT NOT NULL,
    at BIGINT NOT NULL,
    organisation TEXT NOT NULL,
    team TEXT NOT NULL,
    api_key TEXT NOT NULL,
    agent TEXT,
    session TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    hop TEXT NOT NULL,
    certainty TEXT NOT NULL,
    amount BIGINT NOT NULL,
    unheard BIGINT NOT NULL,
    entry TEXT NOT NULL
);
CREATE INDEX ledger_entries_by_day ON ledger_entries (organisation, day);
CREATE INDEX ledger_entries_by_time ON ledger_entries (organisation, at);
CREATE INDEX ledger_entries_by_provider ON ledger_entries (provider, day);
