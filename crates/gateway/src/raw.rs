//! Calls that are no conversation: what they ask, which provider they go to, and the few bytes that are replaced.
//!
//! One rule for all of them: authenticated, limited, allowed, reserved and recorded like any call, and otherwise the
//! client's own bytes. Where a model is named, its name is replaced by the provider's; where none is (files, batches,
//! videos, the passage to any other endpoint), the call counts as one of the model `PROVIDER/ENDPOINT`
//! (`openai/files`, `openai/passthrough`): that name meets the key's allow-list, and a price can be set for it.

pub(crate) mod addresses;
mod form;
pub(crate) mod upload;

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, Response};
use policy::{Currency, Deployment, Price, Provider, Rate, Target, Usage};
use providers::dialects::Dialect;
use providers::json::text::encode;
use providers::request::raw::model_names;
use providers::request::{self, Edits, MEDIA_TOKENS_BOUND, Operation, Raw, rewrite};
use serde_json::json;

use crate::body::Body;
use crate::exchange::Exchange;
use crate::lanes::dialects_of;
use crate::plan::{self, Plan, Step};
use crate::refusal::{Code, Refusal};
use crate::upstream::{Upstream, google_name};
use crate::{headers, settle, urls, vectors};

/// Sound of the lowest bit rate has fewer tokens than this many bytes each (6 kbit/s, ten tokens a second).
const BYTES_PER_TOKEN: u64 = 64;

/// What is put to a provider, beside the body.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) method: Method,
    /// Behind the provider's base, without a slash at the front.
    rest: String,
    /// Without the virtual key.
    query: Option<String>,
    names: Names,
    provider: Option<Arc<Provider>>,
    /// Where the client reaches this gateway, up to `rest`: answers that name an address of the provider's name this one.
    pub(crate) here: Option<String>,
    /// Cohere's own SDK asks, at a path that it shares with Jina's clients.
    pub(crate) by_cohere: bool,
    /// Until when the pass holds that the request showed.
    pub(crate) pass_ends: Option<i64>,
}

/// Where a body names its model.
#[derive(Debug)]
enum Names {
    /// Nowhere that must be edited.
    None,
    Json,
    Form(std::ops::Range<usize>),
    /// A form that leaves it to the path: the part that names it goes first, with this boundary.
    NewPart(Vec<u8>),
    /// As Google's clients repeat it: `models/NAME`, in quotes.
    Google(Vec<providers::json::Span>),
}

impl Wanted {
    /// What is asked of a provider that was decided already, with no model in the body.
    pub(crate) fn of_a_provider(
        provider: Arc<Provider>,
        call: &urls::Call<'_>,
        parts: &Parts,
    ) -> Result<Self, Box<Refusal>> {
        Ok(Self {
            method: parts.method.clone(),
            rest: plain_path(call.rest)?.to_owned(),
            query: parts.uri.query().and_then(without_key),
            names: Names::None,
            provider: Some(provider),
            here: None,
            by_cohere: false,
            pass_ends: None,
        })
    }
}

/// Reads a request as far as policy must know.
pub(crate) fn read(
    exchange: &mut Exchange,
    raw: Raw,
    call: &urls::Call<'_>,
    parts: &Parts,
    body: &Bytes,
) -> Result<(), Box<Refusal>> {
    let mut wanted = Wanted {
        method: parts.method.clone(),
        rest: plain_path(call.rest)?.to_owned(),
        query: parts.uri.query().and_then(without_key),
        names: Names::None,
        provider: None,
        here: match raw {
            Raw::MessageBatches | Raw::GoogleUpload => addresses::here(parts, call.rest),
            _ => None,
        },
        by_cohere: parts.headers.get("x-fern-sdk-name").is_some_and(|name| name == "cohere"),
        pass_ends: None,
    };
    if raw.is_of_a_provider() {
        let provider = match raw {
            Raw::Passthrough => named_in_path(exchange, call.model.unwrap_or_default())?,
            Raw::GoogleUpload => match upload::shown(exchange, parts) {
                Some((name, ends)) => {
                    wanted.pass_ends = Some(ends);
                    named_in_path(exchange, &name)?
                }
                None => provider(exchange, raw, &parts.headers)?,
            },
            _ => provider(exchange, raw, &parts.headers)?,
        };
        exchange.asked.model = format!("{}/{}", provider.name, raw.name());
        exchange.asked.input_bound = if raw.is_of_files() { 0 } else { weight(body) };
        if raw == Raw::GoogleUpload {
            let own = wanted.query.as_deref().map(upload::without_pass).filter(|query| !query.is_empty());
            wanted.query = own.map(str::to_owned);
        }
        wanted.provider = Some(provider);
    } else if raw.dialect() == Some(Dialect::Gemini) {
        exchange.asked = request::read(Operation::Gemini, body).map_err(bad)?;
        wanted.names = Names::Google(model_names(body).map_err(bad)?);
    } else if let Some(boundary) = content_type(&parts.headers).and_then(form::boundary) {
        wanted.names =
            read_form(exchange, boundary, call.model.is_some(), body).map_err(|bad| bad_form(&bad))?;
    } else {
        let kind = match raw {
            Raw::CountTokens => Operation::Messages,
            Raw::InputTokens | Raw::Compact => Operation::Responses,
            _ => exchange.operation,
        };
        exchange.asked = request::read(kind, body).map_err(bad)?;
        wanted.names = Names::Json;
    }
    if let Some(model) = call.model.filter(|_| !raw.is_of_a_provider()) {
        exchange.asked.name(urls::model_name(model));
    }
    exchange.asked.choices = exchange.asked.choices.max(1);
    exchange.raw = Some(Box::new(wanted));
    Ok(())
}

