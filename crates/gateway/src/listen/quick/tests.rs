//! What is taken the quick way, and what is left to hyper. How connections go on is tested on the whole system
//! (`crates/tidegate/tests/it/hostile.rs`).
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

fn read(text: &str) -> Result<(Parts, usize, usize), NotForHere> {
    read_request(&Bytes::copy_from_slice(text.as_bytes()))
}

#[test]
fn a_call_of_known_length_is_taken() {
    let head = "POST /v1/chat/completions?a=b HTTP/1.1\r\nHost: h\r\nX-Odd: 1\r\nConnection: Keep-Alive\r\n\
                Content-Length: 7\r\n\r\n";
    let (parts, size, length) = read(&format!("{head}{{}}")).unwrap();
    assert_eq!((size, length), (head.len(), 7));
    assert_eq!((parts.uri.path(), parts.uri.query()), ("/v1/chat/completions", Some("a=b")));
    assert_eq!(parts.version, http::Version::HTTP_11);
    assert_eq!(parts.headers["x-odd"], "1");
}

#[test]
fn everything_else_is_left_alone() {
    let call = |line: &str, headers: &str| read(&format!("{line}\r\nhost: h\r\n{headers}\r\n"));
    let post = "POST /v1/chat/completions HTTP/1.1";
    let sized = "content-length: 2\r\n";
    assert!(call(post, sized).is_ok());
    for line in [
        "GET /v1/models HTTP/1.1",
        "GET /v1/chat/completions HTTP/1.1",
        "POST /v1/chat/completions HTTP/1.0",
        "POST http://h/v1/chat/completions HTTP/1.1",
        "POST /api/keys HTTP/1.1",
        "POST /nowhere HTTP/1.1",
        "POST * HTTP/1.1",
    ] {
        assert!(call(line, sized).is_err(), "{line}");
    }
    for headers in [
        "",
        "content-length: 65537\r\n",
        "transfer-encoding: chunked\r\n",
        "content-length: 2\r\nexpect: 100-continue\r\n",
        "content-length: 2\r\nupgrade: h2c\r\n",
        "content-length: 2\r\nconnection: close\r\n",
        "content-length: 2\r\nconnection: keep-alive, x-hop\r\n",
        "content-length: 2",
    ] {
        assert!(call(post, headers).is_err(), "{headers}");
    }
    assert!(read("\r\n").is_err());
}

#[test]
fn chunks_and_dates_are_written_as_the_standards_have_them() {
    for (size, text) in [(1, "1\r\n"), (15, "f\r\n"), (16, "10\r\n"), (0xabc_def, "abcdef\r\n")] {
        let mut out = BytesMut::new();
        put_size(&mut out, size);
        assert_eq!(out, text);
    }
    for (seconds, text) in [
        (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
        (1_709_208_000, "Thu, 29 Feb 2024 12:00:00 GMT"),
    ] {
        assert_eq!(http_date(Timestamp::from_millis(seconds * 1000)), text);
    }
}
