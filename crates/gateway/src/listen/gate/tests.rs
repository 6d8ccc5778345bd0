//! Gate, parser and a small service together: what a client gets on the wire.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::convert::Infallible;

use hyper::body::Incoming;
use tokio::io::{AsyncWriteExt, DuplexStream};

use super::*;
use crate::body::Body;
use crate::listen::Client;
use crate::receive::{self, Memory};

const LONG: Duration = Duration::from_secs(60);
/// More than lies between the two ends.
const LARGE: usize = 4 << 20;

/// What the URL table does: the refusal for a refused head, else the length of the body, or why there is none.
async fn serve(client: Client, request: http::Request<Incoming>) -> Result<http::Response<Body>, Infallible> {
    let busy = client.answer();
    if let Some(refused) = client.refused(&request) {
        return Ok(refused.refusal().answer());
    }
    let (parts, body) = request.into_parts();
    if parts.uri.path() == "/large" {
        return Ok(http::Response::new(Body::whole(vec![b'x'; LARGE]).holding(busy)));
    }
    if parts.uri.path() == "/slow" {
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    let answer = match receive::receive(&Memory::new(1 << 20), 1 << 20, &parts, body).await {
        Ok((bytes, _)) => http::Response::new(Body::whole(format!("took {}", bytes.len()))),
        Err(refusal) => refusal.answer(),
    };
    Ok(answer.map(|body| body.holding(busy)))
}

/// A client's end of a connection that is served with these bounds.
fn connect(patience: Patience) -> DuplexStream {
    connected(patience).0
}

/// The same, and how it is served.
fn connected(patience: Patience) -> (DuplexStream, tokio::task::JoinHandle<()>) {
    let (near, far) = tokio::io::duplex(1 << 20);
    #[expect(clippy::disallowed_methods, reason = "tests")]
    let served = tokio::spawn(async move {
        let client = Client::default();
        let (answering, refused) = (client.answering.clone(), client.refused_head.clone());
        let mut gate = Gate::new(far, Clock::system(), patience, answering, refused);
        let Ok(Protocol::Http1) = gate.recognise().await else { return };
        let service = hyper::service::service_fn(move |request| serve(client.clone(), request));
        let io = hyper_util::rt::TokioIo::new(gate);
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
    });
    (near, served)
}

/// Sends the pieces and reads until the server closes.
async fn talk(patience: Patience, pieces: &[&[u8]]) -> String {
    let mut stream = connect(patience);
    for piece in pieces {
        stream.write_all(piece).await.unwrap();
        stream.flush().await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut answer = Vec::new();
    tokio::time::timeout(LONG, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    String::from_utf8(answer).unwrap()
}

fn short() -> Patience {
    Patience { head: Duration::from_millis(80), body: Duration::from_millis(80), idle: LONG, write: LONG }
}

/// The statuses in their order, and whether the last answer is a whole error of ours.
fn read(text: &str) -> (Vec<u16>, bool) {
    let statuses =
        text.match_indices("HTTP/1.1 ").map(|(at, _)| text[at + 9..at + 12].parse().unwrap()).collect();
    let last = &text[text.rfind("HTTP/1.1 ").unwrap()..];
    let (head, body) = last.split_once("\r\n\r\n").unwrap();
    let whole =
        serde_json::from_str::<serde_json::Value>(body).is_ok_and(|body| body["error"]["code"].is_string());
    (statuses, whole && head.contains("connection: close") && head.contains("content-type: application/json"))
}

const GOOD: &[u8] = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc";
const SLOW: &[u8] = b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n";
const BAD: &[u8] =
    b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\nabc";
const CHUNKED: &[u8] = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";

#[tokio::test]
async fn a_refused_head_is_answered_behind_what_was_asked_before() {
    let long = Patience { head: LONG, body: LONG, idle: LONG, write: LONG };
    for pieces in [&[BAD][..], &[&BAD[..20], &BAD[20..]], &[&BAD[..1], &BAD[1..70], &BAD[70..]]] {
        assert_eq!(read(&talk(long, pieces).await), (vec![400], true));
    }
    let both = [SLOW, GOOD, BAD, GOOD].concat();
    let text = talk(long, &[&both]).await;
    assert_eq!(read(&text), (vec![200, 200, 400], true), "{text}");
    let text = talk(long, &[SLOW, &GOOD[..10], &GOOD[10..], &BAD[..30], &BAD[30..]]).await;
    assert_eq!(read(&text), (vec![200, 200, 400], true), "{text}");
    assert!(text.contains("ambiguous_request"), "{text}");
    let large = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}", "a".repeat(100_000));
    let text = talk(long, &[GOOD, large.as_bytes()]).await;
    assert_eq!(read(&text), (vec![200, 431], true), "{text}");
}

#[tokio::test]
async fn a_refused_chunk_is_answered_where_nothing_was_answered_yet() {
    let long = Patience { head: LONG, body: LONG, idle: LONG, write: LONG };
    let extension = format!("5;{}", "a".repeat(400));
    for bad in ["+3\r\nabc", "3\r\nabcd\r\n", "0\r\ncontent-length: 1\r\n\r\n", "zz\r\n", &extension] {
        let text = talk(long, &[CHUNKED, bad.as_bytes()]).await;
        assert_eq!(read(&text), (vec![400], true), "{bad:?}: {text}");
        assert!(text.contains("ambiguous_request"), "{text}");
        // Byte by byte: a line that the parser holds half of must not be ended for it.
        let bytes: Vec<&[u8]> = std::iter::once(CHUNKED).chain(bad.as_bytes().chunks(1)).collect();
        assert_eq!(read(&talk(long, &bytes).await), (vec![400], true), "{bad:?}");
    }
}

#[tokio::test]
async fn what_is_begun_and_too_slow_is_told_so() {
    for (pieces, statuses) in [
        (&[&b"GET / HT"[..]][..], vec![408]),
        (&[&b"P"[..]], vec![408]),
        (&[&GOOD[..GOOD.len() - 1]], vec![408]),
        (&[CHUNKED, b"3\r\na"], vec![408]),
        (&[GOOD, b"G"], vec![200, 408]),
        // The next head is slow while an answer is made: first that answer.
        (&[SLOW, b"G"], vec![200, 408]),
    ] {
        let text = talk(short(), pieces).await;
        assert_eq!(read(&text), (statuses, true), "{text}");
        assert!(text.contains("request_timeout"), "{text}");
    }
}

#[tokio::test]
async fn who_does_not_read_is_dropped() {
    let patience = Patience { head: LONG, body: LONG, idle: LONG, write: Duration::from_millis(80) };
    let (mut stream, served) = connected(patience);
    stream.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    tokio::time::timeout(LONG, served).await.unwrap().unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!((1..LARGE).contains(&answer.len()), "{}", answer.len());
}

#[tokio::test]
async fn silence_is_closed_without_a_word() {
    assert_eq!(talk(short(), &[]).await, "");
    let idle = Patience { idle: Duration::from_millis(80), ..short() };
    let text = talk(idle, &[GOOD]).await;
    assert!(text.ends_with("took 3"), "{text}");
}
