//! Which lane an attempt takes: the client's bytes with surgical edits where the provider speaks the client's dialect,
//! else through the ordered form between dialects (`providers::blocks`).
//!
//! Chosen for each attempt and not for each request, since a fallback may speak another dialect than the first choice.

mod door;
mod quirks;

use std::sync::Arc;

use bytes::Bytes;
use policy::{Deployment, Name, Provider};
use providers::blocks::{self, Issuer, Keepsake, Part};
use providers::completions;
use providers::dialects::{self, Dialect, Reply, StreamWriter, Target, Unanswered, signals};
use providers::flow::{Flow, Translated, Watched, stop_name};
use providers::other_door;
use providers::request::{BadRequest, Edits, Operation, Raw, rewrite};
use providers::tap::{Tap, TapOptions};
use providers::tool_names::ToolNames;
use providers::vectors::Shape;

use smallvec::SmallVec;

use crate::exchange::Exchange;
use crate::flight::Flight;
use crate::refusal::{Code, Refusal};
use crate::relay::MAX_EVENT;
use crate::{stored, vectors};

/// How an attempt speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Lane {
    /// Client and provider speak the same.
    Same,
    /// Through the ordered form.
    Across { client: Dialect, provider: Dialect },
    /// Embeddings or rerank, through the form that those have.
    Vectors { client: Shape, provider: Shape },
}

impl Lane {
    /// The dialect of the provider's answers in a conversation.
    pub(crate) fn spoken(self, operation: Operation) -> Option<Dialect> {
        match self {
            Self::Same => operation.dialect(),
            Self::Across { provider, .. } => Some(provider),
            Self::Vectors { provider, .. } => (provider == Shape::Gemini).then_some(Dialect::Gemini),
        }
    }
}

/// What a provider speaks of itself, the best first.
pub(crate) fn dialects_of(provider: &Provider) -> SmallVec<[Dialect; 4]> {
    let mut spoken = SmallVec::new();
    let native = std::iter::once(provider.dialect);
    for dialect in native.chain(provider.also.iter().map(|endpoint| endpoint.dialect)) {
        spoken.push(match dialect {
            policy::Dialect::OpenAi => Dialect::Chat,
            policy::Dialect::Anthropic => Dialect::Messages,
            policy::Dialect::Gemini => Dialect::Gemini,
        });
    }
    if provider.responses.is_some() {
        spoken.push(Dialect::Responses);
    }
    spoken
}

/// The lane of an operation to a deployment.
pub(crate) fn decide(
    exchange: &mut Exchange,
    deployment: &Deployment,
    body: &Bytes,
) -> Result<Lane, Box<Refusal>> {
    if let Some(lane) = vectors::decide(exchange, deployment, body) {
        return lane;
    }
    let provider = &deployment.provider;
    let spoken = dialects_of(provider);
    let first = spoken.first().copied().unwrap_or(Dialect::Chat);
    let ours = exchange.stored.as_ref().is_some_and(|stored| stored.is_ours());
    match exchange.operation.dialect() {
        _ if exchange.operation == Operation::Raw(Raw::Passthrough) => Ok(Lane::Same),
        Some(client) if matches!(exchange.operation, Operation::Raw(_)) && !spoken.contains(&client) => {
            let (name, what) = (&provider.name, exchange.endpoint());
            let message =
                format!("provider `{name}` has no {what} of this kind; ask a model of another provider");
            Err(Refusal::new(Code::InvalidRequest, message).about("model"))
        }
        // Kept here, so the provider is not to keep it too, and thoughts in it may be another's.
        Some(client) if ours && spoken.contains(&Dialect::Responses) => {
            Ok(Lane::Across { client, provider: Dialect::Responses })
        }
        // Google's streams come as an array too; only events are read from a provider, so the array is made here.
        Some(client) => {
            let same = spoken.contains(&client) && !exchange.as_array;
            let chosen = if same { client } else { first };
            Ok(if chosen == Dialect::Chat && door::by_responses(exchange, deployment, client, body) {
                Lane::Across { client, provider: Dialect::Responses }
            } else if same {
                Lane::Same
            } else {
                Lane::Across { client, provider: first }
            })
        }
        None if spoken.contains(&Dialect::Chat) => Ok(Lane::Same),
        None if exchange.operation == Operation::Completions => {
            Ok(Lane::Across { client: Dialect::Chat, provider: first })
        }
        None => {
            let (name, what) = (&provider.name, exchange.endpoint());
            let message =
                format!("provider `{name}` has no {what} of OpenAI's kind; ask a model of another provider");
            Err(Refusal::new(Code::InvalidRequest, message).about("model"))
        }
    }
}

