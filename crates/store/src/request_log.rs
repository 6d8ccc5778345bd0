//! The columns of `request_log`, in the order of `statements/text.rs`, both ways.

use std::collections::BTreeMap;
use std::sync::Arc;

use ledger::{Bodies, Labels, RequestLog};
use policy::{Currency, KeyId, Name, Usage};

use crate::entries::{Place, code, is_marked, is_usage_rare, push_rare_usage, push_usage, tags};
use crate::statements::{Bulk, text};
use crate::value::{Row, Value, foreign, foreign_or_none};
use crate::{StoreError, money};

/// What a group of lines has in common: bound once for all of them. Compared by value.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Shared<'a> {
    /// None of them fills a rare column.
    plain: bool,
    place: Place<'a>,
    endpoint: &'a Name,
    provider: &'a Name,
    model_answered: Option<&'a Name>,
    status: u16,
    stream: bool,
    error_code: Option<&'a Name>,
    finish_reason: Option<&'a Name>,
    attempts: u16,
    estimated: bool,
    cost_currency: Option<Currency>,
    truncated: bool,
}

impl<'a> Shared<'a> {
    pub(crate) fn of(log: &'a RequestLog) -> Self {
        Self {
            plain: log.bodies.is_none() && !is_usage_rare(&log.usage) && !is_marked(&log.session, &log.tags),
            place: Place::of(&log.labels),
            endpoint: &log.endpoint,
            provider: &log.provider,
            model_answered: log.model_answered.as_ref(),
            status: log.status,
            stream: log.stream,
            error_code: log.error_code.as_ref(),
            finish_reason: log.finish_reason.as_ref(),
            attempts: log.attempts,
            estimated: log.estimated,
            cost_currency: log.cost.map(|cost| cost.currency),
            truncated: log.bodies.as_ref().is_some_and(|bodies| bodies.truncated),
        }
    }

    /// The statement for these.
    pub(crate) fn bulk(&self) -> &'static Bulk {
        if self.plain { &text::INSERT_PLAIN_LOGS } else { &text::INSERT_LOGS }
    }

    pub(crate) fn values(&self) -> Vec<Value> {
        let mut values = self.place.values();
        values.extend([
            Value::from(self.endpoint),
            Value::from(self.provider),
            self.model_answered.map_or(Value::NoText, Value::from),
            Value::from(self.status),
            Value::from(self.stream),
            self.error_code.map_or(Value::NoText, foreign),
            self.finish_reason.map_or(Value::NoText, foreign),
            Value::from(self.attempts),
            Value::from(self.estimated),
            code(self.cost_currency),
            Value::from(self.truncated),
        ]);
        values
    }

    /// Appends the values that a line of these has of its own.
    pub(crate) fn push(&self, values: &mut Vec<Value>, log: &RequestLog) {
        values.extend([
            Value::from(&log.request_id),
            Value::from(log.at),
            Value::from(&log.labels.key_id),
            Value::from(&log.labels.key_name),
            foreign(&log.model_asked),
        ]);
        push_usage(values, &log.usage);
        values.extend([
            Value::from(log.cost.map(|cost| cost.nano)),
            Value::from(log.first_byte_us),
            Value::from(log.duration_us),
            Value::from(log.gateway_us),
            foreign_or_none(&log.upstream_request_id),
            foreign_or_none(&log.end_user),
        ]);
        if self.plain {
            return;
        }
        push_rare_usage(values, &log.usage);
        values.extend([foreign_or_none(&log.session), tags(&log.tags)]);
        values.extend(match &log.bodies {
            Some(bodies) => {
                [foreign(&bodies.request.as_str().into()), foreign(&bodies.response.as_str().into())]
            }
            None => [Value::NoText, Value::NoText],
        });
    }
}

/// Reads a line: the columns in common, then its own.
pub(crate) fn read(mut row: Row) -> Result<RequestLog, StoreError> {
    let row = &mut row;
    let mut labels = read_place(row)?;
    let (endpoint, provider, model_answered) = (row.text()?, row.text()?, row.optional_text()?);
    let (status, stream) = (row.small()?, row.flag()?);
    let (error_code, finish_reason) = (row.optional_text()?, row.optional_text()?);
    let (attempts, estimated) = (row.small()?, row.flag()?);
    let (cost_currency, truncated) = (row.optional_text()?, row.flag()?);
    let (request_id, at) = (row.request_id()?, row.time()?);
    labels.key_id = KeyId(row.text()?);
    labels.key_name = row.text()?;
    let model_asked = row.text()?;
    let mut usage = read_usage(row)?;
    let cost = money(row.optional_int()?, cost_currency.as_deref())?;
    let (first_byte_us, duration_us, gateway_us) = (row.optional_count()?, row.count()?, row.count()?);
    let (upstream_request_id, end_user) = (row.optional_text()?, row.optional_text()?);
    read_rare_usage(row, &mut usage)?;
    Ok(RequestLog {
        request_id,
        at,
        labels: Arc::new(labels),
        endpoint,
        model_asked,
        model_answered,
        provider,
        status,
        error_code,
        attempts,
        stream,
        usage,
        cost,
        estimated,
        first_byte_us,
        duration_us,
        gateway_us,
        end_user,
        session: row.optional_text()?,
        tags: read_tags(row.optional_text()?.as_deref())?,
        upstream_request_id,
        finish_reason,
        bodies: read_bodies(row, truncated)?,
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
        output: row.optional_count()?,
        reasoning: row.optional_count()?,
        ..Usage::default()
    })
}

fn read_rare_usage(row: &mut Row, usage: &mut Usage) -> Result<(), StoreError> {
    usage.cache_write = row.optional_count()?;
    usage.audio_input = row.optional_count()?;
    usage.audio_output = row.optional_count()?;
    usage.images = row.optional_count()?;
    Ok(())
}

fn read_tags(text: Option<&str>) -> Result<Vec<(Name, Name)>, StoreError> {
    let Some(text) = text else { return Ok(Vec::new()) };
    let map: BTreeMap<Name, Name> =
        serde_json::from_str(text).map_err(|error| StoreError::Corrupt(format!("tags: {error}")))?;
    Ok(map.into_iter().collect())
}

fn read_bodies(row: &mut Row, truncated: bool) -> Result<Option<Bodies>, StoreError> {
    let (request, response) = (row.optional_text()?, row.optional_text()?);
    Ok(request.zip(response).map(|(request, response)| Bodies {
        request: request.to_string(),
        response: response.to_string(),
        truncated,
    }))
}
