//! A provider's body.

use std::collections::HashSet;

use super::blocks::{Marks, report};
use super::family::{self, Family};
use super::json::Out;
use super::thinking::{self, Plan};
use super::tools::{Sides, is_forced, is_written, write_choice, write_tools};
use super::turns::{Context, Conversation};
use crate::blocks::{Format, Param, Raw, Refused, Request, Written};
use crate::dialects::Target;

/// The version that still has sampling parameters.
const OLD_VERSION: &str = "2023-06-01";
/// The version of today.
const NEW_VERSION: &str = "2026-10-21";

/// Members of `extra` that mean here what they say.
const PASSED: [&str; 6] =
    ["cache_control", "container", "diagnostics", "inference_geo", "speed", "user_profile_id"];

/// Writes a body of `POST /v1/messages`, with the header that says its version.
///
/// `response_format: json_object` is refused: the target has schemas alone, and a wish in words would not be a promise.
pub(crate) fn write_request(request: &Request, target: &Target<'_>) -> Result<Written, Refused> {
    let family = family::of(target.model);
    let mut written = Written::default();
    refuse(request)?;
    let conversation = Conversation::of(request, &family, &mut written)?;
    let prefilled = conversation.is_prefilled();
    if prefilled && !family.prefill {
        return Err(Refused::new(
            "messages",
            "this model does not go on from words of the assistant: let the last message be the user's",
        ));
    }
    let budget = family.style == family::Style::Budget;
    let conflict = is_forced(request) || (budget && (prefilled || conversation.lacks_thought(target)));
    let plan = thinking::plan(request, &family, target, conflict, &mut written);
    let sampling = sampling(request, &family, &plan, &mut written);
    let mut bytes = Vec::with_capacity(request.weight());
    let mut body = Out::object(&mut bytes);
    body.text("model", target.model);
    body.number("max_tokens", plan.max_tokens);
    if request.stream {
        body.boolean("stream", true);
    }
    let taken = request.extra.iter().filter(|(name, _)| name == "cache_control").count();
    let mut marks = Marks::of(request, taken);
    let has_tools = write_tools(request, &family, &mut marks, &mut body, &mut written)?;
    write_choice(request, &family, has_tools, &mut body)?;
    let mut context = Context {
        family: &family,
        target,
        marks,
        calls: Sides::of(request, "tool_use.", &["caller", "toolset_name"]),
        results: Sides::of(request, "tool_result.", &["toolset_name"]),
    };
    conversation.write(&mut context, &mut body, &mut written)?;
    plan.write(&mut body);
    output_config(request, &family, &plan, &mut body)?;
    if matches!(&request.format, Format::Schema { description: Some(_), .. }) {
        written.drop_param("response_format.description");
    }
    for (name, raw) in &sampling {
        body.raw(name, raw);
    }
    stop_sequences(request, &mut body)?;
    rest(request, &mut body, &mut written);
    let betas = extra(request, &mut body, &mut written);
    body.end();
    written.body = bytes;
    let version = if sampling.is_empty() && family.claude { NEW_VERSION } else { OLD_VERSION };
    written.headers.push(("anthropic-version", version.to_owned()));
    if !betas.is_empty() {
        written.headers.push(("anthropic-beta", betas.join(",")));
    }
    Ok(written)
}

/// What the target cannot be asked for at all.
fn refuse(request: &Request) -> Result<(), Refused> {
    if request.choices.is_some_and(|choices| choices > 1) {
        return Err(Refused::new("n", "the target gives one answer: ask for `n` of 1"));
    }
    if request.logprobs == Some(true) || request.top_logprobs.is_some_and(|top| top > 0) {
        return Err(Refused::new("logprobs", "the target tells no log probabilities"));
    }
    if request.previous.is_some() {
        return Err(Refused::new(
            "previous_response_id",
            "the target keeps no answers: send the whole conversation",
        ));
    }
    if let Some((name, _)) = request.extra.iter().find(|(name, raw)| {
        Param::new(name.as_str()).must_be_kept() && !(name == "modalities" && is_text_only(raw))
    }) {
        return Err(Refused::new(name, format!("the target does not have `{name}`")));
    }
    Ok(())
}

fn is_text_only(raw: &Raw) -> bool {
    raw.read::<Vec<String>>().is_some_and(|words| words.iter().all(|word| word.eq_ignore_ascii_case("text")))
}

