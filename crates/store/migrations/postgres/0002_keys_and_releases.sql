-- Virtual keys and releases. A key's document is the whole record; the columns beside it are what is searched.

CREATE TABLE keys (
    id          TEXT NOT NULL PRIMARY KEY,
    environment TEXT NOT NULL,
    name        TEXT NOT NULL,
    hash        TEXT,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    revoked_at  BIGINT,
    document    TEXT NOT NULL
);

-- A name may be used again once its key is revoked; a secret never.
CREATE UNIQUE INDEX keys_by_name ON keys (environment, name) WHERE revoked_at IS NULL;
CREATE UNIQUE INDEX keys_by_hash ON keys (hash) WHERE hash IS NOT NULL;

CREATE TABLE releases (
    environment TEXT NOT NULL,
    number      BIGINT NOT NULL,
    at          BIGINT NOT NULL,
    source      TEXT NOT NULL,
    checksum    TEXT NOT NULL,
    message     TEXT NOT NULL,
    document    TEXT NOT NULL,
    PRIMARY KEY (environment, number)
);
