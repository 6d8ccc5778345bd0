//! `GET /v1/models`: the models that the asking key may use.

use http::{HeaderMap, HeaderValue, Response};
use policy::ModelEntry;
use serde::Serialize;

use crate::body::Body;
use crate::exchange::Caller;
use crate::refusal::{Code, Refusal};
use crate::{Gateway, authenticate, headers};

#[derive(Serialize)]
struct Model<'a> {
    id: &'a str,
    object: &'static str,
    created: i64,
    owned_by: &'a str,
}

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: Vec<Model<'a>>,
}

fn shape(entry: &ModelEntry) -> Model<'_> {
    Model { id: &entry.id, object: "model", created: entry.created, owned_by: &entry.owned_by }
}

/// All of them.
pub(crate) fn list(gateway: &Gateway, client: &HeaderMap, query: Option<&str>) -> Response<Body> {
    match authenticate::authenticate(gateway, client, query) {
        Err(refusal) => refusal.answer(),
        Ok(caller) => {
            let entries: Vec<_> = caller.environment.models().filter(|m| caller.key.may_use(&m.id)).collect();
            json(&caller, &List { object: "list", data: entries.iter().map(shape).collect() })
        }
    }
}

/// One of them; its name may hold slashes, escaped or not.
pub(crate) fn one(gateway: &Gateway, client: &HeaderMap, query: Option<&str>, name: &str) -> Response<Body> {
    let caller = match authenticate::authenticate(gateway, client, query) {
        Err(refusal) => return refusal.answer(),
        Ok(caller) => caller,
    };
    let name = unescape(name);
    let entry = caller.environment.models().find(|m| *m.id == *name && caller.key.may_use(&m.id));
    match entry {
        Some(entry) => json(&caller, &shape(&entry)),
        None => {
            let message =
                format!("environment `{}` has no model `{name}` for this key", caller.environment.name);
            Refusal::new(Code::ModelNotFound, message).about("model").answer()
        }
    }
}

fn json(caller: &Caller, value: &impl Serialize) -> Response<Body> {
    let Ok(text) = serde_json::to_vec(value) else {
        return Refusal::new(Code::InternalError, "the list of models could not be written").answer();
    };
    let mut answer = Response::new(Body::whole(text));
    let down = answer.headers_mut();
    down.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    down.insert(headers::RELEASE, headers::release(&caller.environment));
    answer
}

/// Undoes `%2F` and its like; what is not an escape stays.
fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                plain.push(byte);
                at += 3;
            }
            None => {
                plain.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_in_names_are_undone() {
        assert_eq!(unescape("openai%2Fgpt-5"), "openai/gpt-5");
        assert_eq!(unescape("a%zz%"), "a%zz%");
    }
}
