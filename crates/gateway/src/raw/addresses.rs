//! Addresses in a provider's answers that its client would follow past the gateway.
//!
//! Anthropic tells where the results of a batch lie (`results_url`), and its SDK goes there as it is told: to the
//! provider, with a virtual key that means nothing there. So the address becomes the gateway's own.

use bytes::Bytes;
use http::HeaderValue;
use http::request::Parts;

use crate::listen::Client;

const NAME: &[u8] = b"\"results_url\"";
const PLACE: &str = "messages/batches/";

/// Where the client reaches what stands before `rest` of its path: `http://host/anthropic/v1/`. What an intermediary
/// says of the client's scheme is believed, since the address is told to that client alone.
pub(crate) fn here(parts: &Parts, rest: &str) -> Option<String> {
    let secure = parts.extensions.get::<Client>().is_some_and(|client| client.secure);
    let text = |name: &str| parts.headers.get(name).map(HeaderValue::to_str).and_then(Result::ok);
    let authority = parts.uri.authority().map(http::uri::Authority::as_str).or_else(|| text("host"))?;
    let scheme = text("x-forwarded-proto")
        .filter(|scheme| ["http", "https"].contains(scheme))
        .unwrap_or(if secure { "https" } else { "http" });
    let before = parts.uri.path().strip_suffix(rest)?;
    Some(format!("{scheme}://{authority}{before}"))
}

/// The answer with its `results_url`s leading here; `None` where there are none. Other bytes stay as they came.
pub(crate) fn of_results(body: &[u8], here: &str) -> Option<Bytes> {
    let mut out: Vec<u8> = Vec::new();
    let mut rest = body;
    while let Some((value, end)) = next(rest) {
        let Some(url) = rest.get(value..end).and_then(|text| std::str::from_utf8(text).ok()) else { break };
        match url.find(PLACE) {
            Some(at) if url.starts_with("https://") || url.starts_with("http://") => {
                out.extend_from_slice(rest.get(..value)?);
                out.extend_from_slice(here.as_bytes());
                out.extend_from_slice(url.get(at..)?.as_bytes());
            }
            _ => out.extend_from_slice(rest.get(..end)?),
        }
        rest = rest.get(end..)?;
    }
    if out.is_empty() {
        return None;
    }
    out.extend_from_slice(rest);
    Some(out.into())
}

/// Where the text of the next `results_url` begins and ends; one that is `null` is passed over.
fn next(text: &[u8]) -> Option<(usize, usize)> {
    let mut from = 0;
    loop {
        let at = from + memchr::memmem::find(text.get(from..)?, NAME)? + NAME.len();
        let space = |from: usize| {
            text.get(from..).map(|text| from + text.iter().take_while(|b| b.is_ascii_whitespace()).count())
        };
        from = at;
        let colon = space(at)?;
        if text.get(colon) != Some(&b':') {
            continue;
        }
        let quote = space(colon + 1)?;
        if text.get(quote) != Some(&b'"') {
            continue;
        }
        let value = quote + 1;
        let end = value + memchr::memchr(b'"', text.get(value..)?)?;
        return Some((value, end));
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn results_lie_where_the_client_asked() {
        let of = |text: &str| of_results(text.as_bytes(), "http://here/anthropic/v1/");
        let body = r#"{"data":[{"id":"b","results_url" : "https://api.anthropic.com/v1/messages/batches/b/results","x":1.0},{"results_url":null},{"results_url":"https://a/v1/messages/batches/c/results"}]}"#;
        let wanted = body
            .replace("https://api.anthropic.com/v1/", "http://here/anthropic/v1/")
            .replace("https://a/v1/", "http://here/anthropic/v1/");
        assert_eq!(of(body).unwrap(), wanted);
        for same in [
            r#"{"results_url":null}"#,
            r#"{"a":"results_url"}"#,
            "",
            r#"{"results_url":"#,
            r#"{"results_url":"https"#,
        ] {
            assert_eq!(of(same), None, "{same}");
        }
        let elsewhere = r#"{"results_url":"https://store.example/x.jsonl"}"#;
        assert_eq!(of(elsewhere).unwrap(), elsewhere);
    }

    #[test]
    fn an_address_is_the_clients_own() {
        let parts = |uri: &str, proto: Option<&str>| {
            let request = http::Request::get(uri).header("host", "gate:8080");
            let request =
                proto.into_iter().fold(request, |request, proto| request.header("x-forwarded-proto", proto));
            request.body(()).unwrap().into_parts().0
        };
        let rest = "messages/batches/b";
        assert_eq!(here(&parts("/v1/messages/batches/b?x=1", None), rest).unwrap(), "http://gate:8080/v1/");
        assert_eq!(
            here(&parts("/anthropic/v1/messages/batches/b", Some("https")), rest).unwrap(),
            "https://gate:8080/anthropic/v1/"
        );
    }
}
