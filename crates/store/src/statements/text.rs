//! The texts. Optional filters are written `($1 = '' OR column = $1)`, so that one prepared text serves every
//! combination; values come in the order of the columns named here, and rows are read in it.

use super::{Bulk, Home, Statement};

/// Where a call belongs. The same in nearly every row of a batch.
macro_rules! place_columns {
    () => {
        "organization, workspace, environment, layer, region, release, variant, prompt_version"
    };
}

/// What most calls tell of their usage, and what few do.
macro_rules! usage_columns {
    () => {
        "input_tokens, cached_input_tokens, output_tokens, reasoning_tokens"
    };
}
macro_rules! rare_usage_columns {
    () => {
        "cache_write_tokens, audio_input_tokens, audio_output_tokens, images"
    };
}

/// The columns of `entries` that many of a batch have in common.
macro_rules! entry_shared {
    () => {
        concat!(
            place_columns!(),
            ", kind, seq, endpoint, provider, model, outcome, basis, estimated, cost_currency, charge_currency, \
             price_version, overrun"
        )
    };
}

/// The columns that every entry fills.
macro_rules! entry_columns {
    () => {
        concat!(
            "request_id, attempt_no, at, settled_at, key_id, key_name, ",
            usage_columns!(),
            ", cost, charge, budgets, end_user"
        )
    };
}

/// The columns of `request_log` that many of a batch have in common.
macro_rules! log_shared {
    () => {
        concat!(
            place_columns!(),
            ", endpoint, provider, model_answered, status, stream, error_code, finish_reason, attempts, estimated, \
             cost_currency, bodies_truncated"
        )
    };
}

/// The columns that every line fills.
macro_rules! log_columns {
    () => {
        concat!(
            "request_id, at, key_id, key_name, model_asked, ",
            usage_columns!(),
            ", cost, first_byte_us, duration_us, gateway_us, upstream_request_id, end_user"
        )
    };
}

/// The columns that few lines fill.
macro_rules! rare_log_columns {
    () => {
        concat!(rare_usage_columns!(), ", session, tags, request_body, response_body")
    };
}

/// Now, by the server's clock, microseconds.
macro_rules! server_time {
    () => {
        "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)"
    };
}

mod nodes;

pub(crate) use nodes::*;

pub(crate) static BEGIN_SQLITE: Statement = Statement::sqlite("begin (SQLite)", "BEGIN IMMEDIATE");
/// Gives the pages that a fold has read back: the cache of a busy hour is not held for ever.
pub(crate) static SHRINK: Statement = Statement::sqlite("give memory back", "PRAGMA shrink_memory");
pub(crate) static BEGIN_POSTGRES: Statement = Statement::postgres("begin (PostgreSQL)", "BEGIN");
pub(crate) static COMMIT: Statement = Statement::control("commit", "COMMIT");
pub(crate) static ROLLBACK: Statement = Statement::control("rollback", "ROLLBACK");
pub(crate) static PING: Statement = Statement::control("ping", "SELECT 1");

/// Entries that fill every column.
pub(crate) static INSERT_ENTRIES: Bulk = Bulk::new(
    "insert entries",
    Home::Control,
    "entries",
    entry_shared!(),
    concat!(entry_columns!(), ", session, tags, ", rare_usage_columns!()),
    "ON CONFLICT DO NOTHING",
);
/// Entries that leave the rare columns empty: naming them only to say so costs a third of the insert.
pub(crate) static INSERT_PLAIN_ENTRIES: Bulk = Bulk::new(
    "insert plain entries",
    Home::Control,
    "entries",
    entry_shared!(),
    entry_columns!(),
    "ON CONFLICT DO NOTHING",
);

macro_rules! on_conflict_add_balance {
    () => {
        "ON CONFLICT (scope, window_start, currency) DO UPDATE SET \
         spent = CASE WHEN balance_sums.spent + excluded.spent > 4611686018427387903 THEN 4611686018427387903 \
         ELSE balance_sums.spent + excluded.spent END"
    };
}

macro_rules! usage_key {
    () => {
        "hour, key_id, model, endpoint, release, variant, prompt_version, end_user, currency"
    };
}

