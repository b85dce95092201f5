-- When a token last proved its tenant, to about a minute.
ALTER TABLE tokens ADD COLUMN last_used_at INTEGER;

-- Prices and cost of each of a row's attempts, in their order, since its cost was last computed again; NULL while the first ones hold.
-- `attempts` and `rates` keep those for ever.
ALTER TABLE requests ADD COLUMN repriced TEXT;

-- Each time that a row's cost was computed again, with the prices and costs of its attempts before and after.
CREATE TABLE repricings (
    seq        INTEGER PRIMARY KEY,
    request_id BLOB    NOT NULL,
    tenant     TEXT    NOT NULL,
    at         INTEGER NOT NULL,
    old_cost   INTEGER NOT NULL,
    new_cost   INTEGER NOT NULL,
    old_prices TEXT    NOT NULL,
    new_prices TEXT    NOT NULL
) STRICT;

CREATE INDEX repricings_of_request ON repricings (request_id, seq);
CREATE INDEX repricings_of_tenant ON repricings (tenant);
