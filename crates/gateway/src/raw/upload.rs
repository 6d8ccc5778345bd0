//! Google's resumable uploads: the address to upload to leads here, and carries who may.
//!
//! A client says that a file will come, is told an address (`x-goog-upload-url`), and sends the file there in pieces. The
//! official SDKs send no key with the pieces, and the address is the provider's own. So the address becomes the gateway's,
//! with a pass in it: whose key, which provider, until when, under a signature of ours over these and the provider's own
//! path and query. It opens that one upload and nothing else, begins none, and ends with its key.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use http::request::Parts;
use policy::key::Pepper;
use policy::{KeyId, KeyState, Name, Timestamp};

use crate::Gateway;
use crate::exchange::Exchange;
use crate::refusal::{Code, Refusal};

/// Where a pass stands in the query.
const PASS: &str = "tidegate-pass";
const PURPOSE: &str = "google upload, version 1";
/// How long an upload may take.
const LASTS: Duration = Duration::from_secs(24 * 3600);
/// What tells a client where to go on.
const ADDRESSES: [HeaderName; 2] =
    [HeaderName::from_static("x-goog-upload-url"), HeaderName::from_static("x-goog-upload-control-url")];

/// What a pass opens.
#[derive(Debug, PartialEq)]
struct Pass<'a> {
    key: &'a str,
    provider: &'a str,
    /// Seconds since 1970.
    ends: i64,
}

impl Pass<'_> {
    /// What is signed: also where the address leads, behind `files`, and the provider's own query. No part of it can hold a
    /// NUL.
    fn text(&self, path: &str, query: &str) -> String {
        format!("{}\0{}\0{}\0{path}\0{query}", self.key, self.provider, self.ends)
    }

    /// `key.provider.ends.signature`, where only the provider's name may hold a dot.
    fn write(&self, pepper: &Pepper, path: &str, query: &str) -> String {
        let signature = pepper.sign(PURPOSE, self.text(path, query).as_bytes());
        let signature = policy::key::KeyHash(signature).hex();
        format!("{}.{}.{}.{signature}", self.key, self.provider, self.ends)
    }
}

/// The pass in a query, when it is one of ours. It stands last: the provider may be such a gateway too, whose own pass is
/// part of its query.
fn read<'a>(pepper: &Pepper, path: &str, query: &'a str) -> Option<Pass<'a>> {
    let last = query.rsplit_once('&').map_or(query, |(_, last)| last);
    let pass = last.strip_prefix(PASS)?.strip_prefix('=')?;
    let (key, rest) = pass.split_once('.')?;
    let (rest, signature) = rest.rsplit_once('.')?;
    let (provider, ends) = rest.rsplit_once('.')?;
    let pass = Pass { key, provider, ends: ends.parse().ok()? };
    let signature = policy::key::KeyHash::from_hex(signature)?;
    let text = pass.text(path, without_pass(query));
    pepper.is_signed(PURPOSE, text.as_bytes(), &signature.0).then_some(pass)
}

/// The query as the provider made it.
pub(super) fn without_pass(query: &str) -> &str {
    let (before, last) = query.rsplit_once('&').unwrap_or(("", query));
    if last.strip_prefix(PASS).is_some_and(|rest| rest.starts_with('=')) { before } else { query }
}

/// What stands behind `files` in the path of an upload, here as at the provider.
fn behind_files(parts: &Parts) -> &str {
    let path = parts.uri.path();
    path.find("/files").and_then(|at| path.get(at + "/files".len()..)).unwrap_or_default()
}

/// Whose upload goes on here, where the request shows a pass.
pub(crate) fn holder(gateway: &Gateway, parts: &Parts) -> Option<Result<Arc<KeyState>, Box<Refusal>>> {
    let query = parts.uri.query().filter(|query| query.contains(PASS))?;
    let unknown =
        || Refusal::new(Code::InvalidApiKey, "the address of this upload is none that was told here");
    let Some(pass) = read(&gateway.pepper, behind_files(parts), query) else { return Some(Err(unknown())) };
    let command = parts.headers.get("x-goog-upload-command").map_or(&b""[..], HeaderValue::as_bytes);
    if command.to_ascii_lowercase().windows(5).any(|word| word == b"start") {
        let message = "an upload is begun with a virtual key; this address is for its pieces";
        return Some(Err(Refusal::new(Code::InvalidApiKey, message)));
    }
    if pass.ends < seconds(gateway.clock.now()) {
        let message =
            format!("this upload began more than {} hours ago; begin it anew", LASTS.as_secs() / 3600);
        return Some(Err(Refusal::new(Code::KeyExpired, message)));
    }
    Some(gateway.keyring.get(&KeyId(pass.key.into())).ok_or_else(unknown))
}

