//! The form into a provider's body.

use super::build::Object;
use super::known::{
    EFFORTS, INCLUDE_LOGPROBS, SUMMARIES, TIERS, is_hosted, is_hosted_choice, may_pass, never_reasons,
};
use super::settings::{has_tool, write_choice, write_format, write_include, write_tool};
use super::write_items::ItemWriter;
use crate::blocks::{Format, Param, Raw, Refused, Request, Thinking, Tool, Written};
use crate::dialects::Target;

/// The least that the API takes as `max_output_tokens`.
const LEAST_OUTPUT: u64 = 16;
/// The longest `safety_identifier`, in characters.
const LONGEST_USER: usize = 64;

/// Writes a provider's body.
pub(crate) fn write_request(request: &Request, target: &Target<'_>) -> Result<Written, Refused> {
    let mut written = Written::default();
    refuse(request)?;
    let extras = sort_extras(request, &mut written)?;
    report_unsaid(request, &mut written);
    let keep = request.store.unwrap_or(false);
    let mut items = ItemWriter::new(request, target, keep, &mut written);
    items.write_all()?;
    let (instructions, input) = items.finish();

    let mut body = Vec::with_capacity(input.len() + 1024);
    let mut o = Object::new(&mut body);
    o.text("model", target.model);
    o.text_if("instructions", instructions.as_deref());
    o.value("input").extend_from_slice(&input);
    let tools = request.tools_for(&mut written, |kind, raw| is_hosted(kind) && raw.is_object());
    if !tools.is_empty() {
        o.array("tools", &tools, |tool, out| write_tool(tool, out));
        report_tool_marks(request, &mut written);
    }
    match &request.tool_choice {
        Some(choice) => write_choice(choice, &request.tools, o.value("tool_choice")),
        None => _ = o.raw_if("tool_choice", extras.choice),
    }
    if let Some(parallel) = request.parallel_tools {
        o.flag("parallel_tool_calls", parallel);
    }
    write_text(request, &mut o, &mut written);
    write_reasoning(request, &extras, &mut o, &mut written);
    write_numbers(request, &mut o, &mut written);
    write_names(request, &mut o, &mut written);
    o.flag("store", keep);
    let encrypted = !never_reasons(target.model);
    let mut include = extras.include.unwrap_or_default();
    if request.logprobs == Some(true) || request.top_logprobs.is_some_and(|most| most > 0) {
        include.push(INCLUDE_LOGPROBS.to_owned());
    }
    if encrypted || !include.is_empty() {
        write_include(&include, encrypted, o.value("include"));
    }
    o.text_if("previous_response_id", request.previous.as_deref());
    for (name, raw) in extras.passed {
        o.json(name, raw.get());
    }
    if request.stream {
        o.flag("stream", true);
        if let Some(raw) = extras.obfuscation {
            o.object("stream_options", |o| _ = o.json("include_obfuscation", raw.get()));
        }
    }
    o.end();
    written.body = body;
    Ok(written)
}

fn is_left_out(request: &Request, tool: &Tool) -> bool {
    matches!(tool, Tool::Hosted { kind, .. } if request.can_do_without(kind))
}

/// What cannot be asked for here, and may not be left out.
fn refuse(request: &Request) -> Result<(), Refused> {
    if request.choices.is_some_and(|choices| choices > 1) {
        let message = "`n` must be 1: the Responses API gives one answer a call; ask several times instead";
        return Err(Refused::new("n", message));
    }
    if !request.stop.is_empty() {
        let message =
            "`stop` does not exist in the Responses API: leave it out, or use a model of another API";
        return Err(Refused::new("stop", message));
    }
    if let Some(tool) = request.tools.iter().find(|tool| !has_tool(tool) && !is_left_out(request, tool)) {
        let kind = match tool {
            Tool::Hosted { kind, .. } => kind.as_str(),
            _ => "",
        };
        let message =
            format!("the tool `{kind}` of `tools` is run by another provider and does not exist here");
        return Err(Refused::new("tools", message));
    }
    Ok(())
}

/// Members of the caller's dialect that the form has no place for.
#[derive(Default)]
struct Extras<'r> {
    include: Option<Vec<String>>,
    choice: Option<&'r Raw>,
    obfuscation: Option<&'r Raw>,
    /// `reasoning.mode`, `reasoning.context`, by their inner names.
    reasoning: Vec<(&'r str, &'r Raw)>,
    passed: Vec<(&'r str, &'r Raw)>,
}

