//! Guardrails at the way of a request: which are in force, what they find, what is done, and who is told.
//!
//! It stands behind `plan`, where it is known what the request leads to, and before the cache and everything that leaves.
//! There is one way of a request, so every endpoint, dialect, place of the key and stream mode comes by here; what cannot be
//! read (a form, tokens, a realtime session) is told as such and treated as each guardrail's `on_failure` says, never as if it
//! had been looked at. Files in base 64 are no texts: that is said in the guide and not for each request. A request in an environment without guardrails costs one branch, in whoever calls.
//!
//! Answers are looked at as their client would get them, so in one dialect for each endpoint, whichever lane they came by: whole
//! ones in [`answers`], events in [`stream`].

pub(crate) mod answers;
mod hook;
mod items;
mod look;
pub(crate) mod stream;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use policy::{Action, Detector, Found, Guardrail, Stage, Target};
use providers::request::texts::{self, Texts};
use providers::request::{Operation, Raw};
use smallvec::SmallVec;

use self::hook::Asking;
pub(crate) use self::hook::Verdict;
use crate::exchange::Exchange;
use crate::refusal::{Code, Refusal};

/// Guardrails, in the order in which they look.
pub(crate) type InForce = SmallVec<[Arc<Guardrail>; 8]>;

/// Of the environment, then of the routes that the request names, each once.
fn in_force(exchange: &Exchange) -> InForce {
    let environment = &exchange.caller.environment;
    let mut all: InForce = environment.guardrails.iter().cloned().collect();
    if !environment.guards_routes {
        return all;
    }
    for name in std::iter::once(&exchange.asked.model).chain(&exchange.asked.fallbacks) {
        if let Ok(Target::Route(route)) = environment.resolve(name) {
            for guardrail in &route.guardrails {
                if !all.iter().any(|known| known.name == guardrail.name) {
                    all.push(Arc::clone(guardrail));
                }
            }
        }
    }
    all
}

/// Those that look at requests; those that look at answers are noted.
fn sorted(exchange: &mut Exchange) -> InForce {
    let (mut all, mut answers) = (in_force(exchange), InForce::new());
    answers.extend(all.iter().filter(|guardrail| guardrail.is_at(Stage::Response)).cloned());
    exchange.answer_guards = answers;
    all.retain(|guardrail| guardrail.is_at(Stage::Request));
    all
}

/// Why nobody can look at the answer to a call, where a model may speak in it.
fn unseen(exchange: &Exchange) -> Option<&'static str> {
    if exchange.stored.as_ref().is_some_and(|stored| stored.goes_on_alone()) {
        return Some("the provider makes the response in the background");
    }
    match exchange.operation {
        Operation::Raw(Raw::Transcriptions | Raw::Translations) => Some("a transcription is not looked at"),
        Operation::Raw(Raw::Batches | Raw::MessageBatches) => Some("answers of batches are not looked at"),
        Operation::Raw(Raw::Passthrough) => Some("what comes by the passage is not looked at"),
        Operation::Raw(Raw::Realtime) => Some("a realtime session is not looked at"),
        _ => None,
    }
}

/// A response that its provider keeps is asked for again: nobody knows what it was asked under, so the environment's own count.
pub(crate) fn kept_elsewhere(exchange: &mut Exchange) -> Result<(), Box<Refusal>> {
    let all = exchange.caller.environment.guardrails.iter();
    let answers: InForce = all.filter(|guardrail| guardrail.is_at(Stage::Response)).cloned().collect();
    unreadable(exchange, &answers, "a response that its provider keeps is not looked at", Stage::Response)
}

/// Looks at the whole body of a request. Gives the body that goes on where it is another.
pub(crate) async fn request(exchange: &mut Exchange, body: &Bytes) -> Result<Option<Bytes>, Box<Refusal>> {
    let guardrails = sorted(exchange);
    if let Some(why) = unseen(exchange) {
        let answers = std::mem::take(&mut exchange.answer_guards);
        unreadable(exchange, &answers, why, Stage::Response).inspect_err(|_| exchange.request_body = None)?;
    }
    if guardrails.is_empty() || body.is_empty() {
        return Ok(None);
    }
    let done = match texts::texts(exchange.operation, body) {
        Ok(read) => screened(exchange, &guardrails, body, read).await,
        Err(_) => unreadable(exchange, &guardrails, "the body is not JSON", Stage::Request).map(|()| None),
    };
    match done {
        // What was refused for what is in it is not kept either.
        Err(refusal) => {
            exchange.request_body = None;
            Err(refusal)
        }
        Ok(Some(masked)) => {
            let operation = exchange.operation;
            if let Some(stored) = exchange.stored.as_mut() {
                stored.asked = masked.again(operation, &stored.asked);
            }
            Ok(Some(masked.body))
        }
        Ok(None) => Ok(None),
    }
}

