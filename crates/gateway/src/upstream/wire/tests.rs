//! The connection to a provider, read and written over a real socket.

use super::*;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const NOW: Moment = Moment::from_nanos(1);

/// A wire, and the provider's end of it.
async fn pair() -> (Wire, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let mut wire = Wire::new(Socket::Plain(socket), NOW);
    wire.begin(Bytes::from_static(b"GET / HTTP/1.1\r\n\r\n"), Bytes::from_static(b"body"));
    (wire, listener.accept().await.unwrap().0)
}

async fn head(wire: &mut Wire) -> Result<Head, WireError> {
    std::future::poll_fn(|context| wire.poll_head(context)).await
}

async fn body(wire: &mut Wire) -> Result<Vec<u8>, WireError> {
    let mut whole = Vec::new();
    while let Some(chunk) = std::future::poll_fn(|context| wire.poll_chunk(context)).await {
        whole.extend_from_slice(&chunk?);
    }
    Ok(whole)
}

/// What a wire makes of an answer that comes in pieces of `size` bytes, after which the provider closes.
async fn read(answer: Vec<u8>, size: usize) -> (Result<(u16, Vec<u8>), WireError>, bool) {
    let (mut wire, mut provider) = pair().await;
    let send = async move {
        let mut asked = [0; 22];
        provider.read_exact(&mut asked).await.unwrap();
        provider.set_nodelay(true).unwrap();
        for piece in answer.chunks(size.max(1)) {
            if provider.write_all(piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let receive = async {
        let outcome = async { Ok((head(&mut wire).await?.status.as_u16(), body(&mut wire).await?)) }.await;
        (outcome, wire.is_reusable())
    };
    tokio::join!(send, receive).1
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

const SIZED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Y: z\r\n\r\nhello";
const CHUNKED: &str =
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;ext=1\r\nlo\r\n0\r\nX: y\r\n\r\n";

#[test]
fn the_three_framings_are_read_however_they_are_cut() {
    for (answer, reusable) in [
        (SIZED, true),
        (CHUNKED, true),
        ("HTTP/1.1 200 OK\r\n\r\nhello", false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", false),
        ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello", true),
        ("HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 5\r\n\r\nhello", false),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            true,
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello", true),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            false,
        ),
    ] {
        for size in [1, 2, 7, 1000] {
            let (outcome, again) = run(read(answer.into(), size));
            assert_eq!(outcome.unwrap(), (200, b"hello".to_vec()), "{answer:?} in pieces of {size}");
            assert_eq!(again, reusable, "{answer:?}");
        }
    }
}

#[test]
fn an_answer_without_a_body_ends_with_its_head() {
    for answer in ["HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"] {
        assert_eq!(run(read(answer.into(), 1000)).0.unwrap().1, b"");
    }
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nX : y\r\nContent-Length: 5\r\n\r\nhello",
        "<html>no HTTP at all</html>\r\n\r\n",
    ] {
        for size in [1, 1000] {
            let (outcome, again) = run(read(answer.into(), size));
            assert!(matches!(outcome, Err(WireError::Malformed(_))), "{answer:?}: {outcome:?}");
            assert!(!again);
        }
    }
}

#[test]
fn an_answer_that_breaks_off_is_incomplete_wherever_it_breaks() {
    for answer in [SIZED, CHUNKED] {
        for length in 0..answer.len() {
            let (outcome, again) = run(read(answer.as_bytes()[..length].to_vec(), 1000));
            assert!(
                matches!(outcome, Err(WireError::Incomplete | WireError::Io(_))),
                "{length}: {outcome:?}"
            );
            assert!(!again);
        }
    }
}

#[test]
fn heads_trailers_and_interim_answers_are_bounded() {
    let head = format!("HTTP/1.1 200 OK\r\nX: {}", "a".repeat(MAX_HEAD));
    let trailers = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{}\r\n",
        "X: aaaaaaaaaaaaaaaaaaaa\r\n".repeat(1000)
    );
    let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(100);
    let headers = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(MAX_HEADERS + 1));
    for answer in [head, trailers, interim, headers] {
        let (outcome, _) = run(read(answer.into(), 4096));
        assert!(matches!(outcome, Err(WireError::Malformed(_))), "{outcome:?}");
    }
}

#[test]
fn bytes_behind_an_answer_make_its_connection_useless() {
    let (outcome, again) = run(read(format!("{SIZED}HTTP/1.1 200 OK\r\n").into(), 1000));
    assert_eq!(outcome.unwrap().1, b"hello");
    assert!(!again);
}

#[test]
fn an_early_refusal_is_read_although_the_request_cannot_be_written() {
    run(async {
        let (mut wire, mut provider) = pair().await;
        wire.begin(Bytes::from_static(b"POST / HTTP/1.1\r\n\r\n"), Bytes::from(vec![b'x'; 64 << 20]));
        provider.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno").await.unwrap();
        assert_eq!(head(&mut wire).await.unwrap().status.as_u16(), 413);
        assert_eq!(body(&mut wire).await.unwrap(), b"no");
        assert!(!wire.is_reusable(), "part of the request was never sent");
    });
}

#[test]
fn a_long_request_is_written_whole() {
    run(async {
        let (mut wire, mut provider) = pair().await;
        let sent = 3 << 20;
        wire.begin(Bytes::from_static(b"POST / HTTP/1.1\r\n\r\n"), Bytes::from(vec![b'x'; sent]));
        let receive = async move {
            let mut left = 19 + sent;
            let mut buffer = vec![0; 64 * 1024];
            while left > 0 {
                left -= provider.read(&mut buffer).await.unwrap();
            }
            provider.write_all(SIZED.as_bytes()).await.unwrap();
            provider
        };
        let (_provider, answer) = tokio::join!(receive, head(&mut wire));
        assert_eq!(answer.unwrap().status.as_u16(), 200);
        assert_eq!(body(&mut wire).await.unwrap(), b"hello");
        assert!(wire.is_reusable());
    });
}

#[test]
fn an_idle_connection_that_was_closed_is_found_out() {
    run(async {
        let (mut wire, mut provider) = pair().await;
        provider.write_all(SIZED.as_bytes()).await.unwrap();
        head(&mut wire).await.unwrap();
        body(&mut wire).await.unwrap();
        wire.rest(NOW);
        assert!(wire.is_open(NOW, std::time::Duration::ZERO));
        drop(provider);
        // The end may take a moment to cross the loopback; it is seen without the event loop's help.
        for _ in 0..10_000 {
            if !wire.is_open(NOW, std::time::Duration::ZERO) {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("the end was never seen");
    });
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_pieces_do_not_matter(
        start in prop_oneof![Just(""), Just("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), Just("HTTP/1.1 200 OK\r\n")],
        rest in proptest::collection::vec(prop_oneof![
            Just(b"3\r\nabc\r\n".to_vec()), Just(b"0\r\n\r\n".to_vec()), Just(b"\r\n".to_vec()), Just(b"Content-Length: 2\r\n".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..5)], 0..8),
        size in 1usize..20)
    {
        let answer = [start.as_bytes().to_vec(), rest.concat()].concat();
        let (whole, _) = run(read(answer.clone(), usize::MAX));
        let (pieces, _) = run(read(answer, size));
        prop_assert_eq!(whole.is_ok(), pieces.is_ok());
        if let (Ok(whole), Ok(pieces)) = (whole, pieces) {
            prop_assert_eq!(whole, pieces);
        }
    }
}
