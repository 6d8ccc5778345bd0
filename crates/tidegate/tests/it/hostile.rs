//! Clients that mean harm: framing that two parsers read in two ways, and HTTP/2 floods.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::stand::{PATIENCE, Setup, Stand};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ambiguous_framing_is_refused_and_smuggles_nothing() {
    let stand = Stand::start(Setup::default()).await;
    let failures = fakes::smuggle::run(stand.address, &stand.key, "fake/ok", &stand.upstream).await.unwrap();
    assert!(failures.is_empty(), "{failures:#?}");
    assert_eq!(stand.client().chat("fake/ok").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_floods_leave_others_served() {
    let stand = Stand::start(Setup::default()).await;
    for attack in fakes::h2::Attack::ALL {
        let address = stand.address;
        let flood = tokio::spawn(async move { fakes::h2::run(attack, address).await });
        for _ in 0..10 {
            assert_eq!(stand.client().chat("fake/ok").await.status, 200, "{attack:?}");
        }
        let outcome = flood.await.unwrap();
        assert!(outcome.is_ok(), "{attack:?}: {outcome:?}");
    }
    let held = stand.metric("tidegate_in_flight").await.unwrap();
    assert!(held <= 1.0, "{held} requests are left over");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_is_served() {
    let stand = Stand::start(Setup::default()).await;
    let stream = TcpStream::connect(stand.address).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    for flag in ["", r#","stream":true"#] {
        let request = http::Request::post(format!("http://{}/v1/chat/completions", stand.address))
            .header("authorization", format!("Bearer {}", stand.key))
            .body(http_body_util::Full::new(bytes::Bytes::from(crate::client::chat("fake/ok", flag))))
            .unwrap();
        let reply = tokio::time::timeout(PATIENCE, sender.send_request(request)).await.unwrap().unwrap();
        assert_eq!(reply.status(), 200);
        let body = http_body_util::BodyExt::collect(reply.into_body()).await.unwrap().to_bytes();
        assert!(!body.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_no_request_get_a_400_and_an_end() {
    let stand = Stand::start(Setup::default()).await;
    for noise in [&b"\x16\x03\x01\x02\x00"[..], b"GET\r\n\r\n", b"hello\r\n\r\n", b"\0\0\0\0\r\n\r\n"] {
        let mut stream = TcpStream::connect(stand.address).await.unwrap();
        stream.write_all(noise).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer))
            .await
            .expect("the connection is closed");
        let text = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || text.starts_with("HTTP/1.1 400"), "{noise:?}: {text}");
    }
}
