//! A client's request, read. What the form has no place for goes to `extra` by its name.

use serde_json::value::RawValue;

use super::members::{Members, array, missing, own, read, text, wrong_type, wrong_value};
use super::tools::{read_choice, read_format, read_functions, read_tools};
use super::turns::read_messages;
use crate::blocks::request::Unreadable;
use crate::blocks::{Raw, Request, Thinking};
use crate::request::BadRequest;

/// No honest request comes near; each is compared with the others when it is reported.
const MOST_EXTRA: usize = 500;

/// Reads a client's body.
pub(crate) fn read_request(body: &[u8]) -> Result<Request, Unreadable> {
    let mut members: Members<'_> = serde_json::from_slice(body).map_err(|error| invalid(&error))?;
    let members = &mut members;
    let model = string(members, "model")?.filter(|model| !model.is_empty());
    let messages = members.take("messages").ok_or_else(|| missing("messages", "messages"))?;
    let mut request = Request {
        model: model.ok_or_else(|| missing("model", "model"))?,
        stream: flag(members, "stream")?.unwrap_or(false),
        parallel_tools: flag(members, "parallel_tool_calls")?,
        max_output: limit(members)?,
        temperature: number(members, "temperature")?,
        top_p: number(members, "top_p")?,
        // Not OpenAI's, but many compatible servers take it, and so do two other dialects.
        top_k: number(members, "top_k")?,
        seed: number(members, "seed")?,
        stop: stop(members)?,
        frequency_penalty: number(members, "frequency_penalty")?,
        presence_penalty: number(members, "presence_penalty")?,
        logit_bias: object(members, "logit_bias")?,
        logprobs: flag(members, "logprobs")?,
        top_logprobs: count(members, "top_logprobs")?,
        choices: count(members, "n")?,
        metadata: object(members, "metadata")?,
        service_tier: string(members, "service_tier")?,
        cache_key: string(members, "prompt_cache_key")?,
        verbosity: string(members, "verbosity")?,
        store: flag(members, "store")?,
        ..Request::default()
    };
    end_user(members, &mut request)?;
    stream_options(members, &mut request)?;
    read_all_tools(members, &mut request)?;
    if let Some(raw) = members.take("response_format") {
        request.format = read_format(raw)?;
    }
    request.thinking = thinking(members, &mut request.extra)?;
    request.turns = read_messages(messages, &mut request.extra)?;
    for (name, raw) in members.0.drain(..) {
        // What every model does anyway is no wish.
        let plain = name == "modalities" && is_text_only(raw);
        if let (false, Some(raw)) = (plain, own(raw)) {
            request.extra.push((name.into_owned(), raw));
        }
    }
    if request.extra.len() > MOST_EXTRA {
        let message =
            format!("the request body has more than {MOST_EXTRA} parameters that this API does not know");
        return Err(BadRequest { message, param: None, code: Some("unknown_parameter") });
    }
    Ok(request)
}

fn invalid(error: &serde_json::Error) -> BadRequest {
    let message = if error.is_data() {
        "the request body must be a JSON object".to_owned()
    } else {
        format!("the request body is not valid JSON: line {} column {}", error.line(), error.column())
    };
    BadRequest { message, param: None, code: Some("invalid_json") }
}

fn is_text_only(raw: &RawValue) -> bool {
    array(raw).is_some_and(|items| items.len() == 1 && text(items[0]).is_some_and(|word| word == "text"))
}

fn string(members: &mut Members<'_>, name: &'static str) -> Result<Option<String>, BadRequest> {
    let Some(raw) = members.take(name) else { return Ok(None) };
    text(raw).map(|text| Some(text.into_owned())).ok_or_else(|| wrong_type(name, name, "a string"))
}

fn flag(members: &mut Members<'_>, name: &'static str) -> Result<Option<bool>, BadRequest> {
    let Some(raw) = members.take(name) else { return Ok(None) };
    read(raw).map(Some).ok_or_else(|| wrong_type(name, name, "true or false"))
}

fn count(members: &mut Members<'_>, name: &'static str) -> Result<Option<u64>, BadRequest> {
    let Some(raw) = members.take(name) else { return Ok(None) };
    read(raw).map(Some).ok_or_else(|| wrong_type(name, name, "a whole number of at least 0"))
}

/// A number as it was written.
fn number(members: &mut Members<'_>, name: &'static str) -> Result<Option<Raw>, BadRequest> {
    let Some(raw) = members.take(name) else { return Ok(None) };
    let is_number = raw.get().starts_with(|first: char| first == '-' || first.is_ascii_digit());
    own(raw).filter(|_| is_number).map(Some).ok_or_else(|| wrong_type(name, name, "a number"))
}

fn object(members: &mut Members<'_>, name: &'static str) -> Result<Option<Raw>, BadRequest> {
    let Some(raw) = members.take(name) else { return Ok(None) };
    own(raw).filter(Raw::is_object).map(Some).ok_or_else(|| wrong_type(name, name, "an object"))
}

