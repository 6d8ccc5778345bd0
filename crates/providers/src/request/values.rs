//! From places in the body to what they mean; refusals name the parameter and what it must be.

use super::known::Known;
use super::members::Members;
use super::{Asked, BadRequest, Operation, Spans, UsagePlace};
use crate::json::text::decode;
use crate::json::{Span, top_level};
use crate::tokens::Family;

/// The longest model name, in bytes: names go into errors, labels and records.
const LONGEST_MODEL: usize = 512;
/// Most entries of `models`, and most answers of one request.
const MOST_FALLBACKS: usize = 32;
const MOST_CHOICES: u64 = 128;
/// Above 2^53 a number written as a float has no exact integral value.
const EXACT_FLOAT: f64 = 9_007_199_254_740_992.0;

/// Turns what the scan found into [`Asked`].
pub(super) fn interpret(operation: Operation, body: &[u8], members: &Members) -> Result<Asked, BadRequest> {
    if operation == Operation::Gemini {
        return gemini(body, members);
    }
    let model = model(body, members)?;
    let (include_usage, usage) = stream_options(body, members)?;
    let stream = match members.value(body, Known::Stream) {
        None => false,
        Some(value) => boolean(value).ok_or_else(|| wrong_type(Known::Stream, "a boolean"))?,
    };
    let generated = count(body, members, Known::N)?.max(count(body, members, Known::BestOf)?);
    let max_tokens = limit(body, members, Known::MaxTokens)?;
    let max_completion_tokens = limit(body, members, Known::MaxCompletionTokens)?;
    let max_output_tokens =
        if operation == Operation::Responses { limit(body, members, Known::MaxOutputTokens)? } else { None };
    let user = text(body, members, Known::User)?;
    let (input_bound, weight) = members.scale.weighed();
    Ok(Asked {
        model,
        stream,
        include_usage,
        max_output: max_tokens.into_iter().chain(max_completion_tokens).chain(max_output_tokens).min(),
        choices: generated.saturating_mul(members.scale.prompts()),
        end_user: text(body, members, Known::SafetyIdentifier)?.or(user),
        fallbacks: fallbacks(body, members)?,
        input_bound,
        input_estimate: weight.estimate_in(Family::Other),
        weight,
        spans: Spans {
            model: members.span(Known::Model).unwrap_or_default(),
            models: members.models_cut(),
            usage,
        },
        spelled: None,
    })
}

/// Gemini's limits stand in `generationConfig`, in either spelling; its model and stream in the URL.
fn gemini(body: &[u8], members: &Members) -> Result<Asked, BadRequest> {
    let member = |text: &[u8], names: [&str; 2]| -> Option<Vec<u8>> {
        let object = top_level(text).ok()?;
        names.iter().find_map(|name| object.value(text, name).map(<[u8]>::to_vec))
    };
    let config = member(body, ["generationConfig", "generation_config"]).unwrap_or_default();
    let number = |names: [&str; 2]| member(&config, names).as_deref().and_then(integral);
    let wrong = |name: &'static str, wanted: &str| {
        BadRequest::new(name, "invalid_value", format!("`generationConfig.{name}` must be {wanted}"))
    };
    let max_output = match number(["maxOutputTokens", "max_output_tokens"]) {
        None => None,
        Some(limit) => {
            Some(u64::try_from(limit).map_err(|_| wrong("maxOutputTokens", "a non-negative integer"))?)
        }
    };
    let choices = match number(["candidateCount", "candidate_count"]) {
        None => 1,
        Some(count) => u64::try_from(count)
            .ok()
            .filter(|count| (1..=MOST_CHOICES).contains(count))
            .ok_or_else(|| wrong("candidateCount", &format!("an integer from 1 to {MOST_CHOICES}")))?,
    };
    let (input_bound, weight) = members.scale.weighed();
    Ok(Asked {
        max_output,
        choices,
        input_bound,
        input_estimate: weight.estimate_in(Family::Other),
        weight,
        ..Asked::default()
    })
}

fn wrong_type(known: Known, wanted: &str) -> BadRequest {
    let name = known.name();
    BadRequest::new(name, "invalid_type", format!("`{name}` must be {wanted}"))
}

fn wrong_value(known: Known, wanted: &str) -> BadRequest {
    let name = known.name();
    BadRequest::new(name, "invalid_value", format!("`{name}` must be {wanted}"))
}

