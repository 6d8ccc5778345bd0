//! Writes what is asked, for a provider.

use crate::blocks::{Format, Raw, Refused, Request, Tool, ToolChoice, ToolKind, Written};
use crate::dialects::Target;

use super::emit::{List, Object, has_member};
use super::family::Family;
use super::request::{CONFIG, TOOL_CONFIG};
use super::turns::Contents;

/// Members of the body that mean the same whoever sent them: no other dialect has the name for something else.
const BODY_EXTRAS: [&str; 3] = ["safetySettings", "cachedContent", "labels"];
/// The same of `generationConfig`: what google-genai 3.4 sends to the Gemini API.
const CONFIG_EXTRAS: [&str; 10] = [
    "mediaResolution",
    "speechConfig",
    "imageConfig",
    "enableEnhancedCivicAnswers",
    "audioTranscriptionConfig",
    "continuationToken",
    "responseModalities",
    "responseMimeType",
    "responseSchema",
    "responseJsonSchema",
];
/// The same of `toolConfig`.
const TOOL_CONFIG_EXTRAS: [&str; 2] = ["retrievalConfig", "includeServerSideToolInvocations"];
/// Tools that Google runs.
const HOSTED: [&str; 8] = [
    "googleSearch",
    "googleSearchRetrieval",
    "codeExecution",
    "urlContext",
    "computerUse",
    "fileSearch",
    "googleMaps",
    "mcpServers",
];
const VALIDATED: &str = "toolConfig.functionCallingConfig.mode";

/// Writes a provider's body.
pub(crate) fn write_request(request: &Request, target: &Target<'_>) -> Result<Written, Refused> {
    let mut written = Written::default();
    let family = Family::of(target.model);
    let mut body_text = Vec::with_capacity(request.weight());
    let mut body = Object::new(&mut body_text);
    let mut contents = Contents::new(&target.issuer, family, &mut written);
    contents.turns(&request.turns)?;
    contents.end(&mut body);
    write_tools(request, &mut body, &mut written)?;
    write_tool_config(request, &mut body)?;
    write_config(request, family, &mut body, &mut written)?;
    write_rest(request, &mut body, &mut written)?;
    body.end();
    written.body = body_text;
    Ok(written)
}

/// Whether Google runs it.
fn runs(kind: &str, raw: &Raw) -> bool {
    HOSTED.contains(&kind) && has_member(raw, kind)
}

fn write_tools(request: &Request, body: &mut Object<'_>, written: &mut Written) -> Result<(), Refused> {
    let told = request.tools_for(written, runs);
    if told.is_empty() {
        return Ok(());
    }
    let mut tools = List::new(body.name("tools"));
    let mut functions = Vec::new();
    let mut list = List::new(&mut functions);
    let mut any = false;
    for tool in told {
        match tool {
            Tool::Function { name, description, parameters, strict, cache } => {
                any = true;
                if *strict == Some(true) {
                    written.drop_param("strict");
                }
                if cache.is_some() {
                    written.drop_param("cache_control");
                }
                let mut function = Object::new(list.item());
                function.text("name", name);
                if let Some(description) = description {
                    function.text("description", description);
                }
                if let Some(parameters) = parameters.as_ref().filter(|parameters| parameters.is_object()) {
                    function.json("parametersJsonSchema", parameters.get());
                }
                function.end();
            }
            Tool::Custom { name, .. } => {
                let message =
                    format!("tools holds the custom tool \"{name}\": this model takes functions alone");
                return Err(Refused::new("tools", message));
            }
            Tool::Hosted { kind, raw } => {
                if !runs(kind, raw) {
                    let message = format!("tools holds \"{kind}\", which this model's provider does not run");
                    return Err(Refused::new("tools", message));
                }
                tools.item().extend_from_slice(raw.get().as_bytes());
            }
        }
    }
    list.end();
    if any {
        let mut tool = Object::new(tools.item());
        tool.name("functionDeclarations").extend_from_slice(&functions);
        tool.end();
    }
    tools.end();
    Ok(())
}

fn write_tool_config(request: &Request, body: &mut Object<'_>) -> Result<(), Refused> {
    let extras: Vec<_> = extras(request, TOOL_CONFIG, &TOOL_CONFIG_EXTRAS).collect();
    if request.tool_choice.is_none() && extras.is_empty() {
        return Ok(());
    }
    let mut config = Object::new(body.name("toolConfig"));
    if let Some(choice) = &request.tool_choice {
        let validated = request.extra.iter().any(|(name, _)| name == VALIDATED);
        let one;
        let (mode, names): (_, &[String]) = match choice {
            ToolChoice::Auto if validated => ("VALIDATED", &[]),
            ToolChoice::Auto => ("AUTO", &[]),
            ToolChoice::Required => ("ANY", &[]),
            ToolChoice::None => ("NONE", &[]),
            ToolChoice::One { kind: ToolKind::Custom, .. } => {
                let message = "tool_choice names a custom tool: this model takes functions alone";
                return Err(Refused::new("tool_choice", message));
            }
            ToolChoice::One { name, .. } => {
                one = [name.clone()];
                ("ANY", &one)
            }
            ToolChoice::Allowed { names, required: true } => ("ANY", names),
            ToolChoice::Allowed { names, required: false } => ("VALIDATED", names),
        };
        let mut calling = Object::new(config.name("functionCallingConfig"));
        calling.text("mode", mode);
        if !names.is_empty() {
            calling.texts("allowedFunctionNames", names);
        }
        calling.end();
    }
    for (name, raw) in extras {
        config.json(name, raw.get());
    }
    config.end();
    Ok(())
}

