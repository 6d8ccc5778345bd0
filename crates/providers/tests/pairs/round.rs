//! A→B→A: what a client of one dialect asks, written for another and read back from there, is the same or is reported.
//!
//! The requests are made up in the common form and written in the client's dialect first, so that they hold all that
//! the dialect can say, in any mixture. Each is taken apart into facts ("temperature is 0.5", "the user says …"); a fact
//! that does not come back must stand in `dropped` by its name, and nothing may come back that nobody said.

use proptest::prelude::*;
use providers::blocks::{
    Format, Media, MediaKind, MediaSource, Part, Raw, Reasoning, Request, Role, Thinking, Tool, ToolCall,
    ToolChoice, ToolKind, ToolResult, Turn,
};
use providers::dialects::Dialect;

use crate::{pairs, read_request, write_request};

const PIXEL: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const SCHEMA: &str = r#"{"type":"object","properties":{"z":{"type":"string"},"a":{"type":"integer","minimum":0}},"required":["z","a"],"additionalProperties":false}"#;

/// What a request says, each with the name by which a loss of it is reported.
fn facts(request: &Request) -> Vec<(&'static str, String)> {
    let mut facts = settings(request);
    facts.extend(tools(request));
    let mut system = String::new();
    let mut order = Vec::new();
    for turn in &request.turns {
        order.extend(turn.name.as_ref().map(|name| ("name", format!("{name} speaks"))));
        for part in &turn.parts {
            match (turn.role, part) {
                // Where instructions stand is each dialect's own.
                (Role::System | Role::Developer, Part::Text { text, .. }) => system.push_str(text),
                (role, part) => said(role, part, &mut order),
            }
        }
    }
    facts.push(("system", system.replace('\n', "")));
    let (order, beside): (Vec<_>, Vec<_>) = order.into_iter().partition(|(name, _)| *name == "messages");
    facts.extend(beside);
    facts.extend(joined(order));
    facts
}

