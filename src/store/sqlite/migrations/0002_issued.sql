-- What providers issued to tenants: the hash of an id or of encrypted content, with who has it, the hash of the key that it was made with,
-- and the request (`requests.id`) that it came of. A tenant's rows are looked up by its own name alone, so that another's are as unknown
-- as none.
CREATE TABLE issued (
    tenant   TEXT    NOT NULL,
    hash     BLOB    NOT NULL,
    provider TEXT    NOT NULL,
    key      BLOB    NOT NULL,
    at       INTEGER NOT NULL,
    request  BLOB    NOT NULL,
    PRIMARY KEY (tenant, hash)
) STRICT, WITHOUT ROWID;

CREATE INDEX issued_by_time ON issued (at);
