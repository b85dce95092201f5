-- What the decisions of one catalogue have in common: its models with their figures, as JSON. `requests.decision` names one by its id.
CREATE TABLE lineups (
    id     TEXT PRIMARY KEY,
    models TEXT NOT NULL
) STRICT, WITHOUT ROWID;
