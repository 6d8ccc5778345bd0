//! Reads what a client asks.

use crate::blocks::request::Unreadable;
use crate::blocks::{Format, Raw, Request, Role, Thinking};

use super::contents::Conversation;
use super::members::{Members, camel, count, flag, keep, list, number, object, text, texts, whole};
use super::{schema, tools};

/// Members of `generationConfig` that the form has no place for begin with this in [`Request::extra`].
pub(super) const CONFIG: &str = "generationConfig.";
/// The same for `toolConfig`.
pub(super) const TOOL_CONFIG: &str = "toolConfig.";

/// Reads a client's body.
pub(crate) fn read_request(body: &[u8]) -> Result<Request, Unreadable> {
    let unreadable = |message: String| Unreadable { message, param: None, code: Some("invalid_json") };
    crate::json::validate(body)
        .map_err(|error| unreadable(format!("the request body is not valid JSON: {error}")))?;
    let mut body: Members<'_> = std::str::from_utf8(body)
        .ok()
        .and_then(Members::parse)
        .ok_or_else(|| unreadable("the request body must be a JSON object".to_owned()))?;
    let mut request = Request::default();
    let mut conversation = Conversation::default();
    if let Some(system) = body.take("systemInstruction") {
        conversation.system(system)?;
    }
    if let Some(contents) = body.take("contents") {
        conversation.contents(contents)?;
    }
    (request.turns, request.extra) = conversation.finish();
    if !request.turns.iter().any(|turn| turn.role != Role::System) {
        return Err(super::members::missing("contents"));
    }
    if let Some(tools) = body.take("tools") {
        tools::read_tools(tools, &mut request)?;
    }
    if let Some(config) = body.take("toolConfig") {
        tools::read_config(object(config, "toolConfig")?, &mut request)?;
    }
    if let Some(config) = body.take("generationConfig") {
        read_config(object(config, "generationConfig")?, &mut request)?;
    }
    request.store = body.take("store").map(|value| flag(value, "store")).transpose()?;
    request.service_tier = body.take("serviceTier").map(|value| text(value, "serviceTier")).transpose()?;
    // What a client says twice, once in the URL: the URL counts.
    body.take("model");
    for (name, value) in body.rest() {
        request.extra.push((camel(name).into_owned(), keep(value)));
    }
    Ok(request)
}

fn read_config(mut config: Members<'_>, request: &mut Request) -> Result<(), Unreadable> {
    let mut numbers = |name: &str, param| config.take(name).map(|value| number(value, param)).transpose();
    request.temperature = numbers("temperature", "generationConfig.temperature")?;
    request.top_p = numbers("topP", "generationConfig.topP")?;
    request.top_k = numbers("topK", "generationConfig.topK")?;
    request.seed = numbers("seed", "generationConfig.seed")?;
    request.presence_penalty = numbers("presencePenalty", "generationConfig.presencePenalty")?;
    request.frequency_penalty = numbers("frequencyPenalty", "generationConfig.frequencyPenalty")?;
    let mut counts = |name: &str, param| config.take(name).map(|value| count(value, param)).transpose();
    request.max_output = counts("maxOutputTokens", "generationConfig.maxOutputTokens")?;
    request.choices = counts("candidateCount", "generationConfig.candidateCount")?;
    request.top_logprobs = counts("logprobs", "generationConfig.logprobs")?;
    let logprobs = config.take("responseLogprobs");
    request.logprobs = logprobs.map(|value| flag(value, "generationConfig.responseLogprobs")).transpose()?;
    if let Some(stop) = config.take("stopSequences") {
        request.stop = texts(stop, "generationConfig.stopSequences")?;
    }
    if let Some(thinking) = config.take("thinkingConfig") {
        request.thinking =
            Some(read_thinking(object(thinking, "generationConfig.thinkingConfig")?, request)?);
    }
    read_format(&mut config, request)?;
    if let Some(modalities) = config.take("responseModalities") {
        let param = "generationConfig.responseModalities";
        let words = texts(modalities, param)?;
        // Text alone is what every dialect does; anything else is what the caller relies on.
        let text_alone = words.iter().all(|word| word.eq_ignore_ascii_case("TEXT"));
        let name = if text_alone { param } else { "modalities" };
        request.extra.push((name.to_owned(), keep(modalities)));
    }
    for (name, value) in config.rest() {
        request.extra.push((format!("{CONFIG}{name}"), keep(value)));
    }
    Ok(())
}

fn read_thinking(mut config: Members<'_>, request: &mut Request) -> Result<Thinking, Unreadable> {
    let mut thinking = Thinking::default();
    if let Some(level) = config.take("thinkingLevel") {
        let level = text(level, "generationConfig.thinkingConfig.thinkingLevel")?.to_ascii_lowercase();
        thinking.effort = (level != "thinking_level_unspecified").then_some(level);
    }
    let budget = config.take("thinkingBudget");
    thinking.budget =
        budget.map(|value| whole(value, "generationConfig.thinkingConfig.thinkingBudget")).transpose()?;
    if let Some(show) = config.take("includeThoughts") {
        thinking.show = Some(flag(show, "generationConfig.thinkingConfig.includeThoughts")?.to_string());
    }
    for (name, value) in config.rest() {
        request.extra.push((format!("{CONFIG}thinkingConfig.{name}"), keep(value)));
    }
    Ok(thinking)
}

fn read_format(config: &mut Members<'_>, request: &mut Request) -> Result<(), Unreadable> {
    let older = config.take("responseSchema");
    let newer = config.take("responseJsonSchema").or_else(|| config.take("_responseJsonSchema"));
    let mime = config.take("responseMimeType");
    let written = mime.map(|value| text(value, "generationConfig.responseMimeType")).transpose()?;
    match written.as_deref() {
        None | Some("" | "text/plain" | "application/json") => {}
        // An enumeration's bare word, or a type of the future: no other dialect has it.
        Some(_) => {
            let members =
                [("responseMimeType", mime), ("responseSchema", older), ("responseJsonSchema", newer)];
            for (name, value) in members {
                if let Some(value) = value {
                    request.extra.push((format!("{CONFIG}{name}"), keep(value)));
                }
            }
            return Ok(());
        }
    }
    let schema = match (newer, older) {
        (Some(newer), _) => Some(keep(newer)),
        (None, Some(older)) => Some(schema_of(older, "generationConfig.responseSchema")?),
        (None, None) => None,
    };
    request.format = match schema {
        Some(schema) => Format::Schema { name: None, description: None, schema, strict: None },
        None if written.as_deref() == Some("application/json") => Format::Json,
        None => Format::Text,
    };
    Ok(())
}

/// A schema in Google's older form, as JSON Schema.
pub(super) fn schema_of(value: &serde_json::value::RawValue, param: &'static str) -> Result<Raw, Unreadable> {
    object(value, param)?;
    Ok(schema::to_json_schema(&keep(value)))
}

/// For members that are lists of whatever.
pub(super) fn items<'a>(
    value: &'a serde_json::value::RawValue,
    param: &'static str,
) -> Result<Vec<&'a serde_json::value::RawValue>, Unreadable> {
    list(value, param)
}
