//! A provider's request, written: OpenAI's API as documented and nothing more.

use super::json::Json;
use super::models;
use super::put_turns::write_turns;
use super::tools::{write_format, write_tools};
use crate::blocks::{Param, Raw, Refused, Request, Thinking, Written};
use crate::dialects::Target;

/// Members of OpenAI's API that the form has no place for and that mean the same wherever they come from.
const PASSED: [&str; 7] = [
    "audio",
    "modalities",
    "moderation",
    "prediction",
    "prompt_cache_options",
    "prompt_cache_retention",
    "web_search_options",
];

/// Most stop sequences that OpenAI takes.
const MOST_STOPS: usize = 4;

/// Writes a provider's body.
pub(crate) fn write_request(request: &Request, target: &Target<'_>) -> Result<Written, Refused> {
    if request.previous.is_some() {
        return Err(Refused::new(
            "previous_response_id",
            "`previous_response_id`: the chosen model's API (Chat Completions) keeps no conversations; send the whole",
        ));
    }
    let mut written = Written::default();
    let mut json = Json(Vec::with_capacity(request.weight()));
    json.open(b'{');
    json.text("model", target.model);
    json.array("messages");
    write_turns(request, target, &mut written, &mut json)?;
    json.close(b']');
    write_tools(request, target.model, &mut written, &mut json)?;
    write_format(&request.format, &mut json);
    let effort = write_thinking(request.thinking.as_ref(), target.model, &mut written, &mut json);
    json.number_if(models::limit_name(target.model), request.max_output);
    write_sampling(request, target.model, effort.as_deref(), &mut written, &mut json)?;
    write_labels(request, target.model, &mut written, &mut json);
    write_extra(request, &mut written, &mut json)?;
    write_stream(request, target, &mut json);
    json.close(b'}');
    written.body = json.0;
    Ok(written)
}

/// Writes `reasoning_effort` and returns it. Chat knows levels alone: a budget becomes the nearest, and is reported.
fn write_thinking(
    thinking: Option<&Thinking>,
    model: &str,
    written: &mut Written,
    json: &mut Json,
) -> Option<String> {
    let thinking = thinking?;
    if thinking.show.as_deref().is_some_and(|show| !matches!(show, "omitted" | "false")) {
        written.drop_param("reasoning.summary");
    }
    let off = thinking.mode.as_deref() == Some("disabled") || thinking.budget == Some(0);
    let effort = if let Some(effort) = &thinking.effort {
        Some(effort.clone())
    } else if off {
        let least = models::least_effort(model);
        if least != Some("none")
            && (least.is_some() || !models::is_openai(model) || models::thinks(model, None))
        {
            written.drop_param("reasoning_effort");
        }
        least.map(str::to_owned)
    } else {
        thinking.budget.filter(|budget| *budget > 0).map(|budget| {
            written.drop_param("thinking_budget");
            let level = match budget {
                ..4_096 => "low",
                4_096..16_384 => "medium",
                16_384.. => "high",
            };
            level.to_owned()
        })
    };
    json.text_if("reasoning_effort", effort.as_deref());
    effort
}

fn write_sampling(
    request: &Request,
    model: &str,
    effort: Option<&str>,
    written: &mut Written,
    json: &mut Json,
) -> Result<(), Refused> {
    let thinks = models::thinks(model, effort);
    let sampling = [
        ("temperature", &request.temperature),
        ("top_p", &request.top_p),
        ("frequency_penalty", &request.frequency_penalty),
        ("presence_penalty", &request.presence_penalty),
    ];
    for (name, value) in sampling {
        if thinks && value.is_some() {
            written.drop_param(name);
        } else {
            json.raw_if(name, value.as_ref());
        }
    }
    if request.top_k.is_some() {
        written.drop_param("top_k");
    }
    json.raw_if("seed", request.seed.as_ref());
    json.raw_if("logit_bias", request.logit_bias.as_ref());
    if let Some(logprobs) = request.logprobs {
        if thinks && logprobs {
            let message =
                format!("`logprobs`: `{model}` tells none while it reasons; set `reasoning_effort` to none");
            return Err(Refused::new("logprobs", message));
        }
        json.flag("logprobs", logprobs);
    }
    json.number_if("top_logprobs", request.top_logprobs.filter(|_| request.logprobs == Some(true)));
    if request.stop.len() > MOST_STOPS && models::is_openai(model) {
        let message = format!("`stop`: `{model}` takes at most {MOST_STOPS} stop sequences");
        return Err(Refused::new("stop", message));
    }
    if !request.stop.is_empty() {
        json.array("stop");
        for stop in &request.stop {
            json.string(stop);
        }
        json.close(b']');
    }
    json.number_if("n", request.choices.filter(|choices| *choices != 1));
    Ok(())
}

/// What does not change the answer's words: whose it is, how it is served and kept.
fn write_labels(request: &Request, model: &str, written: &mut Written, json: &mut Json) {
    if let Some(user) = &request.end_user {
        // Compatible servers know the older name alone; where the caller gave both, `user` is among the extras.
        let both = request.extra.iter().any(|(name, _)| name == "user");
        let newer = both || models::limit_name(model) == "max_completion_tokens";
        json.text(if newer { "safety_identifier" } else { "user" }, user);
    }
    json.raw_if("metadata", request.metadata.as_ref());
    match request.service_tier.as_deref() {
        Some(tier @ ("auto" | "default" | "flex" | "scale" | "priority" | "fast")) => {
            json.text("service_tier", tier);
        }
        Some(_) => written.drop_param("service_tier"),
        None => {}
    }
    json.text_if("prompt_cache_key", request.cache_key.as_deref());
    match request.verbosity.as_deref() {
        Some(verbosity @ ("low" | "medium" | "high")) => json.text("verbosity", verbosity),
        Some(_) => written.drop_param("verbosity"),
        None => {}
    }
    if let Some(store) = request.store {
        json.flag("store", store);
    }
}

fn write_extra(request: &Request, written: &mut Written, json: &mut Json) -> Result<(), Refused> {
    for (place, (name, raw)) in request.extra.iter().enumerate() {
        let known = PASSED.contains(&name.as_str()) && fits(name, raw)
            || name == "user" && request.end_user.is_some();
        if known {
            // The last of equal names counts, and an object has each once.
            if !request.extra.iter().skip(place + 1).any(|(later, _)| later == name) {
                json.json(name, raw.get());
            }
        } else if Param::new(name.as_str()).must_be_kept() {
            return Err(Refused::new(
                name,
                format!("`{name}`: the chosen model's API (Chat Completions) has no such parameter"),
            ));
        } else if name != "stream_options.include_obfuscation" {
            written.drop_param(name);
        }
    }
    Ok(())
}

/// Whether a value has the type that OpenAI's member of this name has.
fn fits(name: &str, raw: &Raw) -> bool {
    match name {
        "modalities" => raw.get().starts_with('['),
        "prompt_cache_retention" => raw.get().starts_with('"'),
        _ => raw.is_object(),
    }
}

fn write_stream(request: &Request, target: &Target<'_>, json: &mut Json) {
    if !request.stream {
        return;
    }
    json.flag("stream", true);
    let obfuscation =
        request.extra.iter().rev().find(|(name, _)| name == "stream_options.include_obfuscation");
    if target.stream_usage || obfuscation.is_some() {
        json.object("stream_options");
        if target.stream_usage {
            json.flag("include_usage", true);
        }
        json.raw_if("include_obfuscation", obfuscation.map(|(_, raw)| raw));
        json.close(b'}');
    }
}
