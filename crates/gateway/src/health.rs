//! `/healthz`, `/readyz`, `/metrics`.

use http::{HeaderValue, Response, StatusCode};

use crate::Gateway;
use crate::body::Body;

fn plain(status: StatusCode, text: impl Into<bytes::Bytes>) -> Response<Body> {
    let mut answer = Response::new(Body::whole(text));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// The process lives.
pub(crate) fn alive() -> Response<Body> {
    plain(StatusCode::OK, "ok\n")
}

/// Requests can be served: there is a release, and no stop has begun. A database that is away does not matter here.
pub(crate) fn readiness(gateway: &Gateway) -> (bool, &'static str) {
    if gateway.lifecycle.draining() {
        return (false, "stopping\n");
    }
    if gateway.published.load().is_none() {
        return (false, "no release to serve yet\n");
    }
    let degraded = !gateway.keys_are_current() || !gateway.ledger.depth().writable;
    (true, if degraded { "ready (degraded)\n" } else { "ready\n" })
}

/// `/readyz`.
pub(crate) fn ready(gateway: &Gateway) -> Response<Body> {
    let (ready, text) = readiness(gateway);
    plain(if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, text)
}

/// Prometheus text.
pub(crate) fn metrics(gateway: &Gateway) -> Response<Body> {
    let mut answer = plain(StatusCode::OK, gateway.metrics_text());
    let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    answer.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    answer
}
