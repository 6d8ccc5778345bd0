//! What makes two requests the same.
//!
//! Everything that the answer may depend on, and nothing of who asks but the tenant: organization, workspace and
//! environment, so that no answer crosses from one to another; the operation, which is the client's dialect; the names
//! asked for; what these lead to now; the body by its fingerprint, with the system prompt and every parameter; whether it
//! streams; strictness; and those headers of the client that go to the provider. Never the key or any credential.
//!
//! What a name leads to is the definition of the route (its places with their weights and what is set for them), where each
//! place is, and which of them the conditions of the route leave open for the request; and not the place that this request
//! happened to draw, but where a route is sticky: any of them may answer, so any answer of theirs will do. A changed
//! route or provider is another key. The number of the release is not in it, since most releases change other
//! things; nor are prices, which make no answer wrong: what a hit saves is told at the price of the moment.
//!
//! Guardrails on answers: what is kept is what left the gateway, after them. So what is in force for a request is part of
//! the key, of what was promised too, or a stricter rule would be passed by with older answers.

use http::HeaderMap;
use policy::{Choice, Deployment, Said, Target};
use providers::request::Print;
use sha2::Sha256;

use super::keep::Digest;
use crate::exchange::Exchange;
use crate::headers;
use crate::plan::Plan;

/// Begins anew whenever an answer that is kept would mean something else.
const VERSION: &[u8] = b"tidegate answer 1";

/// Parts, each with its length before it: so that no two lists of parts make one text.
struct Mix(Sha256);

impl Mix {
    fn of(kind: &[u8]) -> Self {
        let mut mix = Self(sha2::Digest::new());
        mix.add(kind);
        mix
    }

    fn add(&mut self, part: impl AsRef<[u8]>) -> &mut Self {
        let part = part.as_ref();
        sha2::Digest::update(&mut self.0, (part.len() as u64).to_le_bytes());
        sha2::Digest::update(&mut self.0, part);
        self
    }

    fn digest(self) -> Digest {
        sha2::Digest::finalize(self.0).into()
    }
}

/// Under which digest the answer to a request is kept for all who may ask it.
pub(super) fn answer(exchange: &Exchange, plan: &Plan, client: &HeaderMap, print: &Print) -> Digest {
    let environment = &exchange.caller.environment;
    let mut mix = Mix::of(VERSION);
    mix.add(&*environment.organization).add(&*environment.workspace).add(&*environment.name);
    mix.add(asked(exchange, &print.digest));
    mix.add([u8::from(exchange.strict)]);
    let mut sticky = false;
    for name in std::iter::once(&exchange.asked.model).chain(&exchange.asked.fallbacks) {
        match environment.resolve(name) {
            Ok(Target::Deployment(deployment)) => place(&mut mix, &deployment),
            Ok(Target::Route(route)) => {
                sticky |= route.sticky.is_some();
                mix.add("route").add(&*route.name);
                for one in &route.targets {
                    mix.add(one.weight.to_le_bytes());
                    choice(&mut mix, one);
                }
                mix.add("fallbacks");
                route.fallbacks.iter().for_each(|(one, _)| choice(&mut mix, one));
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
    mix.add("open").add((open.len() as u64).to_le_bytes());
    for (name, set) in open {
        mix.add(&**name);
        said(&mut mix, set.as_ref());
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
    mix.add(asked(exchange, body)).add([u8::from(exchange.strict)]);
    mix.add(exchange.end_user.as_deref().unwrap_or_default());
    for name in ASKING {
        for value in client.get_all(name) {
            mix.add(name).add(value.as_bytes());
        }
    }
    mix.digest()
}

/// What is asked, without whom and where.
pub(super) fn asked(exchange: &Exchange, body: &Digest) -> Digest {
    let asked = &exchange.asked;
    let mut mix = Mix::of(b"asked");
    mix.add(exchange.endpoint()).add(&asked.model);
    mix.add([u8::from(asked.stream), u8::from(exchange.as_array)]).add(body);
    mix.digest()
}

/// Under which digest the answer is kept that a virtual key was promised for an idempotency key of its own.
pub(super) fn promise(exchange: &Exchange, idempotency: &str) -> Digest {
    let mut mix = Mix::of(b"tidegate promise 1");
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
    let mut mix = Mix::of(b"bytes");
    mix.add(body);
    mix.digest()
}

/// Who may answer, and what is said to them in place of the client.
fn choice(mix: &mut Mix, choice: &Choice) {
    place(mix, &choice.deployment);
    said(mix, choice.set.as_ref());
}

fn said(mix: &mut Mix, set: Option<&Said>) {
    let set = set.map(|set| &**set).unwrap_or_default();
    mix.add((set.len() as u64).to_le_bytes());
    for (name, value) in set {
        mix.add(&**name).add(&**value);
    }
}

/// Who answers, and how it is asked.
fn place(mix: &mut Mix, deployment: &Deployment) {
    let provider = &deployment.provider;
    mix.add("place").add(&*deployment.name).add(&*deployment.upstream_model);
    mix.add(&*provider.vendor).add(provider.dialect.as_str());
    mix.add(provider.origin.to_string()).add(&*provider.base_path);
    mix.add(provider.api_version.as_deref().unwrap_or_default());
    mix.add((provider.headers.len() as u64).to_le_bytes());
    for (name, value) in &provider.headers {
        mix.add(&**name).add(&**value);
    }
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
