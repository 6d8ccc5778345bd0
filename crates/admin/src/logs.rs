//! `GET /api/logs`: requests, newest first, one page at a time by cursor.
//!
//! `before` walks into the past, `after` asks for what is new since a request: that is how a terminal
//! follows. Request ids order by time, so a cursor is just an id and pages never shift.

use crate::caller::Caller;
use crate::permissions::Permission;
use crate::read::Asked;
use crate::{Admin, ApiError, spans};
use axum::Json;
use axum::extract::State;
use ledger::RequestLog;
use policy::RequestId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::LogFilter;

const MOST: u32 = 1_000;

/// The query of `GET /api/logs`.
pub(crate) const QUERY: &[(&str, &str)] = &[
    ("environment", "Only this environment"),
    ("key", "Only this key, by name or id"),
    ("model", "Only this model, asked for or answered by"),
    ("status", "Only this HTTP status"),
    ("since", "A time (RFC 3339) or a span back from now"),
    ("until", "A time or a span back from now"),
    ("request_id", "Only this request"),
    ("before", "Only requests older than this request id"),
    ("after", "Only requests newer than this request id"),
    ("limit", "1 to 1000; absent means 50"),
    ("bodies", "`true` adds stored bodies, where the environment keeps them"),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogsQuery {
    environment: Option<String>,
    key: Option<String>,
    model: Option<String>,
    status: Option<u16>,
    since: Option<String>,
    until: Option<String>,
    request_id: Option<String>,
    before: Option<String>,
    after: Option<String>,
    limit: Option<u32>,
    #[serde(default)]
    bodies: bool,
}

#[derive(Serialize)]
pub(crate) struct LogList {
    logs: Vec<Value>,
    /// The cursor of the page before this one in time: pass it as `before`.
    next: Option<String>,
}

pub(crate) async fn list(
    State(admin): State<Admin>,
    caller: Caller,
    Asked(query): Asked<LogsQuery>,
) -> Result<Json<LogList>, ApiError> {
    let store = admin.store.load()?;
    let (scope, told) = (caller.scope(Permission::ReadLogs), caller.scope(Permission::ReadBodies));
    let view = |log: &RequestLog| view(log, query.bodies && told.contains(&log.labels.environment));
    if let Some(text) = &query.request_id {
        let id = parse_id("request_id", text)?;
        let found = store.find_log(&id).await?.filter(|log| scope.contains(&log.labels.environment));
        let logs = found.iter().map(view).collect();
        return Ok(Json(LogList { logs, next: None }));
    }
    let mut filter = filter_of(&query, admin.clock.now())?;
    filter.environment = query.environment.as_deref().map(|asked| caller.handle_of(asked).to_string());
    filter.within = scope.within();
    let lines = store.logs(&filter).await?;
    let next = lines.last().filter(|_| lines.len() >= filter.limit).map(|log| log.request_id.to_string());
    Ok(Json(LogList { logs: lines.iter().map(view).collect(), next }))
}

fn filter_of(query: &LogsQuery, now: policy::Timestamp) -> Result<LogFilter, ApiError> {
    let point = |field: &str, text: &Option<String>| {
        text.as_deref().map(|text| spans::past_point(field, text, now)).transpose()
    };
    let cursor =
        |field: &str, text: &Option<String>| text.as_deref().map(|text| parse_id(field, text)).transpose();
    let limit = query.limit.unwrap_or(50);
    if !(1..=MOST).contains(&limit) {
        return Err(ApiError::Invalid(format!("limit: `{limit}` is not between 1 and {MOST}")));
    }
    Ok(LogFilter {
        environment: None,
        within: None,
        key: query.key.clone(),
        model: query.model.clone(),
        status: query.status,
        since: point("since", &query.since)?,
        until: point("until", &query.until)?,
        before: cursor("before", &query.before)?,
        after: cursor("after", &query.after)?,
        limit: usize::try_from(limit).unwrap_or(50),
    })
}

fn parse_id(field: &str, text: &str) -> Result<RequestId, ApiError> {
    text.parse()
        .map_err(|_| ApiError::Invalid(format!("{field}: `{}` is not a request id", text.escape_debug())))
}

/// One line. What nobody knows is absent (`null`), never zero.
fn view(log: &RequestLog, bodies: bool) -> Value {
    #[expect(clippy::cast_precision_loss, reason = "hours in microseconds are far below 2^53")]
    let ms = |micros: u64| micros as f64 / 1_000.0;
    let tags: serde_json::Map<String, Value> =
        log.client_tags().map(|(name, value)| (name.to_string(), Value::from(&**value))).collect();
    let guardrails: serde_json::Map<String, Value> =
        log.guardrails().map(|(name, told)| (name.to_owned(), Value::from(told))).collect();
    let mut line = json!({
        "request_id": log.request_id.to_string(),
        "time": log.at.to_string(),
        "environment": log.labels.environment,
        "key": log.labels.key_name,
        "key_id": log.labels.key_id.to_string(),
        "endpoint": log.endpoint,
        "model": log.model_answered.as_ref().unwrap_or(&log.model_asked),
        "model_asked": log.model_asked,
        "provider": log.provider,
        "status": log.status,
        "error_code": log.error_code,
        "attempts": log.attempts,
        "stream": log.stream,
        "input_tokens": log.usage.input,
        "cached_input_tokens": log.usage.cached_input,
        "cache_write_tokens": log.usage.cache_write,
        "output_tokens": log.usage.output,
        "reasoning_tokens": log.usage.reasoning,
        "cost": log.cost.map(|cost| cost.decimal()),
        "currency": log.cost.map(|cost| cost.currency.to_string()),
        "estimated": log.estimated,
        "cache": log.recalled(),
        "saved": log.saved().map(|(amount, _)| amount),
        "release": log.labels.release,
        "first_byte_ms": log.first_byte_us.map(ms),
        "duration_ms": ms(log.duration_us),
        "gateway_ms": ms(log.gateway_us),
        "end_user": log.end_user,
        "session": log.session,
        "tags": tags,
        "guardrails": guardrails,
        "upstream_request_id": log.upstream_request_id,
        "finish_reason": log.finish_reason,
    });
    if let Some(kept) = log.bodies.as_ref().filter(|_| bodies) {
        line["request_body"] = kept.request.as_str().into();
        line["response_body"] = kept.response.as_str().into();
        line["bodies_truncated"] = kept.truncated.into();
    }
    line
}
