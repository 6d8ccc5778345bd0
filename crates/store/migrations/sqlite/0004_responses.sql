-- Stored responses, in a file of their own: contents come and go here, and the writer of the ledger never waits for them.

CREATE TABLE responses (
    environment TEXT NOT NULL,
    id          TEXT NOT NULL,
    previous    TEXT,
    key_id      TEXT NOT NULL,
    provider    TEXT,
    model       TEXT NOT NULL,
    background  SMALLINT NOT NULL,
    running     INTEGER,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    size        INTEGER NOT NULL,
    sealed      BLOB NOT NULL,
    PRIMARY KEY (environment, id)
);

CREATE INDEX responses_by_expiry ON responses (expires_at);