macro_rules! on_conflict_add_usage {
    () => {
        concat!(
            "ON CONFLICT (",
            usage_key!(),
            ") DO UPDATE SET \
             requests = usage_sums.requests + excluded.requests, \
             attempts = usage_sums.attempts + excluded.attempts, \
             input_tokens = usage_sums.input_tokens + excluded.input_tokens, \
             cached_input_tokens = usage_sums.cached_input_tokens + excluded.cached_input_tokens, \
             cache_write_tokens = usage_sums.cache_write_tokens + excluded.cache_write_tokens, \
             output_tokens = usage_sums.output_tokens + excluded.output_tokens, \
             reasoning_tokens = usage_sums.reasoning_tokens + excluded.reasoning_tokens, \
             cost = CASE WHEN usage_sums.cost + excluded.cost > 4611686018427387903 THEN 4611686018427387903 \
             ELSE usage_sums.cost + excluded.cost END, \
             unknown_cost_requests = usage_sums.unknown_cost_requests + excluded.unknown_cost_requests, \
             estimated_requests = usage_sums.estimated_requests + excluded.estimated_requests"
        )
    };
}

/// How far the entries are folded, and how far they reach.
pub(crate) static UNFOLDED: Statement =
    Statement::control("unfolded", "SELECT up_to, (SELECT COALESCE(MAX(id), 0) FROM entries) FROM folded");

/// $1 and $2: after and up to which entry. Sums stop at half of what an integer holds, where adding two still fits: an
/// error here would come again for ever.
pub(crate) static FOLD_BALANCES: Statement = Statement::control(
    "fold balances",
    concat!(
        "INSERT INTO balance_sums (scope, window_start, currency, spent) \
         SELECT scope, window_start, currency, CAST(SUM(spent) AS BIGINT) FROM entry_charges \
         WHERE id > $1 AND id <= $2 GROUP BY scope, window_start, currency ",
        on_conflict_add_balance!()
    ),
);
/// The same for sums that were kept while the entries came.
pub(crate) static ADD_BALANCES: Bulk = Bulk::new(
    "add to the balances",
    Home::Control,
    "balance_sums",
    "currency",
    "scope, window_start, spent",
    on_conflict_add_balance!(),
);

pub(crate) static FOLD_USAGE: Statement = Statement::control(
    "fold usage",
    concat!(
        "INSERT INTO usage_sums (",
        usage_key!(),
        ", organization, workspace, environment, layer, region, key_name, provider, requests, attempts, \
         input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost, \
         unknown_cost_requests, estimated_requests) SELECT ",
        usage_key!(),
        ", MAX(organization), MAX(workspace), MAX(environment), MAX(layer), MAX(region), MAX(key_name), \
         MAX(provider), SUM(requests), SUM(attempts), CAST(SUM(input_tokens) AS BIGINT), \
         CAST(SUM(cached_input_tokens) AS BIGINT), CAST(SUM(cache_write_tokens) AS BIGINT), \
         CAST(SUM(output_tokens) AS BIGINT), CAST(SUM(reasoning_tokens) AS BIGINT), CAST(SUM(cost) AS BIGINT), \
         SUM(unknown_cost_requests), SUM(estimated_requests) \
         FROM entry_usage WHERE id > $1 AND id <= $2 GROUP BY ",
        usage_key!(),
        " ",
        on_conflict_add_usage!(),
    ),
);

/// The same for sums that were kept while the entries came.
pub(crate) static ADD_USAGE: Bulk = Bulk::new(
    "add to the usage",
    Home::Control,
    "usage_sums",
    concat!("hour, currency, ", place_columns!()),
    "key_id, key_name, model, provider, endpoint, end_user, requests, attempts, input_tokens, cached_input_tokens, \
     cache_write_tokens, output_tokens, reasoning_tokens, cost, unknown_cost_requests, estimated_requests",
    on_conflict_add_usage!(),
);

pub(crate) static FOLDED: Statement = Statement::control("folded", "UPDATE folded SET up_to = $1");

/// Batches hold it together and a fold holds it alone: an id that is given out but not committed yet must not be passed
/// over. The number is this lock's name among the advisory locks of the database.
pub(crate) static SHARE_ENTRIES: Statement = Statement::postgres(
    "share the entries",
    "SELECT 1 FROM (SELECT pg_advisory_xact_lock_shared(8466212404)) AS locked",
);
pub(crate) static LOCK_ENTRIES: Statement = Statement::postgres(
    "lock the entries",
    "SELECT 1 FROM (SELECT pg_advisory_xact_lock(8466212404)) AS locked",
);

