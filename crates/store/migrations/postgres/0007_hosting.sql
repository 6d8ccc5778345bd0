-- Environments that the console owns: what is bound to each, and which release each runs on. A release is a row of `releases` and
-- never changes; what is in force is the last publication of the environment.

ALTER TABLE releases ADD COLUMN author TEXT NOT NULL DEFAULT '';
-- The bound values that were said with it, in force from its first publication on; NULL where none were.
ALTER TABLE releases ADD COLUMN bound TEXT;

-- `environment` is the handle. `approvals` NULL: as its layer has it.
CREATE TABLE hosted (
    environment TEXT NOT NULL PRIMARY KEY,
    region      TEXT NOT NULL,
    approvals   BIGINT,
    bound       TEXT NOT NULL,
    created_at  BIGINT NOT NULL
);

-- `share` of a million end users run on `candidate`, drawn with `salt`; the others on `stable`.
CREATE TABLE publications (
    environment TEXT NOT NULL,
    seq         BIGINT NOT NULL,
    at          BIGINT NOT NULL,
    kind        TEXT NOT NULL,
    author      TEXT NOT NULL,
    message     TEXT NOT NULL,
    stable      BIGINT NOT NULL,
    candidate   BIGINT,
    share       BIGINT NOT NULL,
    salt        TEXT NOT NULL,
    PRIMARY KEY (environment, seq)
);

CREATE TABLE approvals (
    environment TEXT NOT NULL,
    number      BIGINT NOT NULL,
    user_id     TEXT NOT NULL,
    name        TEXT NOT NULL,
    at          BIGINT NOT NULL,
    PRIMARY KEY (environment, number, user_id)
);

-- End users who have the next release whatever its share is.
CREATE TABLE chosen_users (
    environment TEXT NOT NULL,
    end_user    TEXT NOT NULL,
    source      TEXT NOT NULL,
    at          BIGINT NOT NULL,
    PRIMARY KEY (environment, end_user)
);

-- One row: how often that which gateways must know has changed. Whoever changes it locks the row first.
CREATE TABLE revisions (
    number BIGINT NOT NULL
);
INSERT INTO revisions (number) VALUES (0);

-- The revision that a gateway serves.
ALTER TABLE nodes ADD COLUMN revision BIGINT NOT NULL DEFAULT 0;
