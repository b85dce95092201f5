-- A call of a second policy's model: a row of its own, with the id of the client's request that it repeats.
ALTER TABLE requests ADD COLUMN shadow_of BLOB;
CREATE INDEX requests_of_shadow ON requests (tenant, at) WHERE shadow_of IS NOT NULL;

-- How a tenant's second policy compares with the one that holds: sums, as JSON.
CREATE TABLE shadow (
    tenant  TEXT PRIMARY KEY,
    figures TEXT NOT NULL
) STRICT, WITHOUT ROWID;
