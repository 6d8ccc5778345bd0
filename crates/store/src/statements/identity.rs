//! The texts about people and places: organizations, workspaces, environments, users, members, sessions, tokens,
//! invitations. Every one that is answered with many rows has a `LIMIT`.

use super::Statement;

macro_rules! user_columns {
    () => {
        "u.id, u.email, u.name, u.password, u.totp, u.totp_since, u.totp_step, u.created_at"
    };
}
macro_rules! session_columns {
    () => {
        "s.id, s.user_id, s.hash, s.address, s.agent, s.second, s.created_at, s.seen_at, s.expires_at"
    };
}
macro_rules! token_columns {
    () => {
        "id, kind, organization, workspace, user_id, name, hash, hint, scopes, created_at, expires_at, used_at, revoked_at"
    };
}
macro_rules! invitation_columns {
    () => {
        "id, organization, workspace, role, email, hash, made_by, created_at, expires_at, accepted_at, revoked_at"
    };
}

pub(crate) static INSERT_ORGANIZATION: Statement = Statement::control(
    "insert organization",
    "INSERT INTO organizations (id, name, handle, policy, created_at, adopted_at) VALUES ($1, $2, $3, $4, $5, $6)",
);
/// Where there is none of this handle.
pub(crate) static ENSURE_ORGANIZATION: Statement = Statement::control(
    "ensure organization",
    "INSERT INTO organizations (id, name, handle, policy, created_at) VALUES ($1, $2, $2, '{}', $3) ON CONFLICT DO NOTHING",
);
/// The one that nobody has adopted yet; once. An empty name leaves the name.
pub(crate) static ADOPT_ORGANIZATION: Statement = Statement::control(
    "adopt organization",
    "UPDATE organizations SET adopted_at = $2, name = CASE WHEN $3 = '' THEN name ELSE $3 END \
     WHERE handle = $1 AND adopted_at IS NULL",
);
/// Whoever is invited takes it over too: nobody who signs up afterwards does.
pub(crate) static SETTLE_ORGANIZATION: Statement = Statement::control(
    "settle organization",
    "UPDATE organizations SET adopted_at = $2 WHERE id = $1 AND adopted_at IS NULL",
);
pub(crate) static ORGANIZATION: Statement = Statement::control(
    "organization by handle or id",
    "SELECT id, name, handle, policy, created_at, adopted_at FROM organizations WHERE handle = $1 OR id = $1",
);
/// Whoever changes owners of an organization takes turns by this row.
pub(crate) static LOCK_ORGANIZATION: Statement =
    Statement::control("lock organization", "UPDATE organizations SET handle = handle WHERE id = $1");
pub(crate) static SET_ORGANIZATION: Statement =
    Statement::control("set organization", "UPDATE organizations SET name = $2, policy = $3 WHERE id = $1");

pub(crate) static INSERT_WORKSPACE: Statement = Statement::control(
    "insert workspace",
    "INSERT INTO workspaces (id, organization, name, handle, created_at) VALUES ($1, $2, $3, $4, $5)",
);
pub(crate) static ENSURE_WORKSPACE: Statement = Statement::control(
    "ensure workspace",
    "INSERT INTO workspaces (id, organization, name, handle, created_at) \
     SELECT $1, id, $3, $3, CAST($4 AS BIGINT) FROM organizations WHERE handle = $2 ON CONFLICT DO NOTHING",
);
pub(crate) static INSERT_ENVIRONMENT: Statement = Statement::control(
    "insert environment",
    "INSERT INTO environments (id, workspace, name, layer, handle, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
);
pub(crate) static ENSURE_ENVIRONMENT: Statement = Statement::control(
    "ensure environment",
    "INSERT INTO environments (id, workspace, name, layer, handle, created_at) \
     SELECT $1, w.id, $4, $5, $4, CAST($6 AS BIGINT) FROM workspaces w JOIN organizations o ON o.id = w.organization \
     WHERE o.handle = $2 AND w.handle = $3 \
     ON CONFLICT (handle) DO UPDATE SET workspace = excluded.workspace, layer = excluded.layer",
);
/// $1: an organization's id, or '' for all. $2: a user's id, or '' for all.
pub(crate) static PLACES: Statement = Statement::control(
    "places",
    "SELECT o.id, o.handle, o.name, w.id, w.handle, w.name, e.id, e.handle, e.name, e.layer \
     FROM environments e JOIN workspaces w ON w.id = e.workspace JOIN organizations o ON o.id = w.organization \
     WHERE ($1 = '' OR o.id = $1) \
     AND ($2 = '' OR o.id IN (SELECT organization FROM members WHERE user_id = $2)) \
     ORDER BY o.created_at, o.id, w.created_at, w.id, e.created_at, e.id LIMIT 10000",
);
pub(crate) static WORKSPACE: Statement = Statement::control(
    "workspace",
    "SELECT id, organization, name, handle, created_at FROM workspaces WHERE id = $1",
);

