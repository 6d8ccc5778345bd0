//! The edits of a request in Chat Completions.

use bytes::Bytes;

use super::splice::{Members, elements};
use super::{Quirk, Quirks, messages, thinking};
use crate::blocks::{Refused, Thinking};
use crate::json::text::decode;

/// What must be known of a call beside its bytes.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// The answer comes as events.
    pub stream: bool,
    /// What a client of another dialect wants of thinking; `None` where the client speaks Chat.
    pub thinking: Option<&'a Thinking>,
    /// The thoughts that led to a call of a tool, by its id.
    pub thoughts: &'a dyn Fn(&str) -> Option<String>,
}

/// A request as the vendor takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edited {
    /// The body.
    pub body: Bytes,
    /// What the vendor cannot be told.
    pub dropped: Vec<String>,
    /// What whoever wrote the body reported as lost, and is not.
    pub kept: Vec<&'static str>,
}

/// The lowest temperature of vendors that take none of zero.
const COLDEST: &[u8] = b"0.01";

/// Edits a request.
///
/// # Errors
/// What the vendor cannot be asked for and the caller relies on.
pub fn edit(body: &Bytes, quirks: Quirks, ask: &Ask<'_>) -> Result<Edited, Refused> {
    let untouched = || Edited { body: body.clone(), dropped: Vec::new(), kept: Vec::new() };
    if quirks.is_empty() {
        return Ok(untouched());
    }
    // What is no object is refused by the vendor.
    let Some(mut members) = Members::of(body) else { return Ok(untouched()) };
    let mut dropped = Vec::new();
    if quirks.has(Quirk::JsonObjectOnly) {
        refuse_schema(&members)?;
    }
    if quirks.has(Quirk::ToolChoiceAutoOnly) {
        tool_choice(&mut members)?;
    }
    if quirks.has(Quirk::MaxTokensOnly) {
        limit(&mut members);
    }
    if quirks.has(Quirk::ToolStreamFlag) && ask.stream && !members.has("tool_stream") && has_tools(&members) {
        members.add("tool_stream", b"true");
    }
    let mut drop_all = |names: &[&str]| {
        for name in names {
            if members.remove(name) {
                dropped.push((*name).to_owned());
            }
        }
    };
    if quirks.has(Quirk::NoPenalties) {
        drop_all(&["frequency_penalty", "presence_penalty"]);
    }
    if quirks.has(Quirk::FixedSampling) {
        drop_all(&["temperature", "top_p", "frequency_penalty", "presence_penalty"]);
    }
    if quirks.has(Quirk::TemperatureUpToOne) {
        clamp(&mut members, &mut dropped);
    }
    let kept = thinking::edit(&mut members, quirks, ask, &mut dropped);
    let conversation =
        members.span("messages").map(|span| (span, messages::edit(span.of(body), quirks, ask)));
    let mut splices = members.splices();
    if let Some((span, inner)) = conversation {
        splices.take(inner, span.start);
    }
    Ok(Edited { body: splices.apply(body), dropped, kept })
}

fn has_tools(members: &Members<'_>) -> bool {
    members.value("tools").is_some_and(|tools| !elements(tools).is_empty())
}

/// A schema that is not kept would be an answer of another shape than was asked for.
fn refuse_schema(members: &Members<'_>) -> Result<(), Refused> {
    let kind = members.value("response_format").and_then(Members::of).and_then(|format| {
        let kind = format.value("type")?;
        decode(kind)
    });
    if kind.as_deref() == Some("json_schema") {
        let message = "`response_format`: the chosen model's vendor takes no schema; ask for `json_object` and put the \
                       schema into the prompt, or choose another model";
        return Err(Refused::new("response_format", message));
    }
    Ok(())
}

/// No tool is to be called: then none is offered. Any other choice cannot be said.
fn tool_choice(members: &mut Members<'_>) -> Result<(), Refused> {
    let Some(choice) = members.value("tool_choice") else { return Ok(()) };
    match decode(choice).as_deref() {
        Some("auto") => {}
        Some("none") => {
            for name in ["tool_choice", "tools", "parallel_tool_calls"] {
                members.remove(name);
            }
        }
        _ if !has_tools(members) => {}
        _ => {
            let message = "`tool_choice`: the chosen model's vendor takes no choice but `auto`; leave it out, or choose \
                           another model";
            return Err(Refused::new("tool_choice", message));
        }
    }
    Ok(())
}

/// The newer name of the limit becomes the older; of two limits the lower holds.
fn limit(members: &mut Members<'_>) {
    let number = |value: &[u8]| std::str::from_utf8(value).ok()?.parse::<f64>().ok();
    match (members.value("max_completion_tokens"), members.value("max_tokens")) {
        (None, _) => _ = members.remove("max_completion_tokens"),
        (Some(newer), Some(older)) => {
            if let (Some(low), Some(high)) = (number(newer), number(older))
                && low < high
            {
                members.replace("max_tokens", newer);
            }
            members.remove("max_completion_tokens");
        }
        (Some(_), None) => {
            members.remove("max_tokens");
            members.rename("max_completion_tokens", "max_tokens");
        }
    }
}

/// Temperature in (0, 1]; one that had to be moved is reported.
fn clamp(members: &mut Members<'_>, dropped: &mut Vec<String>) {
    let Some(written) = members.value("temperature") else { return };
    let Some(number) = std::str::from_utf8(written).ok().and_then(|text| text.parse::<f64>().ok()) else {
        return;
    };
    let nearest: &[u8] = if number > 1.0 {
        b"1.0"
    } else if number <= 0.0 {
        COLDEST
    } else {
        return;
    };
    members.replace("temperature", nearest);
    dropped.push("temperature".to_owned());
}