pub(crate) static BALANCES: Statement = Statement::control(
    "balances",
    "SELECT scope, window_start, currency, spent FROM balances WHERE window_start >= $1 OR window_start <= 0 \
     ORDER BY scope, window_start, currency",
);

/// $1 from, $2 to, $3 environment, $4 key (name or id); then for each group, whether to group by it. $15: only these
/// environments, as `,one,other,`; they hold no comma.
pub(crate) static USAGE: Statement = Statement::control(
    "usage",
    "SELECT CASE WHEN $5 = 1 THEN hour WHEN $6 = 1 THEN hour - hour % 86400000000 ELSE -1 END AS period, \
     CASE WHEN $7 = 1 THEN environment ELSE '' END AS by_environment, \
     CASE WHEN $8 = 1 THEN key_id ELSE '' END AS by_key, \
     CASE WHEN $9 = 1 THEN provider ELSE '' END AS by_provider, \
     CASE WHEN $10 = 1 THEN model ELSE '' END AS by_model, \
     CASE WHEN $11 = 1 THEN end_user ELSE '' END AS by_end_user, \
     CASE WHEN $12 = 1 THEN release ELSE -1 END AS by_release, \
     CASE WHEN $13 = 1 THEN endpoint ELSE '' END AS by_endpoint, \
     currency, CASE WHEN $8 = 1 THEN MAX(key_name) ELSE '' END, \
     CAST(SUM(requests) AS BIGINT), CAST(SUM(attempts) AS BIGINT), \
     CAST(SUM(input_tokens) AS BIGINT), CAST(SUM(cached_input_tokens) AS BIGINT), \
     CAST(SUM(cache_write_tokens) AS BIGINT), CAST(SUM(output_tokens) AS BIGINT), \
     CAST(SUM(reasoning_tokens) AS BIGINT), CAST(SUM(cost) AS BIGINT), \
     CAST(SUM(unknown_cost_requests) AS BIGINT), CAST(SUM(estimated_requests) AS BIGINT) \
     FROM usage_hourly WHERE hour >= $1 AND hour < $2 AND ($3 = '' OR environment = $3) \
     AND ($4 = '' OR key_name = $4 OR key_id = $4) AND ($15 = '' OR REPLACE($15, ',' || environment || ',', '') <> $15) \
     GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9 ORDER BY 1, 2, 3, 4, 5, 6, 7, 8, 9 LIMIT $14",
);

/// Lines that fill every column.
pub(crate) static INSERT_LOGS: Bulk = Bulk::new(
    "insert into the request log",
    Home::Log,
    "request_log",
    log_shared!(),
    concat!(log_columns!(), ", ", rare_log_columns!()),
    "ON CONFLICT DO NOTHING",
);
/// Lines that leave the rare columns empty.
pub(crate) static INSERT_PLAIN_LOGS: Bulk = Bulk::new(
    "insert plain lines into the request log",
    Home::Log,
    "request_log",
    log_shared!(),
    log_columns!(),
    "ON CONFLICT DO NOTHING",
);

/// The filters of a page of the log: $1 environment, $2 key (name or id), $3 model (asked or answered), $4 status or
/// -1, $5 and $6 the span of time in which it lies, $7 the cursor, $9 only these environments, as `,one,other,`.
macro_rules! log_page {
    ($cursor:literal, $order:literal) => {
        concat!(
            "SELECT ",
            log_shared!(),
            ", ",
            log_columns!(),
            ", ",
            rare_log_columns!(),
            " FROM request_log WHERE ($1 = '' OR environment = $1) AND ($2 = '' OR key_name = $2 OR key_id = $2) ",
            "AND ($3 = '' OR model_asked = $3 OR model_answered = $3) AND ($4 = -1 OR status = $4) ",
            "AND at >= $5 AND at < $6 AND ($9 = '' OR REPLACE($9, ',' || environment || ',', '') <> $9) AND request_id ",
            $cursor,
            " $7 ORDER BY request_id ",
            $order,
            " LIMIT $8"
        )
    };
}

