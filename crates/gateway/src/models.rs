//! `GET /v1/models`: the models that the asking key may use, in the shape that the asking SDK reads.
//!
//! One path is asked by three SDKs that want three shapes; `urls::asker` tells them apart.

use http::{HeaderMap, HeaderValue, Response};
use policy::{ModelEntry, Timestamp};
use providers::dialects::Dialect;
use serde_json::{Value, json};

use crate::body::Body;
use crate::exchange::Caller;
use crate::refusal::{Code, Refusal};
use crate::urls::{Mount, asker, unescape};
use crate::{Gateway, authenticate, headers};

fn shape(asker: Mount, entry: &ModelEntry) -> Value {
    let (id, created) = (&*entry.id, entry.created);
    match asker {
        Mount::OpenAi => {
            json!({ "id": id, "object": "model", "created": created, "owned_by": &*entry.owned_by })
        }
        Mount::Anthropic => {
            let at = Timestamp::from_millis(created.saturating_mul(1000)).to_string();
            json!({ "type": "model", "id": id, "display_name": id, "created_at": at })
        }
        Mount::Gemini => json!({
            "name": format!("models/{id}"), "baseModelId": id, "version": "1", "displayName": id,
            "supportedGenerationMethods": ["generateContent", "streamGenerateContent"],
        }),
    }
}

fn list_of(asker: Mount, entries: &[ModelEntry]) -> Value {
    let shapes: Vec<Value> = entries.iter().map(|entry| shape(asker, entry)).collect();
    match asker {
        Mount::OpenAi => json!({ "object": "list", "data": shapes }),
        Mount::Anthropic => {
            let id = |entry: Option<&ModelEntry>| entry.map(|entry| entry.id.to_string());
            json!({ "data": shapes, "has_more": false, "first_id": id(entries.first()), "last_id": id(entries.last()) })
        }
        Mount::Gemini => json!({ "models": shapes }),
    }
}

/// The dialect of the errors that an asker reads; OpenAI's is the usual one.
pub(crate) fn dialect(asker: Mount) -> Option<Dialect> {
    match asker {
        Mount::OpenAi => None,
        Mount::Anthropic => Some(Dialect::Messages),
        Mount::Gemini => Some(Dialect::Gemini),
    }
}

/// All of them.
pub(crate) fn list(
    gateway: &Gateway,
    client: &HeaderMap,
    query: Option<&str>,
    mount: Option<Mount>,
    id: &str,
) -> Response<Body> {
    let asker = asker(mount, client, query);
    match authenticate::authenticate(gateway, client, query) {
        Err(refusal) => refusal.answer_in(dialect(asker), id),
        Ok(caller) => {
            let entries: Vec<_> = caller.environment.models().filter(|m| caller.key.may_use(&m.id)).collect();
            json(&caller, &list_of(asker, &entries))
        }
    }
}

/// One of them; its name may hold slashes, escaped or not.
pub(crate) fn one(
    gateway: &Gateway,
    client: &HeaderMap,
    query: Option<&str>,
    mount: Option<Mount>,
    name: &str,
    id: &str,
) -> Response<Body> {
    let asker = asker(mount, client, query);
    let caller = match authenticate::authenticate(gateway, client, query) {
        Err(refusal) => return refusal.answer_in(dialect(asker), id),
        Ok(caller) => caller,
    };
    let name = unescape(name);
    let entry = caller.environment.models().find(|m| *m.id == *name && caller.key.may_use(&m.id));
    match entry {
        Some(entry) => json(&caller, &shape(asker, &entry)),
        None => {
            let message =
                format!("environment `{}` has no model `{name}` for this key", caller.environment.name);
            Refusal::new(Code::ModelNotFound, message).about("model").answer_in(dialect(asker), id)
        }
    }
}

fn json(caller: &Caller, value: &Value) -> Response<Body> {
    let mut answer = Response::new(Body::whole(value.to_string()));
    let down = answer.headers_mut();
    down.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    down.insert(headers::RELEASE, headers::release(&caller.environment));
    answer
}