/// A form. Azure's clients may leave the model to the path (`named`).
fn read_form(
    exchange: &mut Exchange,
    boundary: Result<Vec<u8>, form::BadForm>,
    named: bool,
    body: &Bytes,
) -> Result<Names, form::BadForm> {
    let boundary = boundary?;
    let form = form::read(body, &boundary)?;
    exchange.asked.stream = form.stream;
    exchange.asked.input_bound = weight(body);
    match form.model {
        Some(place) => {
            exchange.asked.model = String::from_utf8_lossy(&body[place.clone()]).into_owned();
            Ok(Names::Form(place))
        }
        None if named => Ok(Names::NewPart(boundary)),
        None => Err(form::BadForm::NoModel),
    }
}

/// Tokens that a body of media has at most.
fn weight(body: &Bytes) -> u64 {
    if body.is_empty() { 0 } else { MEDIA_TOKENS_BOUND + body.len() as u64 / BYTES_PER_TOKEN }
}

fn content_type(client: &HeaderMap) -> Option<&[u8]> {
    client.get(http::header::CONTENT_TYPE).map(http::HeaderValue::as_bytes)
}

pub(crate) fn bad(bad: request::BadRequest) -> Box<Refusal> {
    let mut refusal = Refusal::new(Code::InvalidRequest, bad.message);
    refusal.param = bad.param.map(Into::into);
    refusal.detail = bad.code;
    refusal
}

fn bad_form(bad: &form::BadForm) -> Box<Refusal> {
    let mut refusal = Refusal::new(Code::InvalidRequest, bad.to_string());
    refusal.detail = Some(match bad {
        form::BadForm::NoModel => "missing_required_parameter",
        form::BadForm::Twice(_) => "duplicate_parameter",
        form::BadForm::Respelled(..) => "unknown_parameter",
        form::BadForm::Name => "invalid_value",
        form::BadForm::Malformed(_) => return refusal,
    });
    refusal.about("model")
}

/// A path that a server could resolve to a place outside the provider's base is refused.
fn plain_path(rest: &str) -> Result<&str, Box<Refusal>> {
    let unescaped = urls::unescape(rest);
    let climbs = |part: &str| {
        // A parameter (`..;x`) is dropped by some servers before they look.
        matches!(part.split(';').next(), Some("." | ".."))
    };
    if unescaped.split(['/', '\\']).any(climbs) {
        return Err(Refusal::new(Code::InvalidRequest, "the path has a segment `.` or `..`"));
    }
    Ok(rest)
}

/// A query without `key=`, where Google's clients put the virtual key.
fn without_key(query: &str) -> Option<String> {
    let parts: Vec<&str> = query.split('&').filter(|part| !part.starts_with("key=")).collect();
    Some(parts.join("&")).filter(|query| !query.is_empty())
}

fn named_in_path(exchange: &Exchange, name: &str) -> Result<Arc<Provider>, Box<Refusal>> {
    let environment = &exchange.caller.environment;
    environment.provider(&urls::unescape(name)).cloned().ok_or_else(|| {
        let message = format!("environment `{}` has no provider `{name}`", environment.name);
        Refusal::new(Code::UnknownUrl, message)
    })
}

