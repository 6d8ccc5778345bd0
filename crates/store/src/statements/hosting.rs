//! The texts about environments that the console owns: what they run on, what is bound to them, who has approved what.

use super::Statement;

/// One more change that gateways must know. First in its transaction: whoever publishes takes turns by this row.
pub(crate) static BUMP_REVISION: Statement =
    Statement::control("bump revision", "UPDATE revisions SET number = number + 1");
pub(crate) static REVISION: Statement = Statement::control("revision", "SELECT number FROM revisions");

pub(crate) static INSERT_HOSTED: Statement = Statement::control(
    "insert hosted environment",
    "INSERT INTO hosted (environment, region, approvals, bound, created_at) VALUES ($1, $2, $3, $4, $5)",
);
/// Where its workspace has none of this name.
pub(crate) static ADD_ENVIRONMENT: Statement = Statement::control(
    "add environment",
    "INSERT INTO environments (id, workspace, name, layer, handle, created_at) \
     SELECT $1, $2, $3, $4, $5, $6 WHERE NOT EXISTS (SELECT 1 FROM environments WHERE workspace = $2 AND name = $3)",
);
pub(crate) static SET_BOUND: Statement =
    Statement::control("set bound values", "UPDATE hosted SET bound = $2 WHERE environment = $1");
pub(crate) static SET_APPROVALS: Statement =
    Statement::control("set approvals", "UPDATE hosted SET approvals = $2 WHERE environment = $1");

macro_rules! publication_columns {
    () => {
        "p.seq, p.at, p.kind, p.author, p.message, p.stable, p.candidate, p.share, p.salt"
    };
}

/// Each with what it runs on. The last publication of an environment is that with the highest number.
pub(crate) static HOSTED: Statement = Statement::control(
    "hosted environments",
    concat!(
        "SELECT h.environment, o.handle, w.handle, e.name, e.layer, h.region, h.approvals, h.bound, ",
        publication_columns!(),
        ", s.document, c.document FROM hosted h \
         JOIN environments e ON e.handle = h.environment \
         JOIN workspaces w ON w.id = e.workspace \
         JOIN organizations o ON o.id = w.organization \
         JOIN publications p ON p.environment = h.environment \
             AND p.seq = (SELECT MAX(seq) FROM publications WHERE environment = h.environment) \
         JOIN releases s ON s.environment = h.environment AND s.number = p.stable \
         LEFT JOIN releases c ON c.environment = h.environment AND c.number = p.candidate \
         WHERE $1 = '' OR h.environment = $1 ORDER BY h.environment"
    ),
);

pub(crate) static INSERT_PUBLICATION: Statement = Statement::control(
    "insert publication",
    "INSERT INTO publications (environment, seq, at, kind, author, message, stable, candidate, share, salt) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
);
pub(crate) static PUBLICATIONS: Statement = Statement::control(
    "publications",
    concat!(
        "SELECT ",
        publication_columns!(),
        " FROM publications p WHERE p.environment = $1 AND p.seq < $2 ORDER BY p.seq DESC LIMIT $3"
    ),
);

/// $1: which environment; $2: only releases before this one; the newest first.
pub(crate) static RELEASES_OF: Statement = Statement::control(
    "releases of an environment",
    concat!(
        "SELECT ",
        super::release_columns!(),
        " FROM releases WHERE environment = $1 AND number < $2 ORDER BY number DESC LIMIT $3"
    ),
);

pub(crate) static INSERT_APPROVAL: Statement = Statement::control(
    "insert approval",
    "INSERT INTO approvals (environment, number, user_id, name, at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
);
pub(crate) static APPROVALS: Statement = Statement::control(
    "approvals",
    "SELECT user_id, name, at FROM approvals WHERE environment = $1 AND number = $2 ORDER BY at, user_id",
);

pub(crate) static CHOOSE_USER: Statement = Statement::control(
    "choose end user",
    "INSERT INTO chosen_users (environment, end_user, source, at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
);
pub(crate) static LEAVE_USER: Statement =
    Statement::control("leave end user", "DELETE FROM chosen_users WHERE environment = $1 AND end_user = $2");
pub(crate) static CHOSEN_USERS: Statement = Statement::control(
    "chosen end users",
    "SELECT environment, end_user, source FROM chosen_users WHERE $1 = '' OR environment = $1 ORDER BY environment, end_user LIMIT 200000",
);

/// The revision that a gateway serves.
pub(crate) static ACKNOWLEDGE: Statement = Statement::postgres(
    "acknowledge revision",
    "UPDATE nodes SET revision = $2 WHERE id = $1 AND revision < $2",
);

/// Every statement about hosted environments.
pub(crate) static STATEMENTS: [&Statement; 16] = [
    &BUMP_REVISION,
    &REVISION,
    &INSERT_HOSTED,
    &ADD_ENVIRONMENT,
    &SET_BOUND,
    &SET_APPROVALS,
    &HOSTED,
    &INSERT_PUBLICATION,
    &PUBLICATIONS,
    &RELEASES_OF,
    &INSERT_APPROVAL,
    &APPROVALS,
    &CHOOSE_USER,
    &LEAVE_USER,
    &CHOSEN_USERS,
    &ACKNOWLEDGE,
];