fn model(body: &[u8], members: &Members) -> Result<String, BadRequest> {
    let model = text(body, members, Known::Model)?.filter(|model| !model.is_empty()).ok_or_else(|| {
        let message = "`model` is missing: name a model, as in \"model\": \"provider/model\"";
        BadRequest::new("model", "missing_required_parameter", message.to_owned())
    })?;
    if model.len() > LONGEST_MODEL {
        return Err(wrong_value(Known::Model, &format!("at most {LONGEST_MODEL} bytes long")));
    }
    Ok(model)
}

/// A string, where absent and `null` are nothing.
fn text(body: &[u8], members: &Members, known: Known) -> Result<Option<String>, BadRequest> {
    let Some(value) = members.value(body, known) else { return Ok(None) };
    decode(value).map(Some).ok_or_else(|| wrong_type(known, "a string"))
}

fn boolean(value: &[u8]) -> Option<bool> {
    match value {
        b"true" => Some(true),
        b"false" => Some(false),
        _ => None,
    }
}

/// An integral number, however it is written: `100`, `100.0`, `1e2`.
fn integral(value: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(value).ok()?;
    if let Ok(plain) = text.parse() {
        return Some(plain);
    }
    let number = text.parse::<f64>().ok().filter(|_| value.first() != Some(&b'"'))?;
    #[expect(clippy::cast_possible_truncation, reason = "integral and below 2^53")]
    (number.fract() == 0.0 && number.abs() <= EXACT_FLOAT).then_some(number as i64)
}

/// `n` or `best_of`: 1 when absent.
fn count(body: &[u8], members: &Members, known: Known) -> Result<u64, BadRequest> {
    let Some(value) = members.value(body, known) else { return Ok(1) };
    integral(value)
        .and_then(|number| u64::try_from(number).ok())
        .filter(|number| (1..=MOST_CHOICES).contains(number))
        .ok_or_else(|| wrong_value(known, &format!("an integer from 1 to {MOST_CHOICES}")))
}

/// A token limit; -1 is how local servers spell "none".
fn limit(body: &[u8], members: &Members, known: Known) -> Result<Option<u64>, BadRequest> {
    let Some(value) = members.value(body, known) else { return Ok(None) };
    match integral(value) {
        Some(-1) => Ok(None),
        Some(number @ 0..) => Ok(Some(number.unsigned_abs())),
        _ => Err(wrong_value(known, "a non-negative integer")),
    }
}

fn fallbacks(body: &[u8], members: &Members) -> Result<Vec<String>, BadRequest> {
    let Some(value) = members.value(body, Known::Models) else { return Ok(Vec::new()) };
    let names: Vec<String> =
        serde_json::from_slice(value).map_err(|_| wrong_type(Known::Models, "an array of strings"))?;
    if names.len() > MOST_FALLBACKS {
        return Err(wrong_value(Known::Models, &format!("at most {MOST_FALLBACKS} names")));
    }
    if names.iter().any(|name| name.is_empty() || name.len() > LONGEST_MODEL) {
        return Err(wrong_value(Known::Models, &format!("names of 1 to {LONGEST_MODEL} bytes")));
    }
    Ok(names)
}

/// Whether the client asks for usage in the stream, and what to edit when only we want it.
fn stream_options(body: &[u8], members: &Members) -> Result<(bool, UsagePlace), BadRequest> {
    let Some(span) = members.span(Known::StreamOptions) else {
        return Ok((false, UsagePlace::InsertOptions(members.last_end)));
    };
    let value = span.of(body);
    if value == b"null" {
        return Ok((false, UsagePlace::ReplaceOptions(span)));
    }
    let options = top_level(value).map_err(|_| wrong_type(Known::StreamOptions, "an object"))?;
    let mut found = options.fields.iter().filter(|field| field.key_is(value, "include_usage"));
    let Some(field) = found.next() else {
        let alone = options.fields.is_empty();
        return Ok((false, UsagePlace::InsertMember { at: span.start + 1, alone }));
    };
    if found.next().is_some() {
        let message = "`stream_options.include_usage` is given more than once".to_owned();
        return Err(BadRequest::new("stream_options", "duplicate_parameter", message));
    }
    let place = Span::new(span.start + field.value.start, span.start + field.value.end);
    match field.value.of(value) {
        b"true" => Ok((true, UsagePlace::Done)),
        b"false" | b"null" => Ok((false, UsagePlace::ReplaceValue(place))),
        _ => {
            let message = "`stream_options.include_usage` must be a boolean".to_owned();
            Err(BadRequest::new("stream_options", "invalid_type", message))
        }
    }
}
