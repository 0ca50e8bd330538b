-- What was done for an Idempotency-Key: a request that comes again is answered, and does nothing.
CREATE TABLE requests (
    actor TEXT NOT NULL,
    request TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    subject TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (actor, request)
);
