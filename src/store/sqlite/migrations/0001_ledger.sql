-- Amounts are nano-dollars (10^-9 USD); instants are nanoseconds since 1970 UTC; days are counted since 1970-01-01 UTC.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

-- One row a request. `seq` breaks ties of time, so that a page of rows can end between two of the same instant. The checks name their
-- values one by one: for each row that it writes SQLite makes a table of a list after IN.
CREATE TABLE requests (
    seq                 INTEGER PRIMARY KEY,
    id                  BLOB    NOT NULL UNIQUE,
    tenant              TEXT    NOT NULL,
    at                  INTEGER NOT NULL,
    ended_at            INTEGER,
    dialect             TEXT    NOT NULL,
    requested           TEXT    NOT NULL,
    complexity          REAL    NOT NULL,
    provider            TEXT    NOT NULL,
    model               TEXT    NOT NULL,
    outcome             TEXT    NOT NULL
                        CHECK (outcome = 'ok' OR outcome = 'reserved' OR outcome = 'cancelled' OR outcome = 'truncated'
                               OR outcome = 'failed' OR outcome = 'unsettled'),
    cache               TEXT    NOT NULL CHECK (cache = 'miss' OR cache = 'off' OR cache = 'hit'),
    reserved            INTEGER NOT NULL,
    cost                INTEGER NOT NULL DEFAULT 0,
    saved               INTEGER NOT NULL DEFAULT 0,
    input_tokens        INTEGER NOT NULL DEFAULT 0,
    cached_input_tokens INTEGER NOT NULL DEFAULT 0,
    cache_write_tokens  INTEGER NOT NULL DEFAULT 0,
    output_tokens       INTEGER NOT NULL DEFAULT 0,
    reasoning_tokens    INTEGER NOT NULL DEFAULT 0,
    estimated           INTEGER NOT NULL DEFAULT 0,
    latency_ms          INTEGER,
    ttft_ms             INTEGER,
    rates               TEXT    NOT NULL,
    tags                TEXT    NOT NULL,
    attempts            TEXT    NOT NULL DEFAULT '[]',
    decision            TEXT    NOT NULL
) STRICT;

CREATE INDEX requests_of_tenant ON requests (tenant, at);
CREATE INDEX requests_by_time ON requests (at);
CREATE INDEX requests_reserved ON requests (seq) WHERE outcome = 'reserved';
CREATE INDEX requests_unsettled ON requests (seq) WHERE outcome = 'unsettled';

-- What was used, and at which prices, is never rewritten once a request has ended.
CREATE TRIGGER requests_usage_is_final
BEFORE UPDATE OF input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, rates, attempts ON requests
WHEN OLD.outcome <> 'reserved'
BEGIN
    SELECT RAISE(ABORT, 'the usage of a settled request is final');
END;

-- The settled and unsettled cost of a tenant's day: the sum of its rows, kept so that a budget is opened without reading them.
CREATE TABLE spend (
    tenant TEXT    NOT NULL,
    day    INTEGER NOT NULL,
    cost   INTEGER NOT NULL,
    PRIMARY KEY (tenant, day)
) STRICT, WITHOUT ROWID;

CREATE TABLE feedback (
    request_id BLOB    PRIMARY KEY,
    tenant     TEXT    NOT NULL,
    at         INTEGER NOT NULL,
    score      REAL    NOT NULL,
    comment    TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE tenants (
    id         TEXT    PRIMARY KEY,
    policy     TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- `sealed` is nonce and ciphertext; `hint` the last characters of the key, for people to recognise it by.
CREATE TABLE provider_keys (
    tenant     TEXT    NOT NULL,
    provider   TEXT    NOT NULL,
    sealed     BLOB    NOT NULL,
    hint       TEXT    NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, provider)
) STRICT, WITHOUT ROWID;

-- Client tokens, hashed: the token itself is shown once and never kept.
CREATE TABLE tokens (
    id         TEXT    PRIMARY KEY,
    tenant     TEXT    NOT NULL,
    hash       BLOB    NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX tokens_of_tenant ON tokens (tenant);
