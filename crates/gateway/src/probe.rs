//! Asks a provider which models it serves: for `models = "discover"`, and to see whether it can be reached.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, HeaderValue};
use policy::{Moment, Name, Provider};
use serde::Deserialize;

use crate::upstream::pool::{Call, Unreachable};
use crate::upstream::wire::WireError;
use crate::upstream::{Upstreams, openai};

const LIMIT: usize = 8 * 1024 * 1024;
const MAX_MODELS: usize = 10_000;

/// Why a provider's models could not be listed; the text is for an operator.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The settings cannot be used.
    #[error("{0}")]
    Settings(String),
    /// No connection.
    #[error("{0}")]
    Unreachable(String),
    /// No answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The credential is not accepted.
    #[error("the credential is refused (status {0})")]
    Credential(u16),
    /// Another status.
    #[error("answers with status {0}")]
    Status(u16),
    /// Not a list of models.
    #[error("answers with something that is not a list of models: {0}")]
    Answer(String),
}

#[derive(Deserialize)]
struct List {
    data: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    id: String,
}

/// `GET {base}/models` with the provider's credential.
///
/// # Errors
/// What stands between us and the list.
pub async fn list_models(provider: &Arc<Provider>, timeout: Duration) -> Result<Vec<Name>, ProbeError> {
    tokio::time::timeout(timeout, ask(provider)).await.map_err(|_| ProbeError::Timeout(timeout))?
}

async fn ask(provider: &Arc<Provider>) -> Result<Vec<Name>, ProbeError> {
    let upstream = Upstreams::default().of(provider).map_err(ProbeError::Settings)?;
    let wire = upstream.origin.take(Moment::from_nanos(0)).await;
    let wire = wire.map_err(|error: Unreachable| ProbeError::Unreachable(error.to_string()))?;
    let (base_path, _) = openai(provider).map_err(ProbeError::Settings)?;
    let target = format!("{base_path}/models");
    if http::Uri::try_from(&target).is_err() {
        return Err(ProbeError::Settings("base_url is not valid".to_owned()));
    }
    let mut head = upstream.request(None, &http::Method::GET, &target);
    if !head.is_set(&ACCEPT) {
        head.add(&ACCEPT, &HeaderValue::from_static("application/json"));
    }
    let mut call = Call::send(&upstream.origin, wire, head.finish(0), Bytes::new());
    let broken = |error: WireError| ProbeError::Unreachable(error.to_string());
    let head = std::future::poll_fn(|context| call.poll_head(context)).await.map_err(broken)?;
    match head.status.as_u16() {
        200..=299 => {}
        status @ (401 | 403) => return Err(ProbeError::Credential(status)),
        status => return Err(ProbeError::Status(status)),
    }
    let mut body = Vec::new();
    while let Some(chunk) = std::future::poll_fn(|context| call.poll_chunk(context)).await {
        body.extend_from_slice(&chunk.map_err(broken)?);
        if body.len() > LIMIT {
            return Err(ProbeError::Answer(format!("more than {LIMIT} bytes")));
        }
    }
    let list: List = serde_json::from_slice(&body).map_err(|error| ProbeError::Answer(error.to_string()))?;
    Ok(list.data.into_iter().take(MAX_MODELS).map(|entry| Name::from(entry.id)).collect())
}