/// The provider that the client names, else the only one that there is.
fn provider(exchange: &Exchange, raw: Raw, client: &HeaderMap) -> Result<Arc<Provider>, Box<Refusal>> {
    let (environment, key) = (&exchange.caller.environment, &exchange.caller.key);
    let unclear = |message: String| Refusal::new(Code::InvalidRequest, message).about("x-tidegate-provider");
    let dialect = raw.dialect().unwrap_or(Dialect::Chat);
    let speaks = |provider: &&Arc<Provider>| dialects_of(provider).contains(&dialect);
    let mut all: Vec<_> = environment.providers().filter(speaks).filter(|known| !known.simulated).collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    let allowed = |known: &&Arc<Provider>| key.may_use(&format!("{}/{}", known.name, raw.name()));
    let list = |them: &[&Arc<Provider>]| {
        let names: Vec<_> = them.iter().map(|known| format!("`{}`", known.name)).collect();
        names.join(", ")
    };
    let mine: Vec<_> = all.iter().copied().filter(|known| allowed(known)).collect();
    if let Some(asked) = client.get(&headers::PROVIDER) {
        let name = asked.to_str().unwrap_or_default().trim();
        return environment.provider(name).cloned().ok_or_else(|| {
            let message = format!(
                "environment `{}` has no provider `{name}`; there are: {}",
                environment.name,
                list(&mine)
            );
            unclear(message)
        });
    }
    match (all.as_slice(), mine.as_slice()) {
        ([only], _) | (_, [only]) => Ok(Arc::clone(only)),
        ([], _) => Err(unclear(format!(
            "environment `{}` has no provider that speaks {} dialect",
            environment.name,
            match dialect {
                Dialect::Messages => "Anthropic's",
                Dialect::Gemini => "Google's",
                _ => "OpenAI's",
            }
        ))),
        _ => {
            let message = format!(
                "several providers have {}: {}; name one in the header `{}`",
                raw.name(),
                list(&mine),
                headers::PROVIDER
            );
            Err(unclear(message))
        }
    }
}

/// The attempts of a call.
pub(crate) fn plan(exchange: &mut Exchange, raw: Raw, headers: &HeaderMap) -> Result<Plan, Box<Refusal>> {
    if let Some(provider) = exchange.raw.as_ref().and_then(|wanted| wanted.provider.as_ref()) {
        return plan_of(exchange, provider);
    }
    let mut plan = plan::plan(exchange, headers)?;
    if raw.counts_tokens() {
        plan::weigh(exchange, &mut plan);
        plan.attempts.retain(|step| speaks(&step.deployment.provider, raw));
        for step in &mut plan.attempts {
            step.deployment = Arc::new(free(exchange, &step.deployment));
        }
    }
    Ok(plan)
}

fn speaks(provider: &Provider, raw: Raw) -> bool {
    raw.dialect().is_none_or(|dialect| dialects_of(provider).contains(&dialect))
}

/// The only attempt of a call that names no model.
fn plan_of(exchange: &Exchange, provider: &Arc<Provider>) -> Result<Plan, Box<Refusal>> {
    let name = &exchange.asked.model;
    let key = &exchange.caller.key;
    if !key.may_use(name) {
        let message = format!(
            "key `{}` may not use `{name}`; its models must have `{name}` or `{}/*`",
            key.record.name, provider.name
        );
        return Err(Refusal::new(Code::ModelNotAllowed, message));
    }
    let environment = &exchange.caller.environment;
    if environment.shares_account(&provider.name) {
        let message = format!(
            "another environment has the same account at provider `{}`, so `{name}` would show each what is the \
             other's; give environment `{}` a credential of an account of its own",
            provider.name, environment.name
        );
        return Err(Refusal::new(Code::SharedAccount, message));
    }
    let deployment = match environment.resolve(name) {
        Ok(Target::Deployment(known)) if known.provider.name == provider.name => known,
        _ => Arc::new(Deployment {
            name: name.as_str().into(),
            provider: Arc::clone(provider),
            upstream_model: "".into(),
            price: None,
            context: None,
            max_output: None,
            takes: None,
            chat: None,
        }),
    };
    let asked = Arc::clone(&deployment.name);
    Ok(Plan { asked, ..Plan::of(Step::to(deployment, provider.timeouts)) })
}

