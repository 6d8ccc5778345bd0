//! The columns of `request_log`, in the order of `statements/text.rs`, both ways.

use std::collections::BTreeMap;
use std::sync::Arc;

use ledger::{Bodies, Labels, RequestLog};
use policy::{Currency, KeyId, Name, Usage};

use crate::entries::{Place, code, push_usage, tags};
use crate::value::{Row, Value, foreign, foreign_or_none};
use crate::{StoreError, money};

/// What a group of lines has in common: bound once for all of them. Compared by value.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Shared<'a> {
    place: Place<'a>,
    endpoint: &'a Name,
    error_code: Option<&'a Name>,
    attempts: u16,
    estimated: bool,
    cost_currency: Option<Currency>,
}

impl<'a> Shared<'a> {
    pub(crate) fn of(log: &'a RequestLog) -> Self {
        Self {
            place: Place::of(&log.labels),
            endpoint: &log.endpoint,
            error_code: log.error_code.as_ref(),
            attempts: log.attempts,
            estimated: log.estimated,
            cost_currency: log.cost.map(|cost| cost.currency),
        }
    }

    pub(crate) fn values(&self) -> Vec<Value> {
        let mut values = self.place.values();
        values.extend([
            Value::from(self.endpoint),
            self.error_code.map_or(Value::NoText, foreign),
            Value::from(self.attempts),
            Value::from(self.estimated),
            code(self.cost_currency),
        ]);
        values
    }
}

/// Appends the values that a line has of its own.
pub(crate) fn push(values: &mut Vec<Value>, log: &RequestLog) {
    values.extend([
        Value::from(&log.request_id),
        Value::from(log.at),
        Value::from(&log.labels.key_id),
        Value::from(&log.labels.key_name),
        foreign(&log.model_asked),
        Value::from(&log.model_answered),
        Value::from(&log.provider),
        Value::from(log.status),
        Value::from(log.stream),
    ]);
    push_usage(values, &log.usage);
    values.extend([
        Value::from(log.cost.map(|cost| cost.nano)),
        Value::from(log.first_byte_us),
        Value::from(log.duration_us),
        Value::from(log.gateway_us),
        foreign_or_none(&log.end_user),
        foreign_or_none(&log.session),
        tags(&log.tags),
        foreign_or_none(&log.upstream_request_id),
        foreign_or_none(&log.finish_reason),
    ]);
    match &log.bodies {
        Some(bodies) => values.extend([
            foreign(&bodies.request.as_str().into()),
            foreign(&bodies.response.as_str().into()),
            Value::from(bodies.truncated),
        ]),
        None => values.extend([Value::NoText, Value::NoText, Value::Int(0)]),
    }
}

/// Reads a line: the columns in common, then its own.
pub(crate) fn read(mut row: Row) -> Result<RequestLog, StoreError> {
    let row = &mut row;
    let mut labels = read_place(row)?;
    let endpoint = row.text()?;
    let error_code = row.optional_text()?;
    let attempts = row.small()?;
    let estimated = row.flag()?;
    let cost_currency = row.optional_text()?;
    let request_id = row.request_id()?;
    let at = row.time()?;
    labels.key_id = KeyId(row.text()?);
    labels.key_name = row.text()?;
    Ok(RequestLog {
        request_id,
        at,
        labels: Arc::new(labels),
        endpoint,
        model_asked: row.text()?,
        model_answered: row.optional_text()?,
        provider: row.text()?,
        status: row.small()?,
        error_code,
        attempts,
        stream: row.flag()?,
        usage: read_usage(row)?,
        cost: money(row.optional_int()?, cost_currency.as_deref())?,
        estimated,
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

/// The labels without the key, which comes later.
fn read_place(row: &mut Row) -> Result<Labels, StoreError> {
    let none: Name = "".into();
    Ok(Labels {
        organization: row.text()?,
        workspace: row.text()?,
        environment: row.text()?,
        layer: row.text()?,
        region: row.text()?,
        release: row.count()?,
        variant: row.optional_text()?,
        prompt_version: row.optional_text()?,
        key_id: KeyId(none.clone()),
        key_name: none,
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
        ..Usage::default()
    })
}

fn read_tags(text: Option<&str>) -> Result<Vec<(Name, Name)>, StoreError> {
    let Some(text) = text else { return Ok(Vec::new()) };
    let map: BTreeMap<Name, Name> =
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