/// A body in which something was masked.
struct Masked {
    body: Bytes,
    /// Each text that was changed, and what became of it.
    texts: HashMap<String, String>,
}

impl Masked {
    /// The same of what is kept of a conversation, whose whole was looked at with what came before.
    fn again(&self, operation: Operation, body: &Bytes) -> Bytes {
        let Ok(read) = texts::texts(operation, body) else { return body.clone() };
        let known = |text: texts::Text| Some((text.span, self.texts.get(&*text.text)?.clone()));
        let changes: Vec<_> = read.texts.into_iter().filter_map(known).collect();
        texts::with_texts(body, &changes)
    }
}

/// A session whose messages pass unseen.
pub(crate) fn session(exchange: &mut Exchange) -> Result<(), Box<Refusal>> {
    let guardrails = sorted(exchange);
    let answers = std::mem::take(&mut exchange.answer_guards);
    let why = "a realtime session is not looked at";
    unreadable(exchange, &guardrails, why, Stage::Request)?;
    unreadable(exchange, &answers, why, Stage::Response)
}

async fn screened(
    exchange: &mut Exchange,
    guardrails: &InForce,
    body: &Bytes,
    mut read: Texts<'_>,
) -> Result<Option<Masked>, Box<Refusal>> {
    if read.has_tokens {
        unreadable(exchange, guardrails, "the input is given as tokens", Stage::Request)?;
    }
    // What was before, of those that changed.
    let mut before: BTreeMap<usize, String> = BTreeMap::new();
    for guardrail in guardrails {
        let mut found = Found::default();
        match &guardrail.detector {
            Detector::Length(most) => {
                let length: usize = read.texts.iter().map(|text| text.text.chars().count()).sum();
                if length as u64 > *most {
                    found.add("length");
                }
            }
            Detector::Language(languages) => {
                read.texts
                    .iter()
                    .filter_map(|text| languages.other(&text.text))
                    .for_each(|other| found.add(other));
            }
            Detector::Hook(_) => {
                let now: Vec<&str> = read.texts.iter().map(|text| &*text.text).collect();
                if let Some(masked) = asked(exchange, guardrail, Stage::Request, &now).await? {
                    for (at, (text, masked)) in read.texts.iter_mut().zip(masked).enumerate() {
                        if text.text != masked {
                            replace(&mut before, at, text, masked);
                        }
                    }
                }
            }
            // For answers alone.
            Detector::Schema(_) => {}
            Detector::Places(_) => {
                for (at, text) in read.texts.iter_mut().enumerate() {
                    if let Cow::Owned(masked) = look::masked(guardrail, &text.text, &mut found)
                        && guardrail.action == Action::Mask
                    {
                        replace(&mut before, at, text, masked);
                    }
                }
            }
        }
        if !found.is_empty() {
            decided(exchange, guardrail, guardrail.action.as_str(), &found.told(), Stage::Request);
            if guardrail.action == Action::Block {
                return Err(blocked(guardrail, Stage::Request));
            }
        }
    }
    if before.is_empty() {
        return Ok(None);
    }
    let (mut changes, mut known) = (Vec::new(), HashMap::new());
    for (at, before) in before {
        let text = &read.texts[at];
        known.insert(before, text.text.clone().into_owned());
        changes.push((text.span, text.text.clone().into_owned()));
    }
    Ok(Some(Masked { body: texts::with_texts(body, &changes), texts: known }))
}

/// Puts what is masked in place of a text; what was there first is remembered.
fn replace(before: &mut BTreeMap<usize, String>, at: usize, text: &mut texts::Text<'_>, masked: String) {
    let was = std::mem::replace(&mut text.text, Cow::Owned(masked));
    before.entry(at).or_insert_with(|| was.into_owned());
}

/// Asks a hook about texts, and does what it says as far as its settings let it: gives the texts that go on, where others do.
async fn asked(
    exchange: &mut Exchange,
    guardrail: &Arc<Guardrail>,
    stage: Stage,
    texts: &[&str],
) -> Result<Option<Vec<String>>, Box<Refusal>> {
    if texts.is_empty() {
        return Ok(None);
    }
    let began = exchange.gateway.clock.moment();
    let verdict = Box::pin(Asking::new(exchange, guardrail, stage, texts, false).ask()).await;
    // Nobody's own time is it.
    exchange.times.lost += exchange.gateway.clock.moment().since(began);
    if matches!(verdict, Ok(Verdict::Late)) {
        return Err(exchange.too_late());
    }
    match judged(guardrail, verdict) {
        Ok(None) => Ok(None),
        Ok(Some((action, masked))) => {
            decided(exchange, guardrail, action.as_str(), "hook=1", stage);
            if action == Action::Block { Err(blocked(guardrail, stage)) } else { Ok(masked) }
        }
        Err(why) => {
            let one: InForce = std::iter::once(Arc::clone(guardrail)).collect();
            unreadable(exchange, &one, &why, stage).map(|()| None)
        }
    }
}