/// The same deployment, where nothing is billed.
pub(crate) fn free(exchange: &Exchange, deployment: &Deployment) -> Deployment {
    let shared = exchange.caller.environment.budgets.iter().map(|shared| &shared.rule);
    let budget =
        exchange.caller.key.record.budgets.iter().chain(shared).next().map(|rule| rule.amount.currency);
    let price = Price {
        per_request: Some(Rate(0)),
        ..Price::unknown("free".into(), budget.unwrap_or(Currency::USD))
    };
    Deployment { price: Some(Arc::new(price)), ..deployment.clone() }
}

/// What is known of the usage of a call that is no conversation: what was told, and nothing else.
pub(crate) fn usage(raw: Raw, told: Option<Usage>) -> (Usage, ledger::Basis) {
    let none = Usage { input: Some(0), output: Some(0), ..Usage::default() };
    match told {
        _ if raw.is_free() => (none, ledger::Basis::Reported),
        Some(usage) if raw.has_no_output() => {
            (Usage { output: usage.output.or(Some(0)), ..usage }, ledger::Basis::Reported)
        }
        Some(usage) => (usage, ledger::Basis::Reported),
        None => (Usage::default(), ledger::Basis::Unreported),
    }
}

/// The request target of an attempt.
pub(crate) fn target(
    wanted: &Wanted,
    raw: Raw,
    upstream: &Upstream,
    deployment: &Deployment,
) -> Result<String, Box<Refusal>> {
    let provider = &deployment.provider;
    let way = match raw.dialect() {
        Some(Dialect::Messages) => policy::Dialect::Anthropic,
        Some(Dialect::Gemini) => policy::Dialect::Gemini,
        _ => policy::Dialect::OpenAi,
    };
    let base = match (raw.dialect(), &provider.responses) {
        (Some(Dialect::Responses), Some(base)) => &**base,
        _ => provider.endpoint(way).map_or(&*provider.base_path, |(base, _)| &**base),
    };
    let mut target = match raw {
        Raw::CountTokens => format!("{base}/messages/count_tokens"),
        Raw::GeminiCountTokens => upstream.gemini("countTokens", &deployment.upstream_model)?.into_owned(),
        Raw::EmbedContent => upstream.gemini("embedContent", &deployment.upstream_model)?.into_owned(),
        Raw::BatchEmbedContents => {
            upstream.gemini("batchEmbedContents", &deployment.upstream_model)?.into_owned()
        }
        Raw::Passthrough => format!("{base}/{}", beyond(base, &wanted.rest)),
        Raw::GoogleUpload => format!("{}/{}", uploads(base), wanted.rest),
        _ => vectors::own_path(Operation::Raw(raw), None, provider)
            .filter(|_| raw.is_of_vectors())
            .unwrap_or_else(|| format!("{base}/{}", wanted.rest)),
    };
    if let Some(query) = &wanted.query {
        target.push('?');
        target.push_str(query);
    }
    Ok(target)
}

/// Google's uploads: `/upload/v1beta` beside `/v1beta`.
fn uploads(base: &str) -> String {
    let (before, version) = base.rsplit_once('/').unwrap_or(("", base));
    format!("{before}/upload/{version}")
}

/// Has the addresses of an upload lead here.
pub(crate) fn lead_uploads_here(exchange: &Exchange, deployment: &Deployment, answer: &mut HeaderMap) {
    let here = exchange.raw.as_ref().and_then(|wanted| wanted.here.as_deref());
    if exchange.operation != Operation::Raw(Raw::GoogleUpload) {
        return;
    }
    let Some(here) = here else { return };
    let provider = &deployment.provider;
    let base = provider.endpoint(policy::Dialect::Gemini).map_or(&*provider.base_path, |(base, _)| &**base);
    // As it is reached from here, or where a proxy stands before it, as Google writes it.
    let plain = uploads(base.rsplit_once('/').map_or(base, |(_, version)| version));
    let bases = [uploads(base), plain].map(|base| format!("{base}/files"));
    upload::lead_here(exchange, &provider.name, &bases, &format!("{here}files"), answer);
}

/// The path behind a base, whether or not the client repeats the base, or its version alone.
fn beyond<'a>(base: &str, rest: &'a str) -> &'a str {
    let own = base.trim_start_matches('/');
    let behind = |own: &str| {
        let more = rest.strip_prefix(own).filter(|_| !own.is_empty())?;
        if more.is_empty() { Some(more) } else { more.strip_prefix('/') }
    };
    let is_version = |last: &&str| {
        last.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let version = own.rsplit('/').next().filter(is_version);
    behind(own).or_else(|| behind(version?)).unwrap_or(rest)
}