/// Whether a refused attempt shows that the model is served through Responses alone, and may be made again there.
pub(crate) fn learn(flight: &mut Flight, status: u16, body: &[u8]) -> bool {
    let (lane, deployment) = (flight.lane, Arc::clone(&flight.deployment));
    let exchange = flight.exchange();
    let conversation =
        exchange.operation.dialect().is_some() && !matches!(exchange.operation, Operation::Raw(_));
    if !conversation || lane.spoken(exchange.operation) != Some(Dialect::Chat) {
        return false;
    }
    let Some(refused) = other_door::read(status, body) else { return false };
    exchange.gateway.learned.learn(&deployment, refused)
}

/// A request's body as a provider gets it.
pub(crate) struct Body {
    pub(crate) bytes: Bytes,
    /// Headers that go with it.
    pub(crate) headers: Vec<(&'static str, String)>,
}

/// Writes the body of an attempt. What the provider cannot be told is noted in the exchange.
pub(crate) fn body(
    exchange: &mut Exchange,
    lane: Lane,
    deployment: &Deployment,
    body: &Bytes,
) -> Result<Body, Box<Refusal>> {
    exchange.dropped.clear();
    let mut written = match lane {
        Lane::Same => {
            Body { bytes: edited(exchange, deployment, body), headers: same_headers(exchange.operation) }
        }
        Lane::Across { client, provider } => written(exchange, client, provider, deployment, body)?,
        Lane::Vectors { client, provider } => {
            vectors::written(exchange, (client, provider), deployment, body)?
        }
    };
    written.bytes = quirks::edited(exchange, lane, deployment, written.bytes)?;
    if let Lane::Across { client, .. } = lane {
        for name in &mut exchange.dropped {
            *name = signals::name_of(client, name).to_owned();
        }
    }
    if exchange.strict && !exchange.dropped.is_empty() {
        let names = exchange.dropped.join("`, `");
        let message =
            format!("model `{}` cannot take `{names}`, and strictness was asked for", deployment.name);
        let mut refusal = Refusal::new(Code::InvalidRequest, message);
        refusal.param = exchange.dropped.first().cloned().map(Into::into);
        refusal.detail = Some("unsupported_parameter");
        return Err(refusal);
    }
    Ok(written)
}

/// The body in the provider's dialect.
fn written(
    exchange: &mut Exchange,
    client: Dialect,
    provider: Dialect,
    deployment: &Deployment,
    body: &Bytes,
) -> Result<Body, Box<Refusal>> {
    let (body, lost) = match exchange.operation {
        Operation::Completions => completions::as_chat(body).map_err(unreadable)?,
        _ => (body.clone(), Vec::new()),
    };
    let request = parsed(exchange, client, &body)?;
    let target = Target {
        model: &deployment.upstream_model,
        issuer: issuer(deployment, provider),
        max_output: deployment.max_output,
        stream_usage: deployment.provider.stream_usage,
    };
    let renamed = ToolNames::of(&request, provider).map(|names| names.sent(&request));
    let written = dialects::write_request(provider, renamed.as_ref().unwrap_or(&request), &target).map_err(
        |problem| {
            let mut refusal = refused(deployment, problem);
            refusal.param = refusal.param.map(|name| signals::name_of(client, &name).to_owned().into());
            refusal
        },
    )?;
    exchange.dropped = lost;
    exchange.dropped.extend(written.dropped.into_iter().map(|param| param.0));
    Ok(Body { bytes: written.body.into(), headers: written.headers })
}

/// What the chosen model cannot be asked for.
pub(crate) fn refused(deployment: &Deployment, problem: blocks::Refused) -> Box<Refusal> {
    let mut refusal = Refusal::new(Code::InvalidRequest, format!("model `{}`: {problem}", deployment.name));
    refusal.param = Some(problem.param.into());
    refusal.detail = Some("unsupported_parameter");
    refusal
}

/// What a body of the client's own dialect needs beside it, where the client left it out.
fn same_headers(operation: Operation) -> Vec<(&'static str, String)> {
    match operation {
        Operation::Messages => vec![("anthropic-version", "2023-06-01".to_owned())],
        _ => Vec::new(),
    }
}

fn edited(exchange: &Exchange, deployment: &Deployment, body: &Bytes) -> Bytes {
    let asked = &exchange.asked;
    let tapped = matches!(exchange.operation, Operation::Chat | Operation::Completions);
    let edits = Edits {
        model: Some(&*deployment.upstream_model),
        include_usage: tapped && asked.stream && !asked.include_usage && deployment.provider.stream_usage,
        remove_models: !asked.fallbacks.is_empty(),
    };
    rewrite(body, asked, &edits)
}

/// The request in the ordered form, read once for all attempts.
pub(crate) fn parsed(
    exchange: &mut Exchange,
    client: Dialect,
    body: &Bytes,
) -> Result<Arc<blocks::Request>, Box<Refusal>> {
    if let Some(parsed) = &exchange.parsed {
        return Ok(Arc::clone(parsed));
    }
    if let Some(held) = &mut exchange.held {
        held.translated(body.len() as u64)?;
    }
    let mut request = dialects::read_request(client, body).map_err(unreadable)?;
    let (kept, key) = (&exchange.gateway.keepsakes, &exchange.caller.key.record.id);
    blocks::keepsake::restore(&mut request, |call| kept.find(key, call));
    stored::adapt(exchange, &mut request);
    request.model.clone_from(&exchange.asked.model);
    request.stream = exchange.asked.stream;
    Ok(Arc::clone(exchange.parsed.insert(Arc::new(request))))
}

fn unreadable(bad: BadRequest) -> Box<Refusal> {
    let mut refusal = Refusal::new(Code::InvalidRequest, bad.message);
    refusal.param = bad.param.map(Into::into);
    refusal.detail = bad.code;
    refusal
}

fn issuer(deployment: &Deployment, dialect: Dialect) -> Issuer {
    Issuer { dialect, provider: deployment.provider.name.to_string() }
}

/// Calls `with` with what a writer must know of the call.
pub(crate) fn reply<T>(exchange: &Exchange, with: impl FnOnce(&Reply<'_>) -> T) -> T {
    let nothing = blocks::Request::default();
    let id = exchange.id.to_string().replace('-', "");
    with(&Reply {
        id: &id,
        model: &exchange.model_asked,
        created: exchange.at.as_seconds(),
        request: exchange.parsed.as_deref().unwrap_or(&nothing),
    })
}

/// The flow of a streamed answer.
pub(crate) fn flow(exchange: &Exchange, lane: Lane, deployment: &Deployment, swallow_usage: bool) -> Flow {
    let flow = match lane {
        Lane::Same | Lane::Vectors { .. } => match exchange.operation.dialect() {
            None | Some(Dialect::Chat) => {
                Flow::Tapped(Tap::new(TapOptions { swallow_usage, max_event: MAX_EVENT }))
            }
            Some(dialect) => Flow::Watched(Box::new(reply(exchange, |reply| {
                Watched::new(issuer(deployment, dialect), reply, MAX_EVENT)
            }))),
        },
        Lane::Across { client, provider } => {
            let writer = reply(exchange, |reply| match client {
                Dialect::Gemini if exchange.as_array => {
                    StreamWriter::Gemini(Box::new(dialects::gemini::StreamWriter::array(reply)))
                }
                client => StreamWriter::new(client, reply),
            });
            let translated = Translated::new(issuer(deployment, provider), writer, MAX_EVENT);
            let completions = exchange.operation == Operation::Completions;
            let translated = translated.for_completions(completions);
            Flow::Translated(Box::new(translated.with_names(renamed(exchange, provider))))
        }
    };
    quirks::before(exchange, lane, deployment, flow)
}

/// The tools that were renamed for the provider: found anew from what was asked.
fn renamed(exchange: &Exchange, provider: Dialect) -> Option<ToolNames> {
    ToolNames::of(exchange.parsed.as_deref()?, provider)
}

/// Keeps what the client may lose of an answer.
pub(crate) fn remember(exchange: &Exchange, keepsake: Option<Keepsake>) {
    if let Some(keepsake) = keepsake {
        exchange.gateway.keepsakes.keep(
            &exchange.caller.key.record.id,
            keepsake,
            exchange.gateway.clock.moment(),
        );
    }
}

/// A whole answer, understood.
pub(crate) struct Whole {
    /// For the client.
    pub(crate) body: Bytes,
    pub(crate) usage: Option<providers::Usage>,
    pub(crate) output_estimate: u64,
    pub(crate) finish_reason: Option<Name>,
}

/// Why a body of status 200 is no answer.
pub(crate) enum NoAnswer {
    /// An error object.
    Error,
    /// Something else, said in words.
    Other(String),
}

/// Reads a whole answer, and writes it anew where the client speaks another dialect.
pub(crate) fn whole(
    exchange: &mut Exchange,
    lane: Lane,
    deployment: &Deployment,
    body: Bytes,
) -> Result<Whole, NoAnswer> {
    if let Lane::Vectors { client, provider } = lane {
        return vectors::whole(exchange, (client, provider), &body);
    }
    let body = quirks::whole(exchange, lane, deployment, body);
    if lane == Lane::Same && matches!(exchange.operation.dialect(), None | Some(Dialect::Chat)) {
        let read = providers::answer::read(exchange.operation, &body)
            .map_err(|error| NoAnswer::Other(error.to_string()))?;
        if read.is_error {
            return Err(NoAnswer::Error);
        }
        return Ok(Whole {
            body,
            usage: read.usage,
            output_estimate: read.output_estimate,
            finish_reason: read.finish_reasons.first().map(|reason| reason.as_str().into()),
        });
    }
    let spoken = lane.spoken(exchange.operation).unwrap_or(Dialect::Chat);
    let mut answer = dialects::read_answer(spoken, &body, &issuer(deployment, spoken)).map_err(no_answer)?;
    if let Some(names) = renamed(exchange, spoken).filter(|_| lane != Lane::Same) {
        names.back_in_answer(&mut answer);
    }
    let stop = answer.choices.iter().find_map(|choice| choice.stop.as_ref());
    let finish_reason = stop.map(|stop| stop_name(stop).into());
    let (usage, output_estimate) = (answer.usage, estimate(&answer));
    if matches!(lane, Lane::Across { client: Dialect::Messages, .. }) {
        exchange.usage_estimated = complete(&mut answer, exchange.asked.input_estimate, output_estimate);
    }
    Ok(Whole {
        usage,
        output_estimate,
        finish_reason,
        body: match lane {
            Lane::Same | Lane::Vectors { .. } => body,
            Lane::Across { client, .. } => {
                remember(exchange, Keepsake::of(&answer));
                exchange.dropped.extend(signals::unsaid(client, &answer));
                if client == Dialect::Responses {
                    // Its id is ours: by that one it is asked for.
                    answer.id = None;
                }
                let body = reply(exchange, |reply| dialects::write_answer(client, &answer, reply)).into();
                if exchange.operation == Operation::Completions { completions::whole(body) } else { body }
            }
        },
    })
}

/// Anthropic's clients want numbers: where the provider told none, our estimates; whether any was needed.
fn complete(answer: &mut blocks::Answer, input: u64, output: u64) -> bool {
    let told = answer.usage.get_or_insert_default();
    let known = told.input.is_some() && told.output.is_some();
    told.input.get_or_insert(input);
    told.output.get_or_insert(output);
    !known
}

fn no_answer(problem: Unanswered) -> NoAnswer {
    match problem.error {
        Some(_) => NoAnswer::Error,
        None => NoAnswer::Other(problem.message),
    }
}

/// Tokens of text that an answer probably has: a quarter of its bytes.
fn estimate(answer: &blocks::Answer) -> u64 {
    let length = |part: &Part| match part {
        Part::Text { text, .. } | Part::Refusal { text } => text.len(),
        Part::ToolCall(call) => call.name.len() + call.arguments.len(),
        Part::Reasoning(thought) => {
            thought.text.len() + thought.summary.iter().map(String::len).sum::<usize>()
        }
        Part::Media(_) | Part::ToolResult(_) | Part::Unknown { .. } => 0,
    };
    let bytes: usize = answer.choices.iter().flat_map(|choice| &choice.parts).map(length).sum();
    (bytes as u64).div_ceil(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_counts_what_the_model_wrote() {
        let choice =
            blocks::Choice { parts: vec![Part::text("12345678"), Part::text("9")], ..Default::default() };
        assert_eq!(estimate(&blocks::Answer { choices: vec![choice], ..Default::default() }), 3);
    }
}
