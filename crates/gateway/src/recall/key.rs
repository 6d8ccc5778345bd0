//! What makes two requests the same.
//!
//! Everything that the answer may depend on, and nothing of who asks but the tenant: organization, workspace and
//! environment, so that no answer crosses from one to another; the operation, which is the client's dialect; the names
//! asked for; what these lead to now; the body by its fingerprint, with the system prompt and every parameter; whether it
//! streams; strictness; and those headers of the client that go to the provider. Never the key or any credential.
//!
//! What a name leads to is the definition of the route (`policy::definition`: its places with their weights and what is set for them), where each
//! place is, and which of them the conditions of the route leave open for the request; and not the place that this request
//! happened to draw, but where a route is sticky: any of them may answer, so any answer of theirs will do. A changed
//! route or provider is another key. The number of the release is not in it, since most releases change other
//! things; nor are prices, which make no answer wrong: what a hit saves is told at the price of the moment.
//!
//! Guardrails on answers: what is kept is what left the gateway, after them. So what is in force for a request is part of
//! the key, of what was promised too, or a stricter rule would be passed by with older answers.

use http::HeaderMap;
use policy::{Mix, Target};
use providers::request::Print;
use sha2::Sha256;

use super::keep::Digest;
use crate::exchange::Exchange;
use crate::headers;
use crate::plan::Plan;

/// Begins anew whenever an answer that is kept would mean something else.
const VERSION: &[u8] = b"tidegate answer 2";

/// Under which digest the answer to a request is kept for all who may ask it.
pub(super) fn answer(exchange: &Exchange, plan: &Plan, client: &HeaderMap, print: &Print) -> Digest {
    let environment = &exchange.caller.environment;
    let mut mix = Mix::of(VERSION);
    mix.add(&*environment.organization).add(&*environment.workspace).add(&*environment.name);
    asked(&mut mix, exchange, &print.digest);
    let mut sticky = false;
    for name in std::iter::once(&exchange.asked.model).chain(&exchange.asked.fallbacks) {
        match environment.resolve(name) {
            Ok(Target::Deployment(deployment)) => mix.place(&deployment),
            Ok(Target::Route(route)) => {
                sticky |= route.sticky.is_some();
                mix.add("route").add(route.definition);
            }
            Err(_) => {
                mix.add("nowhere");
            }
        }
    }
    // Which of them this request may come to: conditions may speak of what is not in its body.
    // Of one place that is there twice, they also choose what is set for it.
    let mut open: Vec<_> = plan.attempts.iter().map(|step| (&step.deployment.name, &step.set)).collect();
    open.sort();
    // One place with several credentials is one place.
    open.dedup();
    mix.add("open").add((open.len() as u64).to_le_bytes());
    for (name, set) in open {
        mix.add(&**name);
        mix.said(set.as_ref());
    }
    if sticky && let Some(first) = plan.attempts.first() {
        // Who is to stay with one place gets no other's answer.
        mix.add("sticky").add(&*first.deployment.name);
    }
    guardrails(&mut mix, exchange);
    told(&mut mix, client);
    mix.digest()
}

/// Those headers of the client that go to the provider.
fn told(mix: &mut Mix, client: &HeaderMap) {
    mix.add("headers");
    let hops = headers::hop_names(client);
    let mut sent: Vec<_> =
        headers::upwards(client, &hops).filter(|(name, _)| !is_noise(name.as_str())).collect();
    // Stable, so that several of one name stay in their order.
    sent.sort_by_key(|(name, _)| name.as_str());
    for (name, value) in sent {
        mix.add(name.as_str()).add(value.as_bytes());
    }
}

/// Headers that ask a vendor for something else. A repetition may differ in others: what counts its own retries, or names a trace.
const ASKING: [&str; 5] =
    ["anthropic-beta", "anthropic-version", "openai-beta", "openai-organization", "openai-project"];

/// What an idempotency key was used for: for anything else it cannot be used again.
pub(super) fn promised(exchange: &Exchange, client: &HeaderMap, body: &Digest) -> Digest {
    let mut mix = Mix::of(b"promised");
    asked(&mut mix, exchange, body);
    mix.add(exchange.end_user.as_deref().unwrap_or_default());
    let asks =
        client.keys().any(|name| ["anthropic-", "openai-"].iter().any(|of| name.as_str().starts_with(of)));
    for name in ASKING.into_iter().filter(|_| asks) {
        for value in client.get_all(name) {
            mix.add(name).add(value.as_bytes());
        }
    }
    mix.digest()
}

/// What is asked, without whom and where.
fn asked(mix: &mut Mix, exchange: &Exchange, body: &Digest) {
    let asked = &exchange.asked;
    mix.add(exchange.endpoint()).add(&asked.model);
    mix.add([u8::from(asked.stream), u8::from(exchange.as_array), u8::from(exchange.strict)]).add(body);
}

/// Under which digest the answer is kept that a virtual key was promised for an idempotency key of its own.
pub(super) fn promise(exchange: &Exchange, idempotency: &str) -> Digest {
    let mut mix = Mix::of(b"tidegate promise 2");
    mix.add(exchange.caller.key.record.id.0.as_bytes()).add(idempotency);
    guardrails(&mut mix, exchange);
    mix.digest()
}

/// Those that looked at an answer before it was kept. Where there are none, keys are what they were without any.
fn guardrails(mix: &mut Mix, exchange: &Exchange) {
    for guardrail in &exchange.answer_guards {
        mix.add("guardrail").add(&*guardrail.fingerprint);
    }
}

/// A body that has no fingerprint, by its bytes.
pub(super) fn bytes(body: &[u8]) -> Digest {
    use sha2::Digest as _;
    Sha256::new_with_prefix(b"bytes").chain_update(body).finalize().into()
}

/// Headers that say who asks, with what, or for which trace, and change no answer. All others that go to a provider are
/// taken to change it: a needless miss costs a call, a wrong hit a wrong answer.
fn is_noise(name: &str) -> bool {
    matches!(
        name,
        "user-agent"
            | "accept-language"
            | "priority"
            | "traceparent"
            | "tracestate"
            | "baggage"
            | "b3"
            | "cache-control"
            | "pragma"
            | "x-correlation-id"
            | "x-amzn-trace-id"
            | "x-cloud-trace-context"
            | "sentry-trace"
            | "dnt"
    ) || ["x-stainless-", "x-b3-", "x-datadog-"].iter().any(|prefix| name.starts_with(prefix))
}
