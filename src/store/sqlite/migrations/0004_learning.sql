-- What became of a tenant's answers, by model and kind of task: counts as of `at`, which fade as time passes.
CREATE TABLE learning (
    tenant      TEXT    NOT NULL,
    provider    TEXT    NOT NULL,
    model       TEXT    NOT NULL,
    task        TEXT    NOT NULL,
    at          INTEGER NOT NULL,
    sound       REAL    NOT NULL,
    refused     REAL    NOT NULL,
    cut_off     REAL    NOT NULL,
    malformed   REAL    NOT NULL,
    asked_again REAL    NOT NULL,
    judged      REAL    NOT NULL,
    scores      REAL    NOT NULL,
    PRIMARY KEY (tenant, provider, model, task)
) STRICT, WITHOUT ROWID;

-- Whether the score is among the counts of `learning`: then a later one takes its place there too.
ALTER TABLE feedback ADD COLUMN counted INTEGER NOT NULL DEFAULT 0;