fn sort_extras<'r>(request: &'r Request, written: &mut Written) -> Result<Extras<'r>, Refused> {
    let mut extras = Extras::default();
    for (name, raw) in &request.extra {
        match name.as_str() {
            "include" if raw.read::<Vec<String>>().is_some() => extras.include = raw.read(),
            "tool_choice" if request.tool_choice.is_none() && is_hosted_choice(raw) => {
                extras.choice = Some(raw);
            }
            "modalities" if raw.read::<Vec<String>>().is_some_and(|all| all == ["text"]) => {}
            _ if !may_pass(name, raw) => {
                if Param::new(name.as_str()).must_be_kept() {
                    let message = format!("`{name}` as it is given does not exist in the Responses API");
                    return Err(Refused::new(name, message));
                }
                written.drop_param(name);
            }
            "stream_options.include_obfuscation" => extras.obfuscation = Some(raw),
            _ => match name.strip_prefix("reasoning.") {
                Some(inner) => extras.reasoning.push((inner, raw)),
                None => extras.passed.push((name, raw)),
            },
        }
    }
    Ok(extras)
}

/// Parameters that the API does not have.
fn report_unsaid(request: &Request, written: &mut Written) {
    for (name, given) in [
        ("top_k", &request.top_k),
        ("seed", &request.seed),
        ("frequency_penalty", &request.frequency_penalty),
        ("presence_penalty", &request.presence_penalty),
        ("logit_bias", &request.logit_bias),
    ] {
        if given.is_some() {
            written.drop_param(name);
        }
    }
}

fn report_tool_marks(request: &Request, written: &mut Written) {
    let marked = |tool: &Tool| matches!(tool, Tool::Function { cache: Some(_), .. });
    if request.tools.iter().any(marked) {
        written.drop_param("cache_control");
    }
}

fn write_text(request: &Request, o: &mut Object<'_>, written: &mut Written) {
    let verbosity = request.verbosity.as_deref();
    let known = verbosity.filter(|verbosity| ["low", "medium", "high"].contains(verbosity));
    if verbosity.is_some() && known.is_none() {
        written.drop_param("verbosity");
    }
    if request.format == Format::Text && known.is_none() {
        return;
    }
    o.object("text", |o| {
        if request.format != Format::Text {
            write_format(&request.format, o.value("format"));
        }
        o.text_if("verbosity", known);
    });
}

fn write_reasoning(request: &Request, extras: &Extras<'_>, o: &mut Object<'_>, written: &mut Written) {
    let thinking = request.thinking.as_ref();
    let effort = thinking.and_then(|thinking| effort(thinking, written));
    let summary = thinking.and_then(summary);
    if effort.is_none() && summary.is_none() && extras.reasoning.is_empty() {
        return;
    }
    o.object("reasoning", |o| {
        o.text_if("effort", effort).text_if("summary", summary);
        for (name, raw) in &extras.reasoning {
            o.json(name, raw.get());
        }
    });
}

/// How much to think, from whatever was said of it; a budget becomes the level of about its size.
fn effort<'t>(thinking: &'t Thinking, written: &mut Written) -> Option<&'t str> {
    if thinking.mode.as_deref() == Some("disabled") {
        return Some("none");
    }
    match (thinking.effort.as_deref(), thinking.budget) {
        (Some(effort), _) if EFFORTS.contains(&effort) => Some(effort),
        (Some(_), _) => {
            written.drop_param("reasoning_effort");
            None
        }
        (None, Some(0)) => Some("none"),
        (None, Some(1..=2048)) => Some("low"),
        (None, Some(2049..=16384)) => Some("medium"),
        (None, Some(16385..)) => Some("high"),
        // The model decides, which is what it does unasked.
        (None, Some(_) | None) => None,
    }
}

fn summary(thinking: &Thinking) -> Option<&str> {
    match thinking.show.as_deref() {
        Some(show) if SUMMARIES.contains(&show) => Some(show),
        Some("summarized" | "true") => Some("auto"),
        Some(_) => None,
        // Anthropic shows thoughts unless told not to.
        None => matches!(thinking.mode.as_deref(), Some("enabled" | "adaptive" | "between_tools"))
            .then_some("auto"),
    }
}

fn write_numbers(request: &Request, o: &mut Object<'_>, written: &mut Written) {
    if let Some(most) = request.max_output {
        if most < LEAST_OUTPUT {
            written.drop_param("max_completion_tokens");
        }
        o.number("max_output_tokens", most.max(LEAST_OUTPUT));
    }
    o.raw_if("temperature", request.temperature.as_ref());
    o.raw_if("top_p", request.top_p.as_ref());
    if let Some(most) = request.top_logprobs {
        o.number("top_logprobs", most);
    }
}

fn write_names(request: &Request, o: &mut Object<'_>, written: &mut Written) {
    match request.end_user.as_deref() {
        Some(user) if user.chars().count() <= LONGEST_USER => _ = o.text("safety_identifier", user),
        Some(_) => written.drop_param("user"),
        None => {}
    }
    o.raw_if("metadata", request.metadata.as_ref());
    match request.service_tier.as_deref() {
        Some(tier) if TIERS.contains(&tier) => _ = o.text("service_tier", tier),
        // Anthropic's word for it.
        Some("standard_only") => _ = o.text("service_tier", "default"),
        Some(_) => written.drop_param("service_tier"),
        None => {}
    }
    o.text_if("prompt_cache_key", request.cache_key.as_deref());
}