/// Extras of a member, by their names in it.
fn extras<'r>(
    request: &'r Request,
    prefix: &'static str,
    known: &'static [&'static str],
) -> impl Iterator<Item = (&'r str, &'r Raw)> {
    request.extra.iter().filter_map(move |(name, raw)| {
        let name = name.strip_prefix(prefix)?;
        known.contains(&name).then_some((name, raw))
    })
}

fn write_config(
    request: &Request,
    family: Family,
    body: &mut Object<'_>,
    written: &mut Written,
) -> Result<(), Refused> {
    let mut text = Vec::new();
    let mut config = Object::new(&mut text);
    let numbers = [
        ("temperature", &request.temperature),
        ("topP", &request.top_p),
        ("topK", &request.top_k),
        ("seed", &request.seed),
        ("presencePenalty", &request.presence_penalty),
        ("frequencyPenalty", &request.frequency_penalty),
    ];
    for (name, number) in numbers {
        if let Some(number) = number {
            config.json(name, number.get());
        }
    }
    let counts = [
        ("maxOutputTokens", request.max_output),
        ("candidateCount", request.choices),
        ("logprobs", request.top_logprobs),
    ];
    for (name, count) in counts {
        if let Some(count) = count {
            config.number(name, count);
        }
    }
    if let Some(logprobs) = request.logprobs {
        config.flag("responseLogprobs", logprobs);
    }
    if !request.stop.is_empty() {
        config.texts("stopSequences", &request.stop);
    }
    match &request.format {
        Format::Text => {}
        Format::Json => config.text("responseMimeType", "application/json"),
        Format::Schema { schema, description, .. } => {
            if description.is_some() {
                written.drop_param("response_format.description");
            }
            config.text("responseMimeType", "application/json");
            config.json("responseJsonSchema", schema.get());
        }
    }
    if let Some(thinking) = &request.thinking
        && !family.write_thinking(thinking, request.max_output, &mut config)
    {
        written.drop_param("reasoning_effort");
    }
    write_modalities(request, &mut config)?;
    for (name, raw) in extras(request, CONFIG, &CONFIG_EXTRAS) {
        config.json(name, raw.get());
    }
    config.end();
    if text != b"{}" {
        body.name("generationConfig").extend_from_slice(&text);
    }
    Ok(())
}

/// Google's own words as they are; Chat's `["text"]` is what there is without a word.
fn write_modalities(request: &Request, config: &mut Object<'_>) -> Result<(), Refused> {
    let Some((_, raw)) = request.extra.iter().find(|(name, _)| name == "modalities") else { return Ok(()) };
    let words: Vec<String> = raw.read().unwrap_or_default();
    if !words.is_empty()
        && words.iter().all(|word| ["TEXT", "IMAGE", "AUDIO", "VIDEO"].contains(&word.as_str()))
    {
        config.json("responseModalities", raw.get());
    } else if !words.iter().all(|word| word.eq_ignore_ascii_case("text")) {
        let message = "modalities asks for more than text, which this model is not asked for by this dialect";
        return Err(Refused::new("modalities", message));
    }
    Ok(())
}

fn write_rest(request: &Request, body: &mut Object<'_>, written: &mut Written) -> Result<(), Refused> {
    if request.previous.is_some() {
        let message = "previous_response_id names an answer that this model's provider does not keep";
        return Err(Refused::new("previous_response_id", message));
    }
    match request.service_tier.as_deref() {
        Some(tier @ ("flex" | "priority" | "standard")) => body.text("serviceTier", tier),
        Some("default" | "standard_only") => body.text("serviceTier", "standard"),
        Some("auto" | "unspecified") | None => {}
        Some(_) => written.drop_param("service_tier"),
    }
    match request.store {
        // Not to be kept is a promise; to be kept for `previous_response_id` is not what Google means by it.
        Some(false) => body.flag("store", false),
        Some(true) => written.drop_param("store"),
        None => {}
    }
    for (name, told) in [
        ("logit_bias", request.logit_bias.is_some()),
        ("user", request.end_user.is_some()),
        ("metadata", request.metadata.is_some()),
        ("prompt_cache_key", request.cache_key.is_some()),
        ("verbosity", request.verbosity.is_some()),
        ("parallel_tool_calls", request.parallel_tools == Some(false)),
    ] {
        if told {
            written.drop_param(name);
        }
    }
    for (name, raw) in &request.extra {
        let nested =
            |prefix, known: &[&str]| name.strip_prefix(prefix).is_some_and(|name| known.contains(&name));
        if BODY_EXTRAS.contains(&name.as_str()) {
            body.json(name, raw.get());
        } else if name != "modalities"
            && name != VALIDATED
            && !nested(CONFIG, &CONFIG_EXTRAS)
            && !nested(TOOL_CONFIG, &TOOL_CONFIG_EXTRAS)
        {
            if crate::blocks::Param::new(name.as_str()).must_be_kept() {
                let message = format!("{name} asks for what this model's provider cannot do");
                return Err(Refused::new(name, message));
            }
            written.drop_param(name);
        }
    }
    Ok(())
}