/// The provider that an upload goes on at, and until when.
pub(super) fn shown(exchange: &Exchange, parts: &Parts) -> Option<(Name, i64)> {
    let pass = read(&exchange.gateway.pepper, behind_files(parts), parts.uri.query()?)?;
    (pass.key == &*exchange.caller.key.record.id.0).then(|| (pass.provider.into(), pass.ends))
}

/// Has the addresses of an upload lead here. `bases` are paths of the provider's own uploads, `here` the client's way to
/// the same place; an address with another path stays as it is. A pass is never longer than the one that was shown.
pub(crate) fn lead_here(
    exchange: &Exchange,
    provider: &str,
    bases: &[String; 2],
    here: &str,
    answer: &mut HeaderMap,
) {
    let shown = exchange.raw.as_ref().and_then(|wanted| wanted.pass_ends);
    let ends = shown.unwrap_or_else(|| seconds(exchange.gateway.clock.now().plus(LASTS)));
    let key = &exchange.caller.key.record.id.0;
    for name in &ADDRESSES {
        let Some(told) = answer.get(name).and_then(|value| value.to_str().ok()) else { continue };
        let Some(rest) = bases.iter().find_map(|base| behind(told, base)) else { continue };
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let pass = Pass { key, provider, ends }.write(&exchange.gateway.pepper, path, query);
        let and = if query.is_empty() { "" } else { "&" };
        if let Ok(ours) = HeaderValue::try_from(format!("{here}{path}?{query}{and}{PASS}={pass}")) {
            answer.insert(name, ours);
        }
    }
}

/// What stands behind `base` in the path of an address.
fn behind<'a>(url: &'a str, base: &str) -> Option<&'a str> {
    let (_, rest) = url.split_once("://")?;
    let rest = rest.get(rest.find('/')?..)?.strip_prefix(base)?;
    (rest.is_empty() || rest.starts_with(['?', '/'])).then_some(rest)
}

fn seconds(at: Timestamp) -> i64 {
    at.as_micros() / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_opens_the_upload_that_it_was_made_for() {
        let pepper = Pepper::derive(&[7; 32]);
        let query = "upload_id=AB%20c&upload_protocol=resumable";
        let pass = Pass { key: "key_1", provider: "goo.gle", ends: 1_800_000_000 };
        let text = pass.write(&pepper, "/f", query);
        let whole = format!("{query}&{PASS}={text}");
        let read = |pepper: &Pepper, query: &str| read(pepper, "/f", query).map(|pass| pass.ends);
        assert_eq!(read(&pepper, &whole), Some(pass.ends));
        assert_eq!(without_pass(&whole), query);
        // Nowhere else, and with nothing behind it.
        assert_eq!(super::read(&pepper, "", &whole), None);
        assert_eq!(read(&pepper, &format!("{PASS}={text}&{query}")), None);
        assert_eq!(read(&pepper, &format!("{whole}&a=b")), None);
        // A gateway before a gateway: each has its own.
        let outer = format!("{whole}&{PASS}={}", pass.write(&pepper, "/f", &whole));
        assert_eq!((read(&pepper, &outer), without_pass(&outer)), (Some(pass.ends), &*whole));
        let alone = format!("{PASS}={}", pass.write(&pepper, "/f", ""));
        assert_eq!((read(&pepper, &alone), without_pass(&alone)), (Some(pass.ends), ""));
        for (from, to) in
            [("key_1", "key_2"), ("goo.gle", "other"), ("1800000000", "1900000000"), ("AB", "AC")]
        {
            assert_eq!(read(&pepper, &whole.replace(from, to)), None, "{to}");
        }
        assert_eq!(read(&Pepper::derive(&[8; 32]), &whole), None);
        for cut in 0..whole.len() {
            assert_eq!(read(&pepper, &whole[..cut]), None, "{cut}");
        }
        assert_eq!(read(&pepper, &whole.replace(PASS, "tidegate-passx")), None);
    }

    #[test]
    fn only_the_providers_own_uploads_lead_here() {
        let base = "/upload/v1beta/files";
        assert_eq!(behind("https://g/upload/v1beta/files?a=b", base), Some("?a=b"));
        assert_eq!(behind("https://g/upload/v1beta/files/x", base), Some("/x"));
        assert_eq!(behind("https://g/upload/v1beta/filesystem", base), None);
        assert_eq!(behind("https://g/elsewhere", base), None);
        assert_eq!(behind("nonsense", base), None);
    }
}