pub(crate) static INSERT_USER: Statement = Statement::control(
    "insert user",
    "INSERT INTO users (id, email, name, password, totp_step, created_at, changed_at) VALUES ($1, $2, $3, $4, 0, $5, $5)",
);
pub(crate) static USER_BY_EMAIL: Statement = Statement::control(
    "user by e-mail",
    concat!("SELECT ", user_columns!(), " FROM users u WHERE u.email = $1"),
);
pub(crate) static USER_BY_ID: Statement =
    Statement::control("user by id", concat!("SELECT ", user_columns!(), " FROM users u WHERE u.id = $1"));
pub(crate) static SET_PASSWORD: Statement =
    Statement::control("set password", "UPDATE users SET password = $2, changed_at = $3 WHERE id = $1");
pub(crate) static SET_TOTP: Statement = Statement::control(
    "set second factor",
    "UPDATE users SET totp = $2, totp_since = $3, totp_step = $4 WHERE id = $1",
);
/// A step is used once: whoever comes second finds nothing to change.
pub(crate) static USE_TOTP_STEP: Statement = Statement::control(
    "use a step of the second factor",
    "UPDATE users SET totp_step = $2 WHERE id = $1 AND totp_step < $2",
);
pub(crate) static INSERT_RECOVERY: Statement =
    Statement::control("insert recovery code", "INSERT INTO recovery_codes (user_id, hash) VALUES ($1, $2)");
pub(crate) static DROP_RECOVERY: Statement =
    Statement::control("drop recovery codes", "DELETE FROM recovery_codes WHERE user_id = $1");
pub(crate) static USE_RECOVERY: Statement = Statement::control(
    "use recovery code",
    "UPDATE recovery_codes SET used_at = $3 WHERE user_id = $1 AND hash = $2 AND used_at IS NULL",
);

pub(crate) static INSERT_SESSION: Statement = Statement::control(
    "insert session",
    "INSERT INTO sessions (id, user_id, hash, address, agent, second, created_at, seen_at, expires_at) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
);
pub(crate) static SESSION_BY_HASH: Statement = Statement::control(
    "session by hash",
    concat!(
        "SELECT ",
        session_columns!(),
        ", ",
        user_columns!(),
        " FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.hash = $1"
    ),
);
pub(crate) static SESSIONS: Statement = Statement::control(
    "sessions of a user",
    concat!(
        "SELECT ",
        session_columns!(),
        " FROM sessions s WHERE s.user_id = $1 AND s.expires_at > $2 ORDER BY s.created_at DESC, s.id LIMIT 1000"
    ),
);
pub(crate) static SEE_SESSION: Statement =
    Statement::control("see session", "UPDATE sessions SET seen_at = $2 WHERE id = $1");