pub(crate) static LOGS_BEFORE: Statement = Statement::log("logs before", log_page!("<", "DESC"));
pub(crate) static LOGS_AFTER: Statement = Statement::log("logs after", log_page!(">", "ASC"));
pub(crate) static LOG: Statement = Statement::log(
    "log of a request",
    concat!(
        "SELECT ",
        log_shared!(),
        ", ",
        log_columns!(),
        ", ",
        rare_log_columns!(),
        " FROM request_log WHERE request_id = $1 AND at >= $2 AND at < $3"
    ),
);

pub(crate) static KEYS: Statement =
    Statement::control("keys", "SELECT document FROM keys ORDER BY environment, name, created_at, id");
/// $1: the oldest change that is of interest; $2: how many at most.
pub(crate) static KEYS_SINCE: Statement = Statement::control(
    "keys since",
    "SELECT updated_at, document FROM keys WHERE updated_at >= $1 ORDER BY updated_at, id LIMIT $2",
);
pub(crate) static KEY_BY_ID: Statement =
    Statement::control("key by id", "SELECT document FROM keys WHERE id = $1");
pub(crate) static KEY_BY_NAME: Statement = Statement::control(
    "key by name",
    "SELECT document FROM keys WHERE environment = $1 AND name = $2 AND revoked_at IS NULL",
);
pub(crate) static INSERT_KEY: Statement = Statement::control(
    "insert key",
    "INSERT INTO keys (id, environment, name, hash, created_at, updated_at, revoked_at, document) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
);
pub(crate) static UPDATE_KEY: Statement = Statement::control(
    "update key",
    "UPDATE keys SET environment = $2, name = $3, hash = $4, updated_at = $5, revoked_at = $6, document = $7 \
     WHERE id = $1",
);