/// Sampling parameters, where the family takes them and thinking lets them stand.
fn sampling(
    request: &Request,
    family: &Family,
    plan: &Plan,
    written: &mut Written,
) -> Vec<(&'static str, String)> {
    let mut kept = Vec::new();
    let all = [("temperature", &request.temperature), ("top_p", &request.top_p), ("top_k", &request.top_k)];
    for (name, raw) in all {
        let Some(raw) = raw.as_ref().filter(|raw| !raw.is_null()) else { continue };
        let number = raw.read::<f64>().unwrap_or(-1.0);
        let thinks = plan.thinks() && family.claude;
        let (keep, value) = match name {
            // OpenAI's goes to 2.
            "temperature" if number > 1.0 && !thinks => {
                written.drop_param(name);
                (true, "1".to_owned())
            }
            "temperature" => (!thinks || (number - 1.0).abs() < f64::EPSILON, raw.get().to_owned()),
            // From 4.1 on the target takes one of the two.
            "top_p" => (
                (!thinks || number >= 0.95) && !(kept.iter().any(|(name, _)| *name == "temperature")),
                raw.get().to_owned(),
            ),
            _ => (!thinks, raw.get().to_owned()),
        };
        if family.sampling && keep && number >= 0.0 {
            kept.push((name, value));
        } else {
            written.drop_param(name);
        }
    }
    kept
}

fn output_config(request: &Request, family: &Family, plan: &Plan, body: &mut Out<'_>) -> Result<(), Refused> {
    let schema = match &request.format {
        Format::Text => None,
        Format::Json => {
            return Err(Refused::new(
                "response_format",
                "the target has no `json_object`: use `json_schema` with the shape that you need",
            ));
        }
        Format::Schema { .. } if !family.schemas => {
            return Err(Refused::new("response_format", "this model does not take a schema for its answer"));
        }
        Format::Schema { schema, .. } => Some(schema),
    };
    if schema.is_none() && plan.effort.is_none() {
        return Ok(());
    }
    let mut config = Out::object(body.key("output_config"));
    if let Some(effort) = plan.effort {
        config.text("effort", effort);
    }
    if let Some(schema) = schema {
        let mut format = Out::object(config.key("format"));
        format.text("type", "json_schema").raw("schema", schema.get());
        format.end();
    }
    config.end();
    Ok(())
}

fn stop_sequences(request: &Request, body: &mut Out<'_>) -> Result<(), Refused> {
    if request.stop.is_empty() {
        return Ok(());
    }
    if request.stop.iter().any(|text| text.trim().is_empty()) {
        return Err(Refused::new("stop", "the target takes no stop sequence of white space alone"));
    }
    let mut list = Out::array(body.key("stop_sequences"));
    for text in &request.stop {
        crate::json::text::encode(text, list.item());
    }
    list.end();
    Ok(())
}

/// Members with a place here, and those without.
fn rest(request: &Request, body: &mut Out<'_>, written: &mut Written) {
    if let Some(user) = &request.end_user {
        let mut metadata = Out::object(body.key("metadata"));
        metadata.text("user_id", user);
        metadata.end();
    }
    match request.service_tier.as_deref() {
        None => {}
        Some(tier @ ("auto" | "standard_only")) => {
            body.text("service_tier", tier);
        }
        Some("default" | "standard") => {
            body.text("service_tier", "standard_only");
        }
        Some(_) => written.drop_param("service_tier"),
    }
    let told = [
        ("seed", request.seed.is_some()),
        ("frequency_penalty", is_set(request.frequency_penalty.as_ref())),
        ("presence_penalty", is_set(request.presence_penalty.as_ref())),
        ("logit_bias", request.logit_bias.as_ref().is_some_and(|bias| bias.get() != "{}")),
        ("metadata", request.metadata.is_some()),
        ("prompt_cache_key", request.cache_key.is_some()),
        ("verbosity", request.verbosity.is_some()),
        ("store", request.store == Some(true)),
    ];
    for (name, _) in told.into_iter().filter(|(_, told)| *told) {
        written.drop_param(name);
    }
}

/// Whether a penalty has an effect.
fn is_set(penalty: Option<&Raw>) -> bool {
    penalty.is_some_and(|raw| raw.read::<f64>() != Some(0.0))
}

/// Members of the caller's dialect. Gives the betas that those that are passed on belong to.
fn extra(request: &Request, body: &mut Out<'_>, written: &mut Written) -> Vec<&'static str> {
    let mut betas = Vec::new();
    let mut seen: HashSet<&str> = HashSet::new();
    for (name, raw) in &request.extra {
        if is_written(name) || !seen.insert(name) {
            continue;
        }
        match name.as_str() {
            name if PASSED.contains(&name) && is_passable(name, raw) => {
                body.raw(name, raw.get());
            }
            "mcp_servers" if raw.get().starts_with('[') => {
                body.raw(name, raw.get());
                betas.push("mcp-client-2025-11-20");
            }
            "context_management" if raw.is_object() => {
                body.raw(name, raw.get());
                betas.push("context-management-2025-06-27");
            }
            name => report(name, written),
        }
    }
    betas
}

fn is_passable(name: &str, raw: &Raw) -> bool {
    match name {
        "cache_control" | "diagnostics" => raw.is_object(),
        "container" => raw.is_object() || raw.get().starts_with('"'),
        "speed" => matches!(raw.get(), "\"standard\"" | "\"fast\""),
        _ => raw.get().starts_with('"'),
    }
}