/// The body of an attempt: the client's, with the provider's name of the model.
pub(crate) fn body(exchange: &Exchange, wanted: &Wanted, deployment: &Deployment, body: &Bytes) -> Bytes {
    let model = &*deployment.upstream_model;
    match &wanted.names {
        Names::None => body.clone(),
        Names::Json => {
            let edits = Edits {
                model: Some(model),
                include_usage: false,
                remove_models: !exchange.asked.fallbacks.is_empty(),
            };
            rewrite(body, &exchange.asked, &edits)
        }
        Names::Form(place) => splice(body, std::iter::once((place.clone(), model.as_bytes()))),
        Names::NewPart(boundary) => {
            splice(body, std::iter::once((0..0, form::naming(boundary, model).as_slice())))
        }
        Names::Google(places) => {
            let mut name = Vec::new();
            encode(&google_name(model), &mut name);
            splice(body, places.iter().map(|place| (place.start..place.end, name.as_slice())))
        }
    }
}

fn splice<'a>(body: &Bytes, edits: impl Iterator<Item = (std::ops::Range<usize>, &'a [u8])>) -> Bytes {
    let mut copied = 0;
    let mut out: Vec<u8> = Vec::new();
    for (place, with) in edits.filter(|(place, with)| &body[place.clone()] != *with) {
        out.reserve(body.len() - copied + with.len());
        out.extend_from_slice(&body[copied..place.start]);
        out.extend_from_slice(with);
        copied = place.end;
    }
    if out.is_empty() {
        return body.clone();
    }
    out.extend_from_slice(&body[copied..]);
    out.into()
}

/// The gateway's own count, where no provider of the dialect is asked.
pub(crate) fn estimated(exchange: &mut Exchange, raw: Raw) -> Response<Body> {
    let tokens = exchange.asked.input_estimate;
    let count = match raw {
        Raw::GeminiCountTokens => json!({ "totalTokens": tokens }),
        Raw::InputTokens => json!({ "object": "response.input_tokens", "input_tokens": tokens }),
        _ => json!({ "input_tokens": tokens }),
    };
    let mut answer = Response::new(Body::whole(count.to_string()));
    let down = answer.headers_mut();
    down.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    down.insert(headers::ESTIMATED, http::HeaderValue::from_static("true"));
    let now = exchange.gateway.clock.moment();
    headers::add_ours(exchange, down, exchange.own_time(now, None));
    settle::log_answered(exchange);
    answer
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn no_path_leaves_its_base() {
        for bad in ["../x", "a/%2e%2e/x", "a/..", "./a", "a/%2E./b", "a\\..\\b", "..;x/a", "a%2f..%2fb"] {
            assert!(plain_path(bad).is_err(), "{bad}");
        }
        for good in ["", "files/a..b", "a/...", "a//b", "files/file-1/content"] {
            assert_eq!(plain_path(good).unwrap(), good);
        }
    }

    #[test]
    fn the_virtual_key_leaves_the_query() {
        assert_eq!(without_key("key=tg-1"), None);
        assert_eq!(without_key("a=1&key=tg-1&b=%20&key=2").as_deref(), Some("a=1&b=%20"));
        assert_eq!(without_key("monkey=1").as_deref(), Some("monkey=1"));
    }

    #[test]
    fn a_base_is_taken_once() {
        assert_eq!(beyond("/v1", "v1/assistants"), "assistants");
        assert_eq!(beyond("/v1", "assistants"), "assistants");
        assert_eq!(beyond("/v1", "v10/x"), "v10/x");
        assert_eq!(beyond("", "v1/x"), "v1/x");
        assert_eq!(beyond("/v1", "v1"), "");
        assert_eq!(beyond("/compatible/v1", "v1/assistants"), "assistants");
        assert_eq!(beyond("/compatible/v1", "compatible/v1/assistants"), "assistants");
        assert_eq!(beyond("/videos", "videos/x"), "x");
        assert_eq!(beyond("/api/videos", "videos/x"), "videos/x", "no version");
    }

    #[test]
    fn names_are_replaced_in_their_places() {
        let body = Bytes::from_static(b"0123456789");
        let out = splice(&body, [(1..3, &b"ab!"[..]), (5..6, &b""[..]), (7..8, &b"7"[..])].into_iter());
        assert_eq!(out, "0ab!346789");
        assert_eq!(splice(&body, std::iter::once((2..3, &b"2"[..]))), body);
    }
}