pub(crate) static SHOW_SECOND: Statement = Statement::control(
    "show a second factor",
    "UPDATE sessions SET second = 1 WHERE user_id = $1 AND id = $2",
);
pub(crate) static END_SESSION: Statement =
    Statement::control("end session", "DELETE FROM sessions WHERE user_id = $1 AND id = $2");
/// $2: the one that stays, or ''.
pub(crate) static END_SESSIONS: Statement =
    Statement::control("end sessions", "DELETE FROM sessions WHERE user_id = $1 AND id <> $2");
pub(crate) static EXPIRE_SESSIONS: Statement =
    Statement::control("expire sessions", "DELETE FROM sessions WHERE expires_at <= $1");

pub(crate) static INSERT_MEMBER: Statement = Statement::control(
    "insert member",
    "INSERT INTO members (id, organization, workspace, user_id, role, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
);
pub(crate) static MEMBERS_OF_USER: Statement = Statement::control(
    "memberships of a user",
    "SELECT m.id, m.organization, m.workspace, m.user_id, m.role, m.created_at, o.handle, o.name, o.policy \
     FROM members m JOIN organizations o ON o.id = m.organization WHERE m.user_id = $1 \
     ORDER BY m.created_at, m.id LIMIT 1000",
);
pub(crate) static MEMBERS: Statement = Statement::control(
    "members",
    "SELECT m.id, m.organization, m.workspace, m.user_id, m.role, m.created_at, u.email, u.name, u.totp_since \
     FROM members m JOIN users u ON u.id = m.user_id WHERE m.organization = $1 \
     ORDER BY m.created_at, m.id LIMIT 10000",
);
pub(crate) static MEMBER: Statement = Statement::control(
    "member",
    "SELECT id, organization, workspace, user_id, role, created_at FROM members WHERE id = $1",
);
/// An organization keeps an owner: the last one is not changed.
pub(crate) static SET_ROLE: Statement = Statement::control(
    "set role",
    "UPDATE members SET role = $2 WHERE id = $1 AND (role <> 'owner' OR workspace <> '' OR $2 = 'owner' \
     OR EXISTS (SELECT 1 FROM members o WHERE o.organization = members.organization AND o.workspace = '' \
     AND o.role = 'owner' AND o.id <> members.id))",
);
pub(crate) static DROP_MEMBER: Statement = Statement::control(
    "drop member",
    "DELETE FROM members WHERE id = $1 AND (role <> 'owner' OR workspace <> '' \
     OR EXISTS (SELECT 1 FROM members o WHERE o.organization = members.organization AND o.workspace = '' \
     AND o.role = 'owner' AND o.id <> members.id))",
);

pub(crate) static INSERT_INVITATION: Statement = Statement::control(
    "insert invitation",
    concat!(
        "INSERT INTO invitations (",
        invitation_columns!(),
        ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
    ),
);
pub(crate) static INVITATION_BY_HASH: Statement = Statement::control(
    "invitation by hash",
    concat!("SELECT ", invitation_columns!(), " FROM invitations WHERE hash = $1"),
);
pub(crate) static INVITATION: Statement = Statement::control(
    "invitation",
    concat!("SELECT ", invitation_columns!(), " FROM invitations WHERE id = $1"),
);
pub(crate) static INVITATIONS: Statement = Statement::control(
    "invitations",
    concat!(
        "SELECT ",
        invitation_columns!(),
        " FROM invitations WHERE organization = $1 ORDER BY created_at DESC, id LIMIT 1000"
    ),
);
pub(crate) static REVOKE_INVITATION: Statement = Statement::control(
    "revoke invitation",
    "UPDATE invitations SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL AND accepted_at IS NULL",
);
/// Once: whoever comes second finds nothing to change.
pub(crate) static ACCEPT_INVITATION: Statement = Statement::control(
    "accept invitation",
    "UPDATE invitations SET accepted_at = $2 WHERE id = $1 AND accepted_at IS NULL AND revoked_at IS NULL \
     AND expires_at > $2",
);

