-- Who handed an entry in, and after which others. The entries of one transaction have one number, and numbers are given in the order in
-- which transactions are committed: whoever has seen a number has seen everything up to it. Entries from before have neither.
ALTER TABLE ledger_entries ADD COLUMN node TEXT NOT NULL DEFAULT '';
ALTER TABLE ledger_entries ADD COLUMN number BIGINT NOT NULL DEFAULT 0;
CREATE INDEX ledger_entries_by_number ON ledger_entries (number);
-- One row: the last number. Whoever adds entries updates it first, which makes adding take turns.
CREATE TABLE ledger_head (
    id BIGINT PRIMARY KEY,
    number BIGINT NOT NULL
);
INSERT INTO ledger_head (id, number) VALUES (1, 0);
