-- Who may do what. Ids are opaque and never change; a handle is the name that snapshots, keys, the ledger and logs know a place by.
-- Of secrets (sessions, tokens, invitations, resets, recovery codes) only keyed hashes are here, of passwords what argon2id makes of
-- them, and the secret of a second factor is sealed.

CREATE TABLE organizations (
    id          TEXT NOT NULL PRIMARY KEY,
    name        TEXT NOT NULL,
    handle      TEXT NOT NULL,
    policy      TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    adopted_at  INTEGER
);
CREATE UNIQUE INDEX organizations_by_handle ON organizations (handle);

CREATE TABLE workspaces (
    id           TEXT NOT NULL PRIMARY KEY,
    organization TEXT NOT NULL,
    name         TEXT NOT NULL,
    handle       TEXT NOT NULL,
    created_at   INTEGER NOT NULL
);
CREATE UNIQUE INDEX workspaces_by_handle ON workspaces (organization, handle);

CREATE TABLE environments (
    id          TEXT NOT NULL PRIMARY KEY,
    workspace   TEXT NOT NULL,
    name        TEXT NOT NULL,
    layer       TEXT NOT NULL,
    handle      TEXT NOT NULL,
    created_at  INTEGER NOT NULL
);
CREATE UNIQUE INDEX environments_by_handle ON environments (handle);
CREATE INDEX environments_by_workspace ON environments (workspace);

CREATE TABLE users (
    id          TEXT NOT NULL PRIMARY KEY,
    email       TEXT NOT NULL,
    name        TEXT NOT NULL,
    password    TEXT NOT NULL,
    totp        BLOB,
    totp_since  INTEGER,
    totp_step   INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    changed_at  INTEGER NOT NULL
);
CREATE UNIQUE INDEX users_by_email ON users (email);

-- `workspace` is '' where the role holds in the whole organization.
CREATE TABLE members (
    id           TEXT NOT NULL PRIMARY KEY,
    organization TEXT NOT NULL,
    workspace    TEXT NOT NULL,
    user_id      TEXT NOT NULL,
    role         TEXT NOT NULL,
    created_at   INTEGER NOT NULL
);
CREATE UNIQUE INDEX members_by_place ON members (organization, workspace, user_id);
CREATE INDEX members_by_user ON members (user_id);

CREATE TABLE sessions (
    id          TEXT NOT NULL PRIMARY KEY,
    user_id     TEXT NOT NULL,
    hash        TEXT NOT NULL,
    address     TEXT NOT NULL,
    agent       TEXT NOT NULL,
    second      SMALLINT NOT NULL,
    created_at  INTEGER NOT NULL,
    seen_at     INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL
);
CREATE UNIQUE INDEX sessions_by_hash ON sessions (hash);
CREATE INDEX sessions_by_user ON sessions (user_id);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

-- A personal token is its user's; a service token is its organization's, and `user_id` is whoever made it ('' for the host).
CREATE TABLE tokens (
    id           TEXT NOT NULL PRIMARY KEY,
    kind         TEXT NOT NULL,
    organization TEXT NOT NULL,
    workspace    TEXT NOT NULL,
    user_id      TEXT NOT NULL,
    name         TEXT NOT NULL,
    hash         TEXT NOT NULL,
    hint         TEXT NOT NULL,
    scopes       TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    used_at      INTEGER,
    revoked_at   INTEGER
);
CREATE UNIQUE INDEX tokens_by_hash ON tokens (hash);
CREATE INDEX tokens_by_user ON tokens (user_id);
CREATE INDEX tokens_by_organization ON tokens (organization);

CREATE TABLE invitations (
    id           TEXT NOT NULL PRIMARY KEY,
    organization TEXT NOT NULL,
    workspace    TEXT NOT NULL,
    role         TEXT NOT NULL,
    email        TEXT NOT NULL,
    hash         TEXT NOT NULL,
    made_by      TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    accepted_at  INTEGER,
    revoked_at   INTEGER
);
CREATE UNIQUE INDEX invitations_by_hash ON invitations (hash);
CREATE INDEX invitations_by_organization ON invitations (organization);

CREATE TABLE recovery_codes (
    user_id     TEXT NOT NULL,
    hash        TEXT NOT NULL,
    used_at     INTEGER,
    PRIMARY KEY (user_id, hash)
);

CREATE TABLE password_resets (
    id          TEXT NOT NULL PRIMARY KEY,
    user_id     TEXT NOT NULL,
    hash        TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL
);
CREATE UNIQUE INDEX password_resets_by_hash ON password_resets (hash);
CREATE INDEX password_resets_by_user ON password_resets (user_id);
