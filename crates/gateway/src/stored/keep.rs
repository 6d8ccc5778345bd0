//! Keeping an answer: the note that a provider has it, or all of it.
//!
//! The end of an answer waits until it is kept, at most [`PATIENCE`]: a client that has its answer can go on from it at
//! once, on any node, and after a crash of ours. What cannot be kept in that time is told (`x-tidegate-dropped: store`,
//! or a line of the log where the head is gone); the answer itself is never held back for it.

use std::time::Duration;

use bytes::Bytes;
use policy::Name;
use providers::dialects::responses::history::{self, Glance};
use providers::request::Operation;

use super::{Stored, is_id};
use crate::exchange::Exchange;
use crate::lanes::Lane;
use crate::shelf::{Kept, ShelfError, Shelving};

/// How long the end of an answer waits for being kept.
const PATIENCE: Duration = Duration::from_secs(1);
/// Request and answer of one response have at most this many bytes together.
pub(super) const LARGEST: usize = 8 * 1024 * 1024;

/// Keeps a whole answer, before its head leaves.
pub(crate) async fn keep_whole(exchange: &mut Exchange, lane: Lane, answer: &[u8]) {
    let Some(kept) = wanted(exchange, |stored| prepare(exchange, stored, lane, answer)) else { return };
    put_before_head(exchange, kept).await;
}

/// Notes the provider of a stream whose first events are known, before its head leaves.
pub(crate) async fn note_stream(exchange: &mut Exchange, lane: Lane, events: &[Bytes]) {
    if lane != Lane::Same {
        return;
    }
    let object = events.iter().find_map(|events| history::in_event(events));
    let kept = object.and_then(|object| wanted(exchange, |stored| prepare(exchange, stored, lane, object)));
    if let Some(kept) = kept {
        put_before_head(exchange, kept).await;
    }
}

/// Keeps what the last event of a stream holds; the event waits for it.
pub(crate) fn keep_event(exchange: &Exchange, lane: Lane, event: &[u8]) -> Option<Shelving<()>> {
    if lane == Lane::Same {
        return None;
    }
    let object = history::in_event(event)?;
    let kept = wanted(exchange, |stored| prepare(exchange, stored, lane, object))?;
    let request_id = exchange.id;
    let shelf = std::sync::Arc::clone(&exchange.gateway.shelf);
    Some(Box::pin(async move {
        let done = match kept {
            Ok(kept) => in_time(shelf.keep(kept)).await,
            Err(error) => Err(error),
        };
        if let Err(error) = &done {
            tracing::warn!(%error, %request_id, "a streamed response was not kept");
        }
        done
    }))
}

fn wanted<T>(exchange: &Exchange, prepare: impl FnOnce(&Stored) -> Option<T>) -> Option<T> {
    let stored = exchange.stored.as_deref()?;
    let keeps = exchange.operation == Operation::Responses && stored.keeps() && !stored.detached;
    if keeps { prepare(stored) } else { None }
}

/// What is to be kept of a Response object; `None` where it has no id that could be asked for.
fn prepare(
    exchange: &Exchange,
    stored: &Stored,
    lane: Lane,
    object: &[u8],
) -> Option<Result<Kept, ShelfError>> {
    let id = Glance::of(object).filter(|glance| is_id(&glance.id))?.id;
    let deployment = exchange.deployment.as_ref()?;
    let provider = (lane == Lane::Same).then(|| deployment.provider.name.clone());
    let content = match &provider {
        Some(_) => Ok(Bytes::new()),
        None => content(exchange, stored, object),
    };
    Some(content.map(|content| Kept {
        provider,
        background: stored.said.background,
        ..kept(exchange, stored, &id, deployment.name.clone(), content)
    }))
}

/// A response of this exchange, kept here.
pub(super) fn kept(exchange: &Exchange, stored: &Stored, id: &str, model: Name, content: Bytes) -> Kept {
    Kept {
        environment: exchange.caller.environment.name.clone(),
        id: id.into(),
        previous: stored.said.previous.as_deref().map(Into::into),
        key: exchange.caller.key.record.id.clone(),
        provider: None,
        model,
        background: false,
        running: None,
        content,
    }
}

/// What was asked and answered, as it is kept.
pub(super) fn content(exchange: &Exchange, stored: &Stored, object: &[u8]) -> Result<Bytes, ShelfError> {
    let reply = exchange.id.to_string().replace('-', "");
    let items = history::items_of(&stored.asked, &reply)
        .map_err(|bad| ShelfError::Full(format!("its items cannot be kept: {bad}")))?;
    let content = history::Stored::write(&items, object);
    if content.len() > LARGEST {
        return Err(ShelfError::Full(format!("a response may have {LARGEST} bytes")));
    }
    Ok(content.into())
}

async fn put_before_head(exchange: &mut Exchange, kept: Result<Kept, ShelfError>) {
    let done = match kept {
        Ok(kept) => in_time(exchange.gateway.shelf.keep(kept)).await,
        Err(error) => Err(error),
    };
    if let Err(error) = done {
        tracing::warn!(%error, request_id = %exchange.id, "a response was not kept");
        if !exchange.dropped.iter().any(|name| name == "store") {
            exchange.dropped.push("store".to_owned());
        }
    }
}

pub(super) async fn in_time<T>(shelving: Shelving<T>) -> Result<T, ShelfError> {
    let late = || ShelfError::Away(format!("not within {} s", PATIENCE.as_secs()));
    tokio::time::timeout(PATIENCE, shelving).await.unwrap_or_else(|_| Err(late()))
}
