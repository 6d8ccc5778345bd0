//! The columns of `request_log`, in the order of `statements/text.rs`, both ways.

use std::sync::Arc;

use ledger::{Bodies, Labels, RequestLog};
use policy::{KeyId, Name, Usage};

use crate::entries::{push_labels, push_money, push_usage, tags};
use crate::value::{Row, Value};
use crate::{StoreError, money};

/// How many values a line has.
pub(crate) const WIDTH: usize = 42;

/// Appends the values of a line.
pub(crate) fn push(values: &mut Vec<Value>, log: &RequestLog) {
    values.extend([Value::from(&log.request_id), Value::from(log.at)]);
    push_labels(values, &log.labels);
    values.extend([
        Value::from(&log.endpoint),
        Value::from(&log.model_asked),
        Value::from(&log.model_answered),
        Value::from(&log.provider),
        Value::from(log.status),
        Value::from(&log.error_code),
        Value::from(log.attempts),
        Value::from(log.stream),
    ]);
    push_usage(values, &log.usage);
    push_money(values, log.cost);
    values.extend([
        Value::from(log.estimated),
        Value::from(log.first_byte_us),
        Value::from(log.duration_us),
        Value::from(log.gateway_us),
        Value::from(&log.end_user),
        Value::from(&log.session),
        tags(&log.tags),
        Value::from(&log.upstream_request_id),
        Value::from(&log.finish_reason),
    ]);
    match &log.bodies {
        Some(bodies) => values.extend([
            Value::from(bodies.request.as_str()),
            Value::from(bodies.response.as_str()),
            Value::from(bodies.truncated),
        ]),
        None => values.extend([Value::NoText, Value::NoText, Value::Int(0)]),
    }
}

/// Reads a line.
pub(crate) fn read(mut row: Row) -> Result<RequestLog, StoreError> {
    let row = &mut row;
    Ok(RequestLog {
        request_id: row.request_id()?,
        at: row.time()?,
        labels: Arc::new(read_labels(row)?),
        endpoint: row.text()?,
        model_asked: row.text()?,
        model_answered: row.optional_text()?,
        provider: row.text()?,
        status: row.small()?,
        error_code: row.optional_text()?,
        attempts: row.small()?,
        stream: row.flag()?,
        usage: read_usage(row)?,
        cost: money(row.optional_int()?, row.optional_text()?.as_deref())?,
        estimated: row.flag()?,
        first_byte_us: row.optional_count()?,
        duration_us: row.count()?,
        gateway_us: row.count()?,
        end_user: row.optional_text()?,
        session: row.optional_text()?,
        tags: read_tags(row.optional_text()?.as_deref())?,
        upstream_request_id: row.optional_text()?,
        finish_reason: row.optional_text()?,
        bodies: read_bodies(row)?,
    })
}

fn read_labels(row: &mut Row) -> Result<Labels, StoreError> {
    Ok(Labels {
        organization: row.text()?,
        workspace: row.text()?,
        environment: row.text()?,
        layer: row.text()?,
        region: row.text()?,
        release: row.count()?,
        variant: row.optional_text()?,
        prompt_version: row.optional_text()?,
        key_id: KeyId(row.text()?),
        key_name: row.text()?,
    })
}

fn read_usage(row: &mut Row) -> Result<Usage, StoreError> {
    Ok(Usage {
        input: row.optional_count()?,
        cached_input: row.optional_count()?,
        cache_write: row.optional_count()?,
        output: row.optional_count()?,
        reasoning: row.optional_count()?,
        audio_input: row.optional_count()?,
        audio_output: row.optional_count()?,
        images: row.optional_count()?,
    })
}

fn read_tags(text: Option<&str>) -> Result<Vec<(Name, Name)>, StoreError> {
    let Some(text) = text else { return Ok(Vec::new()) };
    let map: std::collections::BTreeMap<Name, Name> =
        serde_json::from_str(text).map_err(|error| StoreError::Corrupt(format!("tags: {error}")))?;
    Ok(map.into_iter().collect())
}

fn read_bodies(row: &mut Row) -> Result<Option<Bodies>, StoreError> {
    let (request, response, truncated) = (row.optional_text()?, row.optional_text()?, row.flag()?);
    Ok(request.zip(response).map(|(request, response)| Bodies {
        request: request.to_string(),
        response: response.to_string(),
        truncated,
    }))
}