/// What is done, and the texts as they go on where others do.
type Judgement = (Action, Option<Vec<String>>);

/// What is done about a verdict; `None`: nothing. The settings can make less of it, and never more.
fn judged(guardrail: &Guardrail, verdict: Result<Verdict, String>) -> Result<Option<Judgement>, String> {
    let (said, masked) = match verdict? {
        Verdict::Pass | Verdict::Late => return Ok(None),
        Verdict::Block => (Action::Block, None),
        Verdict::Mask(masked) => (Action::Mask, Some(masked)),
        Verdict::Annotate => (Action::Annotate, None),
        Verdict::Observe => (Action::Observe, None),
    };
    Ok(Some(match guardrail.action {
        Action::Block | Action::Mask => (said, masked),
        Action::Annotate if said != Action::Observe => (Action::Annotate, None),
        Action::Annotate | Action::Observe => (Action::Observe, None),
    }))
}

/// The refusal of a guardrail that blocks.
fn blocked(guardrail: &Guardrail, stage: Stage) -> Box<Refusal> {
    let what = match stage {
        Stage::Request => "what the request holds",
        Stage::Response => "the answer",
    };
    Refusal::new(Code::GuardrailBlocked, format!("guardrail `{}` refuses {what}", guardrail.name))
}

/// The refusal of a guardrail that cannot look and must not be passed.
fn failed(guardrail: &Guardrail, why: &str, stage: Stage) -> Box<Refusal> {
    let what = match stage {
        Stage::Request => "request",
        Stage::Response => "answer",
    };
    let message = format!(
        "guardrail `{}` has to look at the {what} and cannot: {why} (`on_failure` is \"closed\")",
        guardrail.name
    );
    Refusal::new(Code::GuardrailFailed, message)
}

/// Some guardrails cannot look: each says so, and the first that must not be passed refuses.
fn unreadable(
    exchange: &mut Exchange,
    guardrails: &InForce,
    why: &str,
    stage: Stage,
) -> Result<(), Box<Refusal>> {
    for guardrail in guardrails {
        missed(exchange, guardrail, why, stage);
        if !guardrail.fail_open {
            return Err(failed(guardrail, why, stage));
        }
    }
    Ok(())
}

/// Tells that one could not look. What passes all the same is nothing for others.
fn missed(exchange: &mut Exchange, guardrail: &Guardrail, why: &str, stage: Stage) {
    let how = if guardrail.fail_open { "failed_open" } else { "failed_closed" };
    tracing::warn!(request = %exchange.id, guardrail = %guardrail.name, "a guardrail cannot look: {why}");
    exchange.recall.unseen();
    decided(exchange, guardrail, how, "", stage);
}

/// Tells a decision: to the log, to `/metrics`, to the request's record, and, unless it only observes, to the client.
fn decided(exchange: &mut Exchange, guardrail: &Guardrail, action: &'static str, found: &str, stage: Stage) {
    let (name, stage) = (&guardrail.name, stage.as_str());
    tracing::info!(request = %exchange.id, guardrail = %name, stage, action, found, "a guardrail decided");
    exchange.gateway.metrics.count_guardrail(name, action, stage);
    note(exchange, name, format!("{stage} {action} {found}").trim_end());
    if guardrail.action != Action::Observe {
        announce(exchange, guardrail, action);
    }
}

/// Notes it for the request's record.
fn note(exchange: &mut Exchange, name: &str, told: &str) {
    let key = format!("tidegate.guardrail.{name}");
    match exchange.tags.iter_mut().find(|(tag, _)| **tag == *key) {
        // It looked at the request already.
        Some((_, value)) => *value = format!("{value}; {told}").into(),
        None => exchange.tags.push((key.into(), told.into())),
    }
}

/// Tells the client, once.
fn announce(exchange: &mut Exchange, guardrail: &Guardrail, action: &str) {
    tell(exchange, &format!("{}={action}", guardrail.name));
}

/// What those that look at answers did about an answer that is given again. Those that look at requests have looked at this one.
pub(crate) fn told_again(exchange: &mut Exchange, told: &str) {
    for told in told.split(", ") {
        let (name, action) = told.split_once('=').unwrap_or((told, ""));
        if exchange.answer_guards.iter().any(|guardrail| *guardrail.name == *name) {
            note(exchange, name, &format!("{} {action}", Stage::Response.as_str()));
            tell(exchange, told);
        }
    }
}

fn tell(exchange: &mut Exchange, told: &str) {
    if exchange.guarded.split(", ").any(|known| known == told) {
        return;
    }
    let comma = if exchange.guarded.is_empty() { "" } else { ", " };
    exchange.guarded.push_str(comma);
    exchange.guarded.push_str(told);
}
