//! Who asks: the virtual key, wherever an SDK puts it, checked in memory alone.
//!
//! A key that is not in our format is refused before anything is hashed; a well-formed one costs one keyed hash and one
//! look-up in a table of hashes. No database is asked, whatever is presented.

use http::HeaderMap;
use http::request::Parts;
use policy::{KeyRefusal, KeyState};
use providers::request::{Operation, Raw};
use std::sync::Arc;

use crate::exchange::Caller;
use crate::raw::upload;
use crate::refusal::{Code, Refusal};
use crate::{Gateway, headers};

/// The key's holder; an upload that goes on shows a pass instead of a key.
pub(crate) fn caller(gateway: &Gateway, operation: Operation, parts: &Parts) -> Result<Caller, Box<Refusal>> {
    let (headers, query) = (&parts.headers, parts.uri.query());
    if operation == Operation::Raw(Raw::GoogleUpload)
        && places(headers, query).next().is_none()
        && let Some(holder) = upload::holder(gateway, parts)
    {
        return served(gateway, holder?);
    }
    authenticate(gateway, headers, query)
}

/// The key's holder, or the refusal that says what is wrong with it.
pub(crate) fn authenticate(
    gateway: &Gateway,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Result<Caller, Box<Refusal>> {
    served(gateway, find_key(gateway, headers, query)?)
}

/// A key that is known, in the release of this moment.
fn served(gateway: &Gateway, key: Arc<KeyState>) -> Result<Caller, Box<Refusal>> {
    let published = gateway.published.load();
    let Some(snapshot) = published.as_ref() else {
        return Err(Refusal::new(Code::NotReady, "the gateway has no release to serve yet"));
    };
    key.active(gateway.clock.now()).map_err(|refusal| match refusal {
        KeyRefusal::Revoked => {
            Refusal::new(Code::KeyRevoked, format!("key `{}` was revoked", key.record.name))
        }
        KeyRefusal::Expired => {
            // A state found by a replaced secret ends with the grace of the rotation.
            let current = gateway.keyring.get(&key.record.id).map(|state| state.record.expires_at);
            let replaced = current.is_some_and(|end| end != key.record.expires_at);
            let what = if replaced {
                "this secret of key `{}` was replaced by a newer one"
            } else {
                "key `{}` has expired"
            };
            Refusal::new(Code::KeyExpired, what.replace("{}", &key.record.name))
        }
    })?;
    let Some(environment) = snapshot.environments.get(&key.record.environment) else {
        let message = format!("environment `{}` of this key is not served here", key.record.environment);
        return Err(Refusal::new(Code::NotReady, message));
    };
    Ok(Caller { environment: Arc::clone(environment), key })
}

fn find_key(
    gateway: &Gateway,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Result<Arc<KeyState>, Box<Refusal>> {
    let mut presented_any = false;
    for presented in places(headers, query) {
        presented_any = true;
        let Ok(key) = policy::key::parse(presented) else { continue };
        if let Some(state) = gateway.keyring.find(&gateway.pepper.hash(&key)) {
            return Ok(state);
        }
        if !gateway.keys_are_current() {
            let message = "this key is not known here yet and the database that would know it is away";
            return Err(
                Refusal::new(Code::KeyStoreUnavailable, message).after(std::time::Duration::from_secs(2))
            );
        }
        return Err(Refusal::new(
            Code::InvalidApiKey,
            "the virtual key is unknown: check TIDEGATE_API_KEY, or make one with `tidegate keys create NAME`",
        ));
    }
    let message = if presented_any {
        "this is not a Tidegate virtual key (they begin with `tg-`); a provider's own key cannot be used here"
    } else {
        "no virtual key was sent: send it as `Authorization: Bearer tg-…`"
    };
    Err(Refusal::new(Code::InvalidApiKey, message))
}

/// Every place where an SDK puts its key, in a fixed order.
fn places<'a>(sent: &'a HeaderMap, query: Option<&'a str>) -> impl Iterator<Item = &'a [u8]> {
    let bearer = sent.get(http::header::AUTHORIZATION).and_then(|value| strip_bearer(value.as_bytes()));
    let named = [headers::X_API_KEY, headers::API_KEY, headers::GOOG_API_KEY];
    let rest = named.into_iter().filter_map(|name| sent.get(name).map(http::HeaderValue::as_bytes));
    let query = query
        .into_iter()
        .flat_map(|q| q.split('&'))
        .filter_map(|p| p.strip_prefix("key="))
        .map(str::as_bytes);
    bearer.into_iter().chain(rest).chain(query).chain(in_protocol(sent))
}

/// Browsers can give a WebSocket no headers, so OpenAI's clients offer the key as one of its protocols.
pub(crate) fn in_protocol(sent: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let values = sent.get_all(headers::WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let offered = values.flat_map(|value| value.split(',')).map(str::trim);
    offered.filter_map(|one| one.strip_prefix("openai-insecure-api-key.")).map(str::as_bytes)
}

fn strip_bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| rest.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_where_sdks_put_them() {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", http::HeaderValue::from_static("bearer  one"));
        headers.insert("x-api-key", http::HeaderValue::from_static("two"));
        headers.insert("api-key", http::HeaderValue::from_static("three"));
        headers.insert("x-goog-api-key", http::HeaderValue::from_static("four"));
        let found: Vec<_> = places(&headers, Some("alt=sse&key=five")).collect();
        let expected: [&[u8]; 5] = [b"one", b"two", b"three", b"four", b"five"];
        assert_eq!(found, expected);
        headers.insert(
            "sec-websocket-protocol",
            http::HeaderValue::from_static("realtime, openai-insecure-api-key.six, x"),
        );
        assert_eq!(places(&headers, None).last(), Some(&b"six"[..]));
        headers.remove("sec-websocket-protocol");
        headers.insert("authorization", http::HeaderValue::from_static("Basic abc"));
        assert_eq!(places(&headers, None).count(), 3);
    }
}