/// The least of both limits; -1 is "no limit" to local servers.
fn limit(members: &mut Members<'_>) -> Result<Option<u64>, BadRequest> {
    let mut least: Option<u64> = None;
    for name in ["max_completion_tokens", "max_tokens"] {
        if members.get(name).is_some_and(|raw| raw.get() == "-1") {
            members.take(name);
        }
        if let Some(limit) = count(members, name)? {
            least = Some(least.map_or(limit, |least| least.min(limit)));
        }
    }
    Ok(least)
}

fn stop(members: &mut Members<'_>) -> Result<Vec<String>, BadRequest> {
    let Some(raw) = members.take("stop") else { return Ok(Vec::new()) };
    if let Some(one) = text(raw) {
        return Ok(vec![one.into_owned()]);
    }
    array(raw)
        .and_then(|items| items.into_iter().map(|item| text(item).map(String::from)).collect())
        .ok_or_else(|| wrong_type("stop", "stop", "a string or an array of strings"))
}

/// `safety_identifier` is the newer name of `user`; where both differ, `user` is kept aside.
fn end_user(members: &mut Members<'_>, request: &mut Request) -> Result<(), BadRequest> {
    let user = string(members, "user")?;
    let newer = string(members, "safety_identifier")?;
    if let (Some(user), Some(newer)) = (&user, &newer)
        && user != newer
    {
        request.extra.push(("user".to_owned(), Raw::string(user)));
    }
    request.end_user = newer.or(user);
    Ok(())
}

fn stream_options(members: &mut Members<'_>, request: &mut Request) -> Result<(), BadRequest> {
    const PARAM: &str = "stream_options";
    let Some(raw) = members.take(PARAM) else { return Ok(()) };
    let mut options = Members::of(raw).ok_or_else(|| wrong_type(PARAM, PARAM, "an object"))?;
    if let Some(raw) = options.take("include_usage") {
        request.include_usage =
            read(raw).ok_or_else(|| wrong_type(PARAM, "stream_options.include_usage", "true or false"))?;
    }
    keep(PARAM, &options, &mut request.extra);
    Ok(())
}

/// What is left of an object, by the names `object.member`.
fn keep(object: &str, members: &Members<'_>, extra: &mut Vec<(String, Raw)>) {
    for (name, raw) in &members.0 {
        extra.extend(own(raw).map(|raw| (format!("{object}.{name}"), raw)));
    }
}

fn read_all_tools(members: &mut Members<'_>, request: &mut Request) -> Result<(), BadRequest> {
    if let Some(raw) = members.take("tools") {
        request.tools = read_tools(raw, &mut request.extra)?;
    }
    if let Some(raw) = members.take("functions") {
        request.tools.append(&mut read_functions(raw)?);
    }
    // The older name gives way to the newer.
    for param in ["function_call", "tool_choice"] {
        if let Some(raw) = members.take(param) {
            request.tool_choice = Some(read_choice(raw, param)?);
        }
    }
    Ok(())
}

/// How much to think: OpenAI's `reasoning_effort`, and what vendors and gateways have for it in Chat. `reasoning` is
/// OpenRouter's; `thinking` that of Anthropic-like vendors (DeepSeek, Zhipu, Moonshot, Ark); `enable_thinking` and
/// `thinking_budget` are DashScope's.
fn thinking(
    members: &mut Members<'_>,
    extra: &mut Vec<(String, Raw)>,
) -> Result<Option<Thinking>, BadRequest> {
    let mut thinking = Thinking { effort: string(members, "reasoning_effort")?, ..Thinking::default() };
    if let Some(mut of) = members.object("thinking") {
        members.take("thinking");
        thinking.mode = string(&mut of, "type")?;
        thinking.budget = budget(&mut of, "budget_tokens")?;
        thinking.show = string(&mut of, "display")?;
        keep("thinking", &of, extra);
    }
    if let Some(mut of) = members.object("reasoning") {
        members.take("reasoning");
        thinking.effort = thinking.effort.or(string(&mut of, "effort")?);
        thinking.budget = thinking.budget.or(budget(&mut of, "max_tokens")?);
        thinking.show = thinking.show.or(string(&mut of, "summary")?);
        match flag(&mut of, "enabled")? {
            Some(false) => thinking.mode = Some("disabled".to_owned()),
            Some(true) if thinking == Thinking::default() => thinking.mode = Some("enabled".to_owned()),
            _ => {}
        }
        if flag(&mut of, "exclude")? == Some(true) {
            thinking.show = Some("omitted".to_owned());
        }
        keep("reasoning", &of, extra);
    }
    if let Some(on) = flag(members, "enable_thinking")? {
        let mode = if on { "enabled" } else { "disabled" };
        thinking.mode.get_or_insert_with(|| mode.to_owned());
    }
    thinking.budget = thinking.budget.or(budget(members, "thinking_budget")?);
    Ok((thinking != Thinking::default()).then_some(thinking))
}

fn budget(members: &mut Members<'_>, name: &'static str) -> Result<Option<i64>, BadRequest> {
    let Some(raw) = members.take(name) else { return Ok(None) };
    read(raw).map(Some).ok_or_else(|| wrong_value(name, format!("`{name}` must be a whole number")))
}
