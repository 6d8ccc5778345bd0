//! Against hyper's own server: the plain request must be answered, the rest must end, and what is forbidden is refused.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::*;

async fn server() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { return };
            let service =
                hyper::service::service_fn(|request: http::Request<hyper::body::Incoming>| async move {
                    let status = if request.into_body().collect().await.is_ok() { 200 } else { 400 };
                    let mut response = http::Response::new(Full::new(Bytes::from_static(b"{}")));
                    *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
                    Ok::<_, Infallible>(response)
                });
            tokio::spawn(
                hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    addr
}

fn target(addr: SocketAddr) -> Target {
    Target {
        addr,
        key: "k".to_owned(),
        model: "ok".to_owned(),
        frames: 4_000,
        bytes: 32 << 20,
        time: Duration::from_millis(1_500),
    }
}

#[tokio::test]
async fn a_plain_request_is_answered() {
    let outcome = attack(&target(server().await), Attack::Plain).await.unwrap();
    assert_eq!(
        (outcome.received.answers, outcome.received.ok, outcome.received.goaway),
        (1, 1, None),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn floods_are_stopped() {
    for kind in [Attack::RapidReset, Attack::MadeYouReset, Attack::ContinuationFlood] {
        let outcome = attack(&target(server().await), kind).await.unwrap();
        let received = &outcome.received;
        assert!(received.goaway.is_some() || received.closed, "{outcome:?}");
    }
}

#[tokio::test]
async fn forbidden_headers_are_refused() {
    for kind in
        [Attack::TransferEncoding, Attack::ConnectionHeader, Attack::LengthMismatch, Attack::UpperCase]
    {
        let outcome = attack(&target(server().await), kind).await.unwrap();
        assert_eq!(outcome.received.ok, 0, "{outcome:?}");
        assert!(
            outcome.received.resets > 0 || outcome.received.goaway.is_some() || outcome.received.answers > 0,
            "{outcome:?}"
        );
    }
}

#[tokio::test]
async fn every_attack_ends_within_its_time() {
    let addr = server().await;
    for kind in Attack::ALL {
        let outcome =
            attack(&Target { time: Duration::from_millis(300), ..target(addr) }, kind).await.unwrap();
        assert!(outcome.seconds < 5.0 && outcome.sent > 0, "{outcome:?}");
    }
    assert!(
        attack(&Target { addr: "192.0.2.1:1".parse().unwrap(), ..target(addr) }, Attack::Plain)
            .await
            .is_err()
    );
}
