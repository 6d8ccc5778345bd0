//! What is asked of a stored response: itself, its input items, its end.
//!
//! One that a provider keeps is asked of that provider, in its own bytes. One that is kept here is answered here. One of
//! another environment does not exist.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Response};
use policy::{Deployment, Target};
use providers::dialects::responses::history::{self, Stored};
use providers::request::Raw;

use super::query::{self, Query};
use super::{away, history_of, is_id};
use crate::body::Body;
use crate::exchange::Exchange;
use crate::plan::{Plan, Step};
use crate::refusal::{Code, Refusal};
use crate::shelf::Kept;
use crate::{admit, dispatch, endpoints, headers, raw, screen, settle, urls};

/// What of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Of {
    Itself,
    Cancel,
    InputItems,
}

/// Answers what is asked of a stored response.
pub(crate) async fn serve(
    mut exchange: Box<Exchange>,
    call: &urls::Call<'_>,
    parts: &Parts,
    body: Bytes,
) -> Response<Body> {
    match look(&mut exchange, call, parts).await {
        Ok(Looked::Here(answer)) => answered(&mut exchange, answer),
        Ok(Looked::At(kept)) => {
            if let Err(refusal) = unguarded(&mut exchange, call, parts) {
                return endpoints::refuse(&mut exchange, &refusal);
            }
            match ask(&mut exchange, &kept, call, parts).await {
                Ok((plan, reservation)) => relay(exchange, &kept, plan, reservation, parts, body).await,
                Err(refusal) => endpoints::refuse(&mut exchange, &refusal),
            }
        }
        Err(refusal) => endpoints::refuse(&mut exchange, &refusal),
    }
}

/// What a provider tells of an answer was seen by no guardrail of ours.
fn unguarded(exchange: &mut Exchange, call: &urls::Call<'_>, parts: &Parts) -> Result<(), Box<Refusal>> {
    let tells = named(call.rest).1 != Of::InputItems && parts.method != Method::DELETE;
    if tells && exchange.caller.environment.guards { screen::kept_elsewhere(exchange) } else { Ok(()) }
}

enum Looked {
    Here(Vec<u8>),
    At(Box<Kept>),
}

async fn look(exchange: &mut Exchange, call: &urls::Call<'_>, parts: &Parts) -> Result<Looked, Box<Refusal>> {
    let (id, of) = named(call.rest);
    let kept = if is_id(&id) {
        let found = exchange.gateway.shelf.find(&exchange.caller.environment.name, &id).await;
        found.map_err(|error| away(&error))?
    } else {
        None
    };
    let Some(kept) = kept else { return Err(not_found(&id)) };
    exchange.asked.model = kept.model.to_string();
    exchange.model_asked = kept.model.clone();
    if kept.provider.is_some() {
        return Ok(Looked::At(Box::new(kept)));
    }
    let query = query::read(parts.uri.query())?;
    let answer = match (of, &parts.method) {
        (Of::Itself, &Method::DELETE) => delete(exchange, &kept).await?,
        (Of::Itself, _) => itself(exchange, &kept, &query)?,
        (Of::Cancel, _) => cancel(exchange, &kept).await?,
        (Of::InputItems, _) => input_items(exchange, &kept, &query).await?,
    };
    Ok(Looked::Here(answer))
}

/// `responses/{id}`, `responses/{id}/cancel`, `responses/{id}/input_items`.
fn named(rest: &str) -> (String, Of) {
    let rest = rest.strip_prefix("responses/").unwrap_or(rest);
    let (id, of) = match rest.split_once('/') {
        Some((id, "cancel")) => (id, Of::Cancel),
        Some((id, "input_items")) => (id, Of::InputItems),
        _ => (rest, Of::Itself),
    };
    (urls::unescape(id), of)
}

fn not_found(id: &str) -> Box<Refusal> {
    let id: String = id.chars().take(super::LONGEST_ID).collect();
    Refusal::new(Code::ResponseNotFound, format!("Response with id '{id}' not found."))
}

fn unreadable(kept: &Kept) -> Box<Refusal> {
    tracing::error!(id = %kept.id, "a stored response cannot be read");
    not_found(&kept.id)
}

/// The Response object. One whose maker has not been heard of is told as failed: nobody will end it any more.
fn object(exchange: &Exchange, kept: &Kept) -> Result<Vec<u8>, Box<Refusal>> {
    let stored = Stored::read(&kept.content).ok_or_else(|| unreadable(kept))?;
    let object = stored.response.get().as_bytes();
    if kept.running.is_some_and(|until| until < exchange.gateway.clock.now()) {
        let error = ("server_error", "the gateway that made this response ended before it was done");
        return history::ended(object, "failed", Some(error)).ok_or_else(|| unreadable(kept));
    }
    Ok(object.to_vec())
}

fn itself(exchange: &Exchange, kept: &Kept, query: &Query) -> Result<Vec<u8>, Box<Refusal>> {
    if query.stream || query.starting_after {
        let param = if query.stream { "stream" } else { "starting_after" };
        let message = format!(
            "response `{}` is kept by the gateway without its events, so it cannot be streamed again; retrieve it \
             without `stream`",
            kept.id
        );
        return Err(Refusal::new(Code::InvalidRequest, message).about(param));
    }
    object(exchange, kept)
}

async fn delete(exchange: &Exchange, kept: &Kept) -> Result<Vec<u8>, Box<Refusal>> {
    let gateway = &exchange.gateway;
    let removed = gateway.shelf.remove(&kept.environment, &kept.id).await.map_err(|error| away(&error))?;
    gateway.running.cancel(&kept.environment, &kept.id);
    if removed { Ok(history::write_deleted(&kept.id)) } else { Err(not_found(&kept.id)) }
}