/// Texts that one says one after the other are one: not every dialect has turns of the same speaker in a row.
fn joined(order: Vec<(&'static str, String)>) -> Vec<(&'static str, String)> {
    let mut out: Vec<(&'static str, String)> = Vec::new();
    for (name, fact) in order {
        let fact = fact.replace('\n', "");
        let speaker = fact.find(" says ").map(|at| &fact[..at + 6]);
        match (speaker, out.last_mut()) {
            (Some(speaker), Some((_, last))) if last.starts_with(speaker) => {
                last.push_str(&fact[speaker.len()..]);
            }
            _ => out.push((name, fact)),
        }
    }
    out
}

fn said(role: Role, part: &Part, facts: &mut Vec<(&'static str, String)>) {
    let who = if role == Role::Assistant { "assistant" } else { "user" };
    match part {
        Part::Text { text, .. } => facts.push(("messages", format!("{who} says {text}"))),
        Part::Media(media) => {
            facts.push(("messages", format!("{who} shows {:?} {:?}", media.kind, media.source)));
            let detail = media.detail.as_deref().filter(|detail| *detail != "auto");
            facts.extend(detail.map(|detail| ("detail", format!("detail {detail}"))));
            let name = media.name.as_ref().filter(|_| media.kind == MediaKind::File);
            facts.extend(name.map(|name| ("filename", format!("a file named {name}"))));
        }
        Part::ToolCall(call) => {
            let arguments: serde_json::Value =
                serde_json::from_str(&call.arguments).unwrap_or_else(|_| serde_json::json!({}));
            facts.push(("messages", format!("calls {} {arguments}", call.name)));
        }
        Part::ToolResult(result) => {
            let texts = result.parts.iter().filter_map(|part| match part {
                Part::Text { text, .. } => Some(text.as_str()),
                _ => None,
            });
            facts.push(("messages", format!("is given {}", texts.collect::<String>())));
            facts.extend(result.is_error.then(|| ("is_error", format!("{} failed", result.call_id))));
        }
        Part::Refusal { text } => facts.push(("messages", format!("assistant says {text}"))),
        Part::Reasoning(reasoning) => {
            let thought = format!("{}{}", reasoning.text, reasoning.summary.concat());
            facts.push(("reasoning", format!("thinks {thought}")));
        }
        Part::Unknown { kind, .. } => facts.push(("messages", format!("has {kind}"))),
    }
}

fn settings(request: &Request) -> Vec<(&'static str, String)> {
    let number = |raw: &Option<Raw>| {
        raw.as_ref()
            .map(|raw| raw.get().parse::<f64>().map_or_else(|_| raw.get().to_owned(), |n| n.to_string()))
    };
    let thinking = request.thinking.clone().unwrap_or_default();
    let format = match &request.format {
        Format::Text => None,
        Format::Json => Some("json".to_owned()),
        Format::Schema { schema, .. } => {
            Some(schema.read::<serde_json::Value>().unwrap_or_default().to_string())
        }
    };
    // Where none may be called there are not several either.
    let one_call = request.parallel_tools.filter(|on| !on && request.tool_choice != Some(ToolChoice::None));
    let known: [(&'static str, Option<String>); 22] = [
        ("temperature", number(&request.temperature)),
        ("top_p", number(&request.top_p)),
        ("top_k", number(&request.top_k)),
        ("seed", number(&request.seed)),
        ("frequency_penalty", number(&request.frequency_penalty)),
        ("presence_penalty", number(&request.presence_penalty)),
        ("logit_bias", request.logit_bias.as_ref().map(|raw| raw.get().to_owned())),
        ("logprobs", request.logprobs.filter(|on| *on).map(|_| "on".to_owned())),
        ("top_logprobs", request.top_logprobs.map(|n| n.to_string())),
        ("n", request.choices.filter(|n| *n != 1).map(|n| n.to_string())),
        ("max_completion_tokens", request.max_output.map(|n| n.to_string())),
        ("stop", (!request.stop.is_empty()).then(|| request.stop.join("|"))),
        ("user", request.end_user.clone()),
        ("metadata", request.metadata.as_ref().map(|raw| raw.get().to_owned())),
        ("service_tier", request.service_tier.clone().filter(|tier| tier != "auto")),
        ("prompt_cache_key", request.cache_key.clone()),
        ("verbosity", request.verbosity.clone()),
        // Who keeps nothing does what `false` asks for.
        ("store", request.store.filter(|store| *store).map(|store| store.to_string())),
        ("reasoning_effort", thinking.effort),
        ("parallel_tool_calls", one_call.map(|on| on.to_string())),
        ("response_format", format),
        ("tool_choice", must_call(request)),
    ];
    known.into_iter().filter_map(|(name, value)| Some((name, format!("{name} is {}", value?)))).collect()
}

/// Whether a tool must be called.
fn must_call(request: &Request) -> Option<String> {
    match request.tool_choice.as_ref()? {
        ToolChoice::Auto | ToolChoice::Allowed { required: false, .. } => None,
        ToolChoice::None => Some("none".to_owned()),
        ToolChoice::Required | ToolChoice::One { .. } | ToolChoice::Allowed { .. } => {
            Some("required".to_owned())
        }
    }
}

/// The tools that may be called: a dialect without a word for "only these" is given these alone.
fn tools(request: &Request) -> Vec<(&'static str, String)> {
    let only: Option<Vec<&str>> = match &request.tool_choice {
        Some(ToolChoice::One { name, .. }) => Some(vec![name]),
        Some(ToolChoice::Allowed { names, .. }) => Some(names.iter().map(String::as_str).collect()),
        _ => None,
    };
    let told = request.tools.iter().filter_map(|tool| match tool {
        Tool::Function { name, description, parameters, .. } => {
            let parameters = parameters.as_ref().and_then(|raw| raw.read::<serde_json::Value>());
            let callable = only.as_ref().is_none_or(|only| only.contains(&name.as_str()));
            callable.then(|| ("tools", format!("may call {name}: {description:?} {parameters:?}")))
        }
        other => Some(("tools", format!("{other:?}"))),
    });
    told.collect()
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{1,8}", Just("é \"q\" \\ 潮\u{1f6a2}".to_owned()), Just("two\nlines".to_owned())]
}

fn media() -> impl Strategy<Value = Part> {
    let base64 = |kind, mime: &str, name: Option<&str>| {
        Part::Media(Media {
            kind,
            source: MediaSource::Base64(PIXEL.to_owned()),
            mime: Some(mime.to_owned()),
            name: name.map(str::to_owned),
            detail: None,
            cache: None,
            extra: Vec::new(),
        })
    };
    let image = base64(MediaKind::Image, "image/png", None);
    let mut detailed = image.clone();
    let mut address = image.clone();
    if let (Part::Media(detailed), Part::Media(address)) = (&mut detailed, &mut address) {
        detailed.detail = Some("low".to_owned());
        address.source = MediaSource::Url("https://harbour.example/tide.png".to_owned());
    }
    prop_oneof![
        Just(image),
        Just(detailed),
        Just(address),
        Just(base64(MediaKind::File, "application/pdf", Some("chart.pdf"))),
        Just(base64(MediaKind::Audio, "audio/wav", None)),
    ]
}

fn step() -> impl Strategy<Value = Vec<Turn>> {
    let user = (word(), prop::option::of(media())).prop_map(|(text, media)| {
        let parts = std::iter::once(Part::text(text)).chain(media).collect();
        vec![Turn { role: Role::User, parts, name: None }]
    });
    let said = (word(), prop::option::weighted(0.2, word())).prop_map(|(text, thought)| {
        let thought = thought.map(|text| Part::Reasoning(Reasoning { text, ..Reasoning::default() }));
        let parts = thought.into_iter().chain([Part::text(text)]).collect();
        vec![Turn { role: Role::Assistant, parts, name: None }]
    });
    let refused = word().prop_map(|text| {
        vec![Turn { role: Role::Assistant, parts: vec![Part::Refusal { text }], name: None }]
    });
    let named = word().prop_map(|text| {
        vec![Turn { role: Role::User, parts: vec![Part::text(text)], name: Some("ann".to_owned()) }]
    });
    let called =
        (prop::option::of(word()), prop::collection::vec((0..2usize, word(), word(), any::<bool>()), 1..4))
            .prop_map(|(text, calls)| {
                let mut asks: Vec<Part> = text.map(Part::text).into_iter().collect();
                let mut gives = Vec::new();
                for (at, (tool, argument, result, is_error)) in calls.into_iter().enumerate() {
                    let (id, name) = (format!("call_{at}"), ["weather", "tide"][tool].to_owned());
                    asks.push(Part::ToolCall(ToolCall {
                        id: id.clone(),
                        name: name.clone(),
                        arguments: serde_json::json!({ "z": argument, "a": 12 }).to_string(),
                        ..ToolCall::default()
                    }));
                    let (call_id, parts) = (id, vec![Part::text(result)]);
                    let result =
                        ToolResult { call_id, name: Some(name), parts, is_error, ..ToolResult::default() };
                    gives.push(Part::ToolResult(result));
                }
                vec![
                    Turn { role: Role::Assistant, parts: asks, name: None },
                    Turn { role: Role::Tool, parts: gives, name: None },
                ]
            });
    prop_oneof![6 => user, 3 => said, 3 => called, 1 => refused, 1 => named]
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let system = prop::option::of((word(), prop_oneof![Just(Role::System), Just(Role::Developer)]));
    (system, word(), prop::collection::vec(step(), 0..5)).prop_map(|(system, first, steps)| {
        let system = system.map(|(text, role)| Turn { role, parts: vec![Part::text(text)], name: None });
        let first = Turn { role: Role::User, parts: vec![Part::text(first)], name: None };
        let mut turns: Vec<_> = system.into_iter().chain([first]).collect();
        for turn in steps.into_iter().flatten() {
            turns.push(turn);
        }
        turns.push(Turn { role: Role::User, parts: vec![Part::text("so?")], name: None });
        turns
    })
}

fn numbers() -> impl Strategy<Value = [Option<Raw>; 6]> {
    let one = |texts: &'static [&'static str]| {
        prop::option::weighted(0.3, prop::sample::select(texts).prop_map(|text| Raw::parse(text).unwrap()))
    };
    (
        one(&["0", "0.5", "1.0", "1"]),
        one(&["0.1", "1"]),
        one(&["1", "40"]),
        one(&["0", "7"]),
        one(&["0.5", "-1"]),
        one(&["0.25"]),
    )
        .prop_map(|(a, b, c, d, e, f)| [a, b, c, d, e, f])
}

fn request() -> impl Strategy<Value = Request> {
    let function = |name: &str| Tool::Function {
        name: name.to_owned(),
        description: Some(format!("Tells the {name}.")),
        parameters: Raw::parse(SCHEMA),
        strict: None,
        cache: None,
    };
    let rare = |texts: &'static [&'static str]| {
        prop::option::weighted(0.2, prop::sample::select(texts).prop_map(str::to_owned))
    };
    let format = prop_oneof![
        4 => Just(Format::Text),
        1 => Just(Format::Json),
        1 => Just(Format::Schema { name: Some("ferry".to_owned()), description: None, schema: Raw::parse(SCHEMA).unwrap(), strict: Some(true) }),
    ];
    let choice = prop::option::weighted(
        0.4,
        prop_oneof![
            Just(ToolChoice::Auto),
            Just(ToolChoice::Required),
            Just(ToolChoice::None),
            Just(ToolChoice::One { name: "tide".to_owned(), kind: ToolKind::Function }),
            Just(ToolChoice::Allowed { names: vec!["tide".to_owned()], required: true }),
        ],
    );
    let asks = (choice, prop::option::weighted(0.2, any::<bool>()), format, rare(&["low", "high"]));
    let words = (rare(&["u-1"]), rare(&["low"]), rare(&["cache-1"]), rare(&["auto", "flex"]));
    let counts = (
        prop::option::weighted(0.5, 1..5000u64),
        prop::option::weighted(0.2, Just(3u64)),
        prop::collection::vec("[a-z]{1,3}", 0..3),
        prop::option::weighted(0.2, any::<bool>()),
    );
    let odd = (
        prop::option::weighted(0.15, (any::<bool>(), 0..5u64)),
        prop::option::weighted(0.15, Just(Raw::parse(r#"{"50256":-100}"#).unwrap())),
        prop::option::weighted(0.15, Just(Raw::parse(r#"{"boat":"7"}"#).unwrap())),
    );
    (turns(), numbers(), asks, words, counts, odd).prop_map(
        move |(turns, numbers, asks, words, counts, odd)| {
            let (logprobs, logit_bias, metadata) = odd;
            let [temperature, top_p, top_k, seed, frequency_penalty, presence_penalty] = numbers;
            let (tool_choice, parallel_tools, format, effort) = asks;
            let (end_user, verbosity, cache_key, service_tier) = words;
            let (max_output, choices, stop, store) = counts;
            Request {
                model: "m".to_owned(),
                turns,
                tools: vec![function("weather"), function("tide")],
                tool_choice,
                parallel_tools,
                format,
                max_output,
                thinking: effort.map(|effort| Thinking { effort: Some(effort), ..Thinking::default() }),
                temperature,
                top_p,
                top_k,
                seed,
                stop,
                frequency_penalty,
                presence_penalty,
                choices,
                end_user,
                logit_bias,
                logprobs: logprobs.map(|(on, _)| on),
                top_logprobs: logprobs.and_then(|(on, of)| on.then_some(of)),
                metadata,
                service_tier,
                cache_key,
                verbosity,
                store,
                ..Request::default()
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn there_and_back_is_the_same_or_reported(made in request()) {
        for (client, provider) in pairs() {
            // What the dialect of the client can say of it.
            let Ok(own) = write_request(client, &made) else { continue };
            let asked = read_request(client, &own.body);
            // A refusal names what it refuses, and nothing leaves.
            let Ok(there) = write_request(provider, &asked) else { continue };
            let arrived = read_request(provider, &there.body);
            let back = match write_request(client, &arrived) {
                Ok(back) => back,
                Err(refused) => {
                    return Err(TestCaseError::fail(format!("{client:?} cannot say what {provider:?} was told: {refused}")));
                }
            };
            let again = read_request(client, &back.body);
            let reported: Vec<&str> =
                there.dropped.iter().chain(&back.dropped).map(|param| param.0.as_str()).collect();
            let (said, came) = (facts(&asked), facts(&again));
            let place = || format!("{client:?} by {provider:?}: reported {reported:?}\n{}\n{}\n{}", text(&own.body), text(&there.body), text(&back.body));
            for (name, fact) in &said {
                let kept = came.iter().any(|(_, other)| other == fact);
                prop_assert!(kept || reported.contains(name), "lost without a word ({name}): {fact}\n{}", place());
            }
            for (name, fact) in &came {
                let told = said.iter().any(|(_, other)| other == fact);
                prop_assert!(told || reported.contains(name) || invented(provider, name), "nobody said ({name}): {fact}\n{}", place());
            }
        }
    }
}

/// What a dialect must be told although the client did not say it.
fn invented(provider: Dialect, name: &str) -> bool {
    // A limit of output must be told to Messages.
    provider == Dialect::Messages && name == "max_completion_tokens"
}

fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(body).replace(PIXEL, "PIXEL")
}
