//! What passes, what is refused, and that it does not matter in which pieces it comes.

use super::*;
use proptest::prelude::*;

fn outcome(bytes: &[u8], split: usize) -> (Result<(), Ambiguity>, u64) {
    let mut framing = Framing::new();
    for piece in bytes.chunks(split.max(1)) {
        if let Some((ambiguity, _)) = framing.feed(piece).refused {
            return (Err(ambiguity), framing.requests());
        }
    }
    (Ok(()), framing.requests())
}

/// What reaches the parser when `bytes` come in pieces.
fn passed(bytes: &[u8], split: usize) -> Vec<u8> {
    let mut framing = Framing::new();
    let mut out = Vec::new();
    for piece in bytes.chunks(split.max(1)) {
        let fed = framing.feed(piece);
        out.extend_from_slice(&fed.head);
        out.extend_from_slice(&piece[fed.from..fed.to]);
        if fed.refused.is_some() {
            break;
        }
    }
    out
}

#[test]
fn a_head_is_handed_on_whole_or_not_at_all() {
    let first = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc".to_vec();
    for (second, passes) in [
        ("GET /b HTTP/1.1\r\nHost: x\r\n\r\n", true),
        ("GET /b HTTP/1.1\r\nHost: x\r\nX : y\r\n\r\n", false),
        ("GET /b HTTP/1.1\r\nHost: x\r\nX: y\r\n", false),
        ("GET /b HTTP/1.1\r\nHost: x\nX: y", false),
    ] {
        let bytes = [&first[..], second.as_bytes()].concat();
        let wanted = if passes { &bytes } else { &first };
        for split in 1..bytes.len() + 1 {
            assert_eq!(&passed(&bytes, split), wanted, "{second:?} split {split}");
        }
    }
}

/// What hyper itself would refuse with an empty answer is refused here.
#[test]
fn what_the_parser_would_refuse_never_reaches_it() {
    let get = |line: &str, headers: &str| format!("{line}\r\nHost: x\r\n{headers}\r\n");
    for bad in [
        get("GE(T / HTTP/1.1", ""),
        get("GET  / HTTP/1.1", ""),
        get("GET / / HTTP/1.1", ""),
        get("GET /\u{0} HTTP/1.1", ""),
        get("GET /<x> HTTP/1.1", ""),
        get("GET HTTP/1.1", ""),
        get("GET / HTTP/1.1", "X: a\u{0}b\r\n"),
        get("GET / HTTP/1.1", "X\u{f6}: a\r\n"),
        get("GET / HTTP/1.1", "X(: a\r\n"),
        get("GET / HTTP/1.1", &"X: a\r\n".repeat(MAX_HEADERS)),
    ] {
        assert!(outcome(bad.as_bytes(), 1000).0.is_err(), "{bad:?}");
    }
    for good in [
        get("GET /a?b=c&d={e}|^[] HTTP/1.1", "X: \u{f6}\tb\r\n"),
        get("GET http://x/a HTTP/1.1", &"X: a\r\n".repeat(MAX_HEADERS - 1)),
        get("OPTIONS * HTTP/1.1", ""),
    ] {
        assert_eq!(outcome(good.as_bytes(), 1000), (Ok(()), 1), "{good:?}");
    }
    // At once, without waiting for the end of a line that never comes.
    assert_eq!(outcome(b"\x16\x03\x01", 1000).0, Err(Ambiguity::RequestLine));
}

#[test]
fn plain_requests_pass_in_a_row() {
    let bytes = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: x\r\n\r\nPOST /c HTTP/1.1\r\nHost: x\r\n\
        Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nExpires: 1\r\n\r\nGET / HTTP/1.0\r\n\r\n";
    for split in [1, 2, 3, 7, 1000] {
        assert_eq!(outcome(bytes, split), (Ok(()), 4), "split {split}");
    }
}

#[test]
fn ambiguous_heads_are_refused() {
    let post = |headers: &str| format!("POST / HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n");
    for bad in [
        post("Content-Length: 3\r\nTransfer-Encoding: chunked"),
        post("Transfer-Encoding: chunked\r\nContent-Length: 3"),
        post("Transfer-Encoding: xchunked"),
        post("Transfer-Encoding:\tchunked"),
        post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        post("Transfer-Encoding: chunked, identity"),
        post("Content-Length: 3\r\nContent-Length: 3"),
        post("Content-Length: +5"),
        post("Content-Length: 0x5"),
        post("Content-Length : 5"),
        post("X: a\r\n folded"),
        post("X: a\rb"),
        "POST / HTTP/1.1\nHost: x\n\n".to_owned(),
        "POST / HTTP/1.1\r\nHost: x\nContent-Length: 3\r\n\r\nabc".to_owned(),
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
        "POST / HTTP/2.0\r\n\r\n".to_owned(),
    ] {
        for split in [1, 5, 1000] {
            assert!(outcome(bad.as_bytes(), split).0.is_err(), "{bad:?} split {split}");
        }
    }
}

#[test]
fn ambiguous_chunks_are_refused() {
    let head = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let long = format!("1;{}\r\na\r\n0\r\n\r\n", "e".repeat(400));
    for bad in [
        "+3\r\nabc",
        "\r\n",
        "3\nabc",
        "3\r\nabcd\r\n",
        "fffffffffffffffff\r\n",
        "0\r\nContent-Length: 1\r\n\r\n",
        &long,
    ] {
        assert!(outcome(format!("{head}{bad}").as_bytes(), 1000).0.is_err(), "{bad:?}");
    }
}

#[test]
fn heads_and_trailers_are_bounded() {
    let endless = format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(MAX_HEAD));
    assert_eq!(outcome(endless.as_bytes(), 1000).0, Err(Ambiguity::HeadTooLarge));
    let trailers = format!(
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{}",
        "X: y\r\n".repeat(MAX_TRAILERS)
    );
    assert_eq!(outcome(trailers.as_bytes(), 1000).0, Err(Ambiguity::Chunk));
}

#[test]
fn nothing_follows_an_upgrade() {
    let mut framing = Framing::new();
    let bytes =
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\nGET /canary HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_eq!(framing.feed(bytes).to, 47);
    assert!(framing.closed());
}

proptest! {
    #[test]
    fn chunking_does_not_matter(bytes in proptest::collection::vec(prop_oneof![
        Just(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec()), Just(b"3\r\nabc\r\n".to_vec()),
        Just(b"0\r\n\r\n".to_vec()), Just(b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi".to_vec()),
        Just(b"\r\n".to_vec()), Just(b"\n".to_vec()), proptest::collection::vec(any::<u8>(), 0..6)], 0..12),
        split in 1usize..40)
    {
        let bytes = bytes.concat();
        let whole = outcome(&bytes, usize::MAX);
        let pieces = outcome(&bytes, split);
        prop_assert_eq!(whole.0.is_ok(), pieces.0.is_ok());
        prop_assert_eq!(whole.1, pieces.1);
        // Empty lines before a head may be left out, and nothing else.
        let bare = |bytes: Vec<u8>| -> Vec<u8> { bytes.into_iter().filter(|b| !b"\r\n".contains(b)).collect() };
        if whole.0.is_ok() {
            prop_assert_eq!(bare(passed(&bytes, usize::MAX)), bare(passed(&bytes, split)));
        }
    }
}