pub(crate) static RELEASES: Statement = Statement::control(
    "releases",
    concat!("SELECT ", release_columns!(), " FROM releases ORDER BY at DESC, number DESC LIMIT $1"),
);
pub(crate) static RELEASE: Statement = Statement::control(
    "release",
    concat!("SELECT ", release_columns!(), " FROM releases WHERE environment = $1 AND number = $2"),
);
pub(crate) static LATEST_RELEASE: Statement = Statement::control(
    "latest release",
    concat!(
        "SELECT ",
        release_columns!(),
        " FROM releases WHERE environment = $1 ORDER BY number DESC LIMIT 1"
    ),
);
/// The console marks its own.
pub(crate) static LATEST_DECLARED: Statement = Statement::control(
    "latest declared release",
    concat!(
        "SELECT ",
        release_columns!(),
        " FROM releases WHERE source <> 'console' AND source NOT LIKE 'console, %' ORDER BY number DESC LIMIT 1"
    ),
);
pub(crate) static INSERT_RELEASE: Statement = Statement::control(
    "insert release",
    concat!("INSERT INTO releases (", release_columns!(), ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"),
);

macro_rules! response_columns {
    ($table:literal) => {
        concat!(
            $table,
            "environment, ",
            $table,
            "id, ",
            $table,
            "previous, ",
            $table,
            "key_id, ",
            $table,
            "provider, ",
            $table,
            "model, ",
            $table,
            "background, ",
            $table,
            "running, ",
            $table,
            "created_at, ",
            $table,
            "expires_at, ",
            $table,
            "sealed"
        )
    };
}

/// Whoever was first keeps the id.
pub(crate) static INSERT_RESPONSE: Statement = Statement::responses(
    "insert response",
    concat!(
        "INSERT INTO responses (",
        response_columns!(""),
        ", size) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT DO NOTHING"
    ),
);
pub(crate) static FINISH_RESPONSE: Statement = Statement::responses(
    "finish response",
    "UPDATE responses SET sealed = $3, size = $4, running = NULL \
     WHERE environment = $1 AND id = $2 AND running IS NOT NULL",
);
pub(crate) static RENEW_RESPONSE: Statement = Statement::responses(
    "renew response",
    "UPDATE responses SET running = $3 WHERE environment = $1 AND id = $2 AND running IS NOT NULL",
);
/// $3: now.
pub(crate) static RESPONSE: Statement = Statement::responses(
    "response",
    concat!(
        "SELECT ",
        response_columns!(""),
        " FROM responses WHERE environment = $1 AND id = $2 AND expires_at > $3"
    ),
);
/// $3: now; $4: how many at most; $5: bytes of all together at most. Contents are fetched when it is known which.
pub(crate) static RESPONSE_CHAIN: Statement = Statement::responses(
    "chain of responses",
    concat!(
        "WITH RECURSIVE chain (depth, total, environment, id, previous) AS (\
         SELECT CAST(1 AS BIGINT), size, environment, id, previous FROM responses \
         WHERE environment = $1 AND id = $2 AND expires_at > $3 \
         UNION ALL SELECT chain.depth + 1, chain.total + r.size, r.environment, r.id, r.previous FROM chain \
         JOIN responses r ON r.environment = chain.environment AND r.id = chain.previous \
         WHERE r.expires_at > $3 AND chain.depth < $4 AND chain.total + r.size <= $5) \
         SELECT ",
        response_columns!("r."),
        " FROM chain JOIN responses r ON r.environment = chain.environment AND r.id = chain.id ORDER BY chain.depth"
    ),
);
pub(crate) static DELETE_RESPONSE: Statement = Statement::responses(
    "delete response",
    "DELETE FROM responses WHERE environment = $1 AND id = $2 AND expires_at > $3",
);
/// $1: now; $2: how many at most.
pub(crate) static EXPIRE_RESPONSES: Statement = Statement::responses(
    "expire responses",
    "DELETE FROM responses WHERE (environment, id) IN \
     (SELECT environment, id FROM responses WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)",
);
pub(crate) static RESPONSES_SIZE: Statement =
    Statement::responses("size of responses", "SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM responses");

pub(crate) static MIGRATIONS: Statement =
    Statement::control("migrations", "SELECT number, name FROM migrations ORDER BY number");
pub(crate) static INSERT_MIGRATION: Statement = Statement::control(
    "insert migration",
    "INSERT INTO migrations (number, name, applied_at) VALUES ($1, $2, $3)",
);

/// Nodes that start together take turns. The number is this lock's name among the advisory locks of the database.
pub(crate) static LOCK_SCHEMA: Statement = Statement::postgres(
    "lock the schema",
    "SELECT 1 FROM (SELECT pg_advisory_xact_lock(8466212403)) AS locked",
);
pub(crate) static PARTITIONS: Statement = Statement::postgres(
    "partitions of the request log",
    "SELECT CAST(child.relname AS TEXT) FROM pg_inherits JOIN pg_class child ON child.oid = pg_inherits.inhrelid \
     WHERE pg_inherits.inhparent = CAST('request_log' AS regclass) ORDER BY 1",
);

/// Every statement of one row or none.
pub(crate) static STATEMENTS: [&Statement; 51] = [
    &BEGIN_SQLITE,
    &SHRINK,
    &BEGIN_POSTGRES,
    &COMMIT,
    &ROLLBACK,
    &PING,
    &UNFOLDED,
    &FOLD_BALANCES,
    &FOLD_USAGE,
    &FOLDED,
    &SHARE_ENTRIES,
    &LOCK_ENTRIES,
    &BALANCES,
    &USAGE,
    &LOGS_BEFORE,
    &LOGS_AFTER,
    &LOG,
    &KEYS,
    &KEYS_SINCE,
    &KEY_BY_ID,
    &KEY_BY_NAME,
    &INSERT_KEY,
    &UPDATE_KEY,
    &RELEASES,
    &RELEASE,
    &LATEST_RELEASE,
    &LATEST_DECLARED,
    &INSERT_RELEASE,
    &INSERT_RESPONSE,
    &FINISH_RESPONSE,
    &RENEW_RESPONSE,
    &RESPONSE,
    &RESPONSE_CHAIN,
    &DELETE_RESPONSE,
    &EXPIRE_RESPONSES,
    &RESPONSES_SIZE,
    &SHOW_NODE,
    &NODES,
    &FORGET_NODE,
    &FREE_LEASES,
    &WANTED_WINDOWS,
    &LOCK_WINDOWS,
    &WINDOW_LEASES,
    &SET_LEASES,
    &WANT_WINDOWS,
    &DROP_LEASES,
    &DROP_WINDOWS,
    &MIGRATIONS,
    &INSERT_MIGRATION,
    &LOCK_SCHEMA,
    &PARTITIONS,
];

/// Every statement of many rows.
pub(crate) static BULKS: [&Bulk; 6] =
    [&INSERT_ENTRIES, &INSERT_PLAIN_ENTRIES, &ADD_BALANCES, &ADD_USAGE, &INSERT_LOGS, &INSERT_PLAIN_LOGS];