async fn cancel(exchange: &Exchange, kept: &Kept) -> Result<Vec<u8>, Box<Refusal>> {
    if !kept.background {
        let message =
            format!("response `{}` was not made in the background, so it cannot be cancelled", kept.id);
        return Err(Refusal::new(Code::InvalidRequest, message));
    }
    let told = object(exchange, kept)?;
    if kept.running.is_none() {
        return Ok(told);
    }
    let stored = Stored::read(&kept.content).ok_or_else(|| unreadable(kept))?;
    let ended = history::ended(&told, "cancelled", None).ok_or_else(|| unreadable(kept))?;
    let content = Stored::write(stored.input.get(), &ended);
    let gateway = &exchange.gateway;
    let still = gateway.shelf.finish(&kept.environment, &kept.id, content.into()).await;
    if still.map_err(|error| away(&error))? {
        gateway.running.cancel(&kept.environment, &kept.id);
        return Ok(ended);
    }
    // It ended in the same moment.
    let now = gateway.shelf.find(&kept.environment, &kept.id).await.map_err(|error| away(&error))?;
    object(exchange, &now.ok_or_else(|| not_found(&kept.id))?)
}

/// Everything that the model was given: what was said before, and what was said now.
async fn input_items(exchange: &Exchange, kept: &Kept, query: &Query) -> Result<Vec<u8>, Box<Refusal>> {
    let chain = exchange.gateway.shelf.chain(&kept.environment, &kept.id).await;
    let chain = chain.map_err(|error| away(&error))?;
    let (Some(latest), before) = (chain.first(), chain.get(1..).unwrap_or_default()) else {
        return Err(not_found(&kept.id));
    };
    let own = Stored::read(&latest.content).ok_or_else(|| unreadable(kept))?;
    // Of a conversation that is not whole any more its own items are left.
    let before = if before.is_empty() { None } else { history_of(before) }.unwrap_or_default();
    let earlier = before.iter().flat_map(|record| record.asked().into_iter().chain(record.output()));
    let items: Vec<_> = earlier.chain(own.asked()).collect();
    history::write_page(&items, &query.page).ok_or_else(|| {
        let message = format!("`after`: response `{}` has no such input item", kept.id);
        Refusal::new(Code::InvalidRequest, message).about("after")
    })
}

fn answered(exchange: &mut Exchange, body: Vec<u8>) -> Response<Body> {
    let mut answer = Response::new(Body::whole(body));
    let down = answer.headers_mut();
    down.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let now = exchange.gateway.clock.moment();
    headers::add_ours(exchange, down, exchange.own_time(now, None));
    settle::log_answered(exchange);
    answer
}

/// Prepares the call of the provider that keeps it, which costs nothing.
async fn ask(
    exchange: &mut Exchange,
    kept: &Kept,
    call: &urls::Call<'_>,
    parts: &Parts,
) -> Result<(Plan, ledger::Reservation), Box<Refusal>> {
    let environment = &exchange.caller.environment;
    let name = kept.provider.clone().unwrap_or_default();
    let provider = environment.provider(&name).filter(|provider| super::speaks(provider)).cloned();
    let Some(provider) = provider else {
        let message = format!(
            "response `{}` is kept by provider `{name}`, which environment `{}` does not have any more",
            kept.id, environment.name
        );
        return Err(Refusal::new(Code::ResponseNotFound, message));
    };
    let deployment = match environment.resolve(&kept.model) {
        Ok(Target::Deployment(known)) if known.provider.name == provider.name => known,
        _ => Arc::new(Deployment {
            name: kept.model.clone(),
            provider: Arc::clone(&provider),
            upstream_model: "".into(),
            price: None,
            context: None,
            max_output: None,
            takes: None,
            chat: None,
        }),
    };
    exchange.asked.choices = 1;
    exchange.raw = Some(Box::new(raw::Wanted::of_a_provider(provider, call, parts)?));
    let deployment = Arc::new(raw::free(exchange, &deployment));
    let timeouts = deployment.provider.timeouts;
    let plan = Plan::of(Step::to(deployment, timeouts));
    let reservation = admit::reserve(exchange, &plan).await?;
    Ok((plan, reservation))
}

async fn relay(
    exchange: Box<Exchange>,
    kept: &Kept,
    plan: Plan,
    reservation: ledger::Reservation,
    parts: &Parts,
    body: Bytes,
) -> Response<Body> {
    debug_assert!(matches!(exchange.operation, providers::request::Operation::Raw(Raw::StoredResponses)));
    let gateway = Arc::clone(&exchange.gateway);
    let answer = dispatch::dispatch(exchange, &parts.headers, body, plan, reservation).await;
    let gone = answer.status().is_success() || answer.status() == http::StatusCode::NOT_FOUND;
    if parts.method == Method::DELETE && gone {
        // The provider has forgotten it; a note that stays leads there, to be told so.
        if let Err(error) = gateway.shelf.remove(&kept.environment, &kept.id).await {
            tracing::warn!(%error, "the note of a deleted response stays until it expires");
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_response_and_what_of_it() {
        assert_eq!(named("responses/resp_1"), ("resp_1".to_owned(), Of::Itself));
        assert_eq!(named("responses/resp%5F1/cancel"), ("resp_1".to_owned(), Of::Cancel));
        assert_eq!(named("responses/resp_1/input_items"), ("resp_1".to_owned(), Of::InputItems));
    }
}
