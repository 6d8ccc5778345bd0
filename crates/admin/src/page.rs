//! The start page: what this is, where it listens, and the first call in three languages.
//!
//! It holds no secret and asks nothing of the API, so it may be seen by whoever reaches the port. Everything
//! it needs comes from this process: no fetch leaves the machine, and the content policy says so.

use crate::Admin;
use axum::extract::{Path, State};
use axum::response::{Html, IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};

const PAGE: &str = include_str!("../assets/page.html");
/// The model of the examples: simulated, so it answers on every install.
const EXAMPLE_MODEL: &str = "demo/story";
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Where the model API is reached from a browser's point of view.
#[derive(Clone, Debug)]
pub struct ApiAddress {
    /// `http://127.0.0.1:8080`, as the process knows itself.
    pub origin: String,
    /// Where the console is reached, in the same form.
    pub console: String,
    /// The page and the model API share a port, so the name in the browser's address bar is better than ours.
    pub same_port: bool,
}

impl ApiAddress {
    /// The base URL to show. The `Host` header is only ever echoed as text, and only when it is a plain
    /// `name:port`; nothing is decided by it.
    fn base_url(&self, headers: &HeaderMap) -> String {
        let scheme = self.origin.split("://").next().unwrap_or("http");
        let named =
            headers.get(header::HOST).and_then(|host| host.to_str().ok()).filter(|host| is_plain_host(host));
        match named {
            Some(host) if self.same_port => format!("{scheme}://{host}/v1"),
            _ => format!("{}/v1", self.origin),
        }
    }
}

fn is_plain_host(host: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']');
    !host.is_empty() && host.len() <= 255 && host.bytes().all(plain)
}

/// `GET /`.
pub(crate) async fn show(State(admin): State<Admin>, headers: HeaderMap) -> Response {
    let (state, class) = if admin.live.ready() { ("Serving", "well") } else { ("Not serving yet", "ill") };
    let page = PAGE
        .replace("{{state_class}}", class)
        .replace("{{state}}", state)
        .replace("{{version}}", env!("CARGO_PKG_VERSION"))
        .replace("{{model}}", EXAMPLE_MODEL)
        .replace("{{base_url}}", &admin.api.base_url(&headers));
    let mut response = Html(page).into_response();
    protect(response.headers_mut(), "no-store");
    response
}

/// `GET /assets/{name}`: a closed list, so no path is ever built from what was asked.
pub(crate) async fn asset(Path(name): Path<String>) -> Response {
    let (kind, bytes): (&'static str, &'static [u8]) = match name.as_str() {
        "page.css" => ("text/css; charset=utf-8", include_bytes!("../assets/page.css")),
        "page.js" => ("text/javascript; charset=utf-8", include_bytes!("../assets/page.js")),
        "mark.svg" => ("image/svg+xml", include_bytes!("../assets/mark.svg")),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    let mut response = ([(header::CONTENT_TYPE, kind)], bytes).into_response();
    protect(response.headers_mut(), "max-age=3600");
    response
}

fn protect(headers: &mut HeaderMap, cache: &'static str) {
    let fixed = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CACHE_CONTROL, cache),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_base_url_follows_the_browser_only_when_it_is_plain() {
        let address =
            ApiAddress { origin: "http://127.0.0.1:8080".into(), console: String::new(), same_port: true };
        let with = |host: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static(host));
            address.base_url(&headers)
        };
        assert_eq!(with("gate.example:9000"), "http://gate.example:9000/v1");
        assert_eq!(with("[::1]:8080"), "http://[::1]:8080/v1");
        assert_eq!(with("x\"><script>"), "http://127.0.0.1:8080/v1");
        assert_eq!(address.base_url(&HeaderMap::new()), "http://127.0.0.1:8080/v1");
    }

    #[test]
    fn the_page_fetches_nothing_from_elsewhere_and_has_no_inline_script_or_style() {
        let outside = PAGE.replace("{{base_url}}", "");
        assert!(!outside.contains("http://") && !outside.contains("https://"));
        assert!(!PAGE.contains("<style") && !PAGE.contains("style=") && !PAGE.contains("onclick"));
        assert_eq!(PAGE.matches("<script").count(), PAGE.matches("<script src=\"/assets/").count());
        assert!(HeaderValue::from_static(POLICY).to_str().unwrap().starts_with("default-src 'none'"));
    }
}