pub(crate) static INSERT_TOKEN: Statement = Statement::control(
    "insert token",
    concat!(
        "INSERT INTO tokens (",
        token_columns!(),
        ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"
    ),
);
pub(crate) static TOKEN_BY_HASH: Statement = Statement::control(
    "token by hash",
    concat!("SELECT ", token_columns!(), " FROM tokens WHERE hash = $1 AND revoked_at IS NULL"),
);
pub(crate) static TOKEN: Statement =
    Statement::control("token", concat!("SELECT ", token_columns!(), " FROM tokens WHERE id = $1"));
/// $1: whose personal ones; $2: which organization's service ones.
pub(crate) static TOKENS: Statement = Statement::control(
    "tokens",
    concat!(
        "SELECT ",
        token_columns!(),
        " FROM tokens WHERE revoked_at IS NULL AND ((kind = 'personal' AND user_id = $1) \
         OR (kind = 'service' AND organization = $2)) ORDER BY created_at DESC, id LIMIT 1000"
    ),
);
pub(crate) static SEE_TOKEN: Statement =
    Statement::control("see token", "UPDATE tokens SET used_at = $2 WHERE id = $1");
pub(crate) static REVOKE_TOKEN: Statement = Statement::control(
    "revoke token",
    "UPDATE tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL",
);

pub(crate) static INSERT_RESET: Statement = Statement::control(
    "insert password reset",
    "INSERT INTO password_resets (id, user_id, hash, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)",
);
pub(crate) static RESET_BY_HASH: Statement = Statement::control(
    "password reset by hash",
    "SELECT id, user_id FROM password_resets WHERE hash = $1 AND expires_at > $2",
);
/// One is used, all are gone.
pub(crate) static DROP_RESETS: Statement =
    Statement::control("drop password resets", "DELETE FROM password_resets WHERE user_id = $1");
pub(crate) static USE_RESET: Statement =
    Statement::control("use password reset", "DELETE FROM password_resets WHERE id = $1");

/// Every statement about people and places.
pub(crate) static STATEMENTS: [&Statement; 52] = [
    &INSERT_ORGANIZATION,
    &ENSURE_ORGANIZATION,
    &ADOPT_ORGANIZATION,
    &SETTLE_ORGANIZATION,
    &ORGANIZATION,
    &LOCK_ORGANIZATION,
    &SET_ORGANIZATION,
    &INSERT_WORKSPACE,
    &ENSURE_WORKSPACE,
    &INSERT_ENVIRONMENT,
    &ENSURE_ENVIRONMENT,
    &PLACES,
    &WORKSPACE,
    &INSERT_USER,
    &USER_BY_EMAIL,
    &USER_BY_ID,
    &SET_PASSWORD,
    &SET_TOTP,
    &USE_TOTP_STEP,
    &INSERT_RECOVERY,
    &DROP_RECOVERY,
    &USE_RECOVERY,
    &INSERT_SESSION,
    &SESSION_BY_HASH,
    &SESSIONS,
    &SEE_SESSION,
    &SHOW_SECOND,
    &END_SESSION,
    &END_SESSIONS,
    &EXPIRE_SESSIONS,
    &INSERT_MEMBER,
    &MEMBERS_OF_USER,
    &MEMBERS,
    &MEMBER,
    &SET_ROLE,
    &DROP_MEMBER,
    &INSERT_INVITATION,
    &INVITATION_BY_HASH,
    &INVITATION,
    &INVITATIONS,
    &REVOKE_INVITATION,
    &ACCEPT_INVITATION,
    &INSERT_TOKEN,
    &TOKEN_BY_HASH,
    &TOKEN,
    &TOKENS,
    &SEE_TOKEN,
    &REVOKE_TOKEN,
    &INSERT_RESET,
    &RESET_BY_HASH,
    &DROP_RESETS,
    &USE_RESET,
];
