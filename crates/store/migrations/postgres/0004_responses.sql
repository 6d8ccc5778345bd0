-- Stored responses: what providers keep (whose it is), and what is kept here (sealed).

CREATE TABLE responses (
    environment TEXT NOT NULL,
    id          TEXT NOT NULL,
    previous    TEXT,
    key_id      TEXT NOT NULL,
    provider    TEXT,
    model       TEXT NOT NULL,
    background  SMALLINT NOT NULL,
    running     BIGINT,
    created_at  BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL,
    size        BIGINT NOT NULL,
    sealed      BYTEA NOT NULL,
    PRIMARY KEY (environment, id)
);

CREATE INDEX responses_by_expiry ON responses (expires_at);
