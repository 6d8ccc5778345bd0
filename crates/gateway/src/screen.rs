//! Guardrails at the way of a request: which are in force, what they find, what is done, and who is told.
//!
//! It stands behind `plan`, where it is known what the request leads to, and before the cache and everything that leaves.
//! There is one way of a request, so every endpoint, dialect, place of the key and stream mode comes by here; what cannot be
//! read (a form, tokens, a realtime session) is told as such and treated as each guardrail's `on_failure` says, never as if it
//! had been looked at. Files in base 64 are no texts: that is said in the guide and not for each request. A request in an environment without guardrails costs one branch, in whoever calls.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use policy::{Action, Detector, Found, Guardrail, Target};
use providers::request::Operation;
use providers::request::texts::{self, Texts};
use smallvec::SmallVec;

use crate::exchange::Exchange;
use crate::refusal::{Code, Refusal};

type InForce = SmallVec<[Arc<Guardrail>; 4]>;

/// Of the environment, then of the routes that the request names, each once.
fn in_force(exchange: &Exchange) -> InForce {
    let environment = &exchange.caller.environment;
    let mut all: InForce = environment.guardrails.iter().cloned().collect();
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

/// Looks at the whole body of a request. Gives the body that goes on where it is another.
pub(crate) fn request(exchange: &mut Exchange, body: &Bytes) -> Result<Option<Bytes>, Box<Refusal>> {
    let guardrails = in_force(exchange);
    if guardrails.is_empty() || body.is_empty() {
        return Ok(None);
    }
    let done = match texts::texts(exchange.operation, body) {
        Ok(read) => screened(exchange, &guardrails, body, read),
        Err(_) => unreadable(exchange, &guardrails, "the body is not JSON").map(|()| None),
    };
    match &done {
        // What was refused for what is in it is not kept either.
        Err(_) => exchange.request_body = None,
        Ok(Some(_)) => {
            let operation = exchange.operation;
            if let Some(stored) = exchange.stored.as_mut() {
                stored.asked = masked(operation, &guardrails, &stored.asked);
            }
        }
        Ok(None) => {}
    }
    done
}

/// The body with what is masked; for what is kept of a conversation, whose whole was looked at with what came before.
fn masked(operation: Operation, guardrails: &InForce, body: &Bytes) -> Bytes {
    let Ok(read) = texts::texts(operation, body) else { return body.clone() };
    let masks = || guardrails.iter().filter(|guardrail| guardrail.action == Action::Mask);
    let mut changes = Vec::new();
    for text in read.texts {
        let mut now = text.text.clone();
        for guardrail in masks() {
            now = guardrail.detector.mask(&now, &mut Found::default()).into_owned();
        }
        if now != text.text {
            changes.push((text.span, now));
        }
    }
    texts::with_texts(body, &changes)
}

/// A session whose messages pass unseen.
pub(crate) fn session(exchange: &mut Exchange) -> Result<(), Box<Refusal>> {
    let guardrails = in_force(exchange);
    unreadable(exchange, &guardrails, "a realtime session is not looked at")
}

fn screened(
    exchange: &mut Exchange,
    guardrails: &InForce,
    body: &Bytes,
    mut read: Texts,
) -> Result<Option<Bytes>, Box<Refusal>> {
    if read.has_tokens {
        unreadable(exchange, guardrails, "the input is given as tokens")?;
    }
    let mut changed = vec![false; read.texts.len()];
    for guardrail in guardrails {
        let mut found = Found::default();
        match &guardrail.detector {
            Detector::Length(most) => {
                let length: usize = read.texts.iter().map(|text| text.text.chars().count()).sum();
                if length as u64 > *most {
                    found.add("length");
                }
            }
            detector @ Detector::Places(_) => {
                for (text, changed) in read.texts.iter_mut().zip(&mut changed) {
                    if let Cow::Owned(masked) = detector.mask(&text.text, &mut found)
                        && guardrail.action == Action::Mask
                    {
                        (text.text, *changed) = (masked, true);
                    }
                }
            }
        }
        if !found.is_empty() {
            decided(exchange, guardrail, guardrail.action.as_str(), &found.told());
            if guardrail.action == Action::Block {
                return Err(blocked(guardrail));
            }
        }
    }
    let changes = read.texts.into_iter().zip(changed).filter(|(_, changed)| *changed);
    let changes: Vec<_> = changes.map(|(text, _)| (text.span, text.text)).collect();
    Ok((!changes.is_empty()).then(|| texts::with_texts(body, &changes)))
}

fn blocked(guardrail: &Guardrail) -> Box<Refusal> {
    let message = format!("guardrail `{}` refuses what the request holds", guardrail.name);
    Refusal::new(Code::GuardrailBlocked, message)
}

/// Some guardrails cannot look: each says so, and the first that must not be passed refuses.
fn unreadable(exchange: &mut Exchange, guardrails: &InForce, why: &str) -> Result<(), Box<Refusal>> {
    for guardrail in guardrails {
        let how = if guardrail.fail_open { "failed_open" } else { "failed_closed" };
        tracing::warn!(request = %exchange.id, guardrail = %guardrail.name, "a guardrail cannot look: {why}");
        decided(exchange, guardrail, how, "");
        if !guardrail.fail_open {
            let message = format!(
                "guardrail `{}` has to look at the request and cannot: {why} (`on_failure` is \"closed\")",
                guardrail.name
            );
            return Err(Refusal::new(Code::GuardrailFailed, message));
        }
    }
    Ok(())
}

/// Tells a decision: to the log, to `/metrics`, to the request's record, and, unless it only observes, to the client.
fn decided(exchange: &mut Exchange, guardrail: &Guardrail, action: &'static str, found: &str) {
    let name = &guardrail.name;
    tracing::info!(
        request = %exchange.id, guardrail = %name, stage = "request", action, found, "a guardrail decided"
    );
    exchange.gateway.metrics.count_guardrail(name, action, "request");
    let told = format!("request {action} {found}");
    exchange.tags.push((format!("tidegate.guardrail.{name}").into(), told.trim_end().into()));
    if guardrail.action != Action::Observe {
        let comma = if exchange.guarded.is_empty() { "" } else { ", " };
        exchange.guarded.push_str(&format!("{comma}{name}={action}"));
    }
}
