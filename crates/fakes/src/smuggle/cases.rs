//! The corpus. Each case is written as it goes over the wire, so that a reader sees what the server sees.

use super::{Case, Expect, Target};

/// Every case for a target.
#[must_use]
pub fn corpus(target: &Target) -> Vec<Case> {
    let mut cases = lengths(target);
    cases.extend(codings(target));
    cases.extend(headers(target));
    cases.extend(lines(target));
    cases.extend(chunks(target));
    cases.extend(others(target));
    cases
}

const PATH: &str = "/v1/chat/completions";

fn body(model: &str) -> String {
    format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"hi"}}]}}"#)
}

/// The request that must never be executed.
fn canary(target: &Target) -> String {
    let body = body(Case::canary_model());
    let (addr, key, length) = (target.addr, &target.key, body.len());
    format!(
        "POST {PATH} HTTP/1.1\r\nhost: {addr}\r\nauthorization: Bearer {key}\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

/// A request line and the headers of a good request, without those about the body and without the empty line.
fn head(target: &Target) -> String {
    let (addr, key) = (target.addr, &target.key);
    format!(
        "POST {PATH} HTTP/1.1\r\nhost: {addr}\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n"
    )
}

fn chunked(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n0\r\n\r\n", text.len())
}

fn case(name: &'static str, expect: Expect, says: &'static str, bytes: impl Into<Vec<u8>>) -> Case {
    Case { name, says, bytes: bytes.into(), expect }
}

/// Content-Length in all its lies.
fn lengths(target: &Target) -> Vec<Case> {
    let (head, good, canary) = (head(target), body(&target.model), canary(target));
    let n = good.len();
    let with = |length: &str| format!("{head}{length}\r\n{good}{canary}");
    let refuse = |name, says, length: String| case(name, Expect::Refuse, says, with(&length));
    vec![
        refuse(
            "two_lengths",
            "two different Content-Length",
            format!("content-length: {n}\r\ncontent-length: {}\r\n", n + canary.len()),
        ),
        refuse(
            "length_list",
            "two values in one Content-Length",
            format!("content-length: {n}, {}\r\n", n + 1),
        ),
        refuse("length_plus", "a sign before the length", format!("content-length: +{n}\r\n")),
        refuse("length_minus", "a negative length", "content-length: -1\r\n".to_owned()),
        refuse("length_hex", "a hexadecimal length", format!("content-length: 0x{n:x}\r\n")),
        refuse("length_huge", "a length over 2^64", "content-length: 18446744073709551617\r\n".to_owned()),
        refuse(
            "length_space",
            "a space within the length",
            format!("content-length: {} {}\r\n", n / 10, n % 10),
        ),
        refuse("length_empty", "an empty length", "content-length:\r\n".to_owned()),
        refuse("length_letters", "a length with letters after it", format!("content-length: {n}abc\r\n")),
    ]
}

/// Transfer-Encoding against Content-Length, and disguised.
fn codings(target: &Target) -> Vec<Case> {
    let (head, good, canary) = (head(target), body(&target.model), canary(target));
    let chunks = chunked(&good);
    let refuse = |name, says, lines: String| {
        case(name, Expect::Refuse, says, format!("{head}{lines}\r\n{chunks}{canary}"))
    };
    let whole = chunks.len() + canary.len();
    let mut cases = vec![
        refuse(
            "cl_te",
            "a length that covers the canary, and chunks that do not",
            format!("content-length: {whole}\r\ntransfer-encoding: chunked\r\n"),
        ),
        refuse(
            "te_cl",
            "the same in the other order",
            format!("transfer-encoding: chunked\r\ncontent-length: {whole}\r\n"),
        ),
        refuse(
            "te_cl_short",
            "chunks, and a length of 4",
            "transfer-encoding: chunked\r\ncontent-length: 4\r\n".to_owned(),
        ),
        refuse(
            "te_identity",
            "chunked, then identity",
            "transfer-encoding: chunked, identity\r\n".to_owned(),
        ),
        refuse(
            "te_twice",
            "chunked and identity in two headers",
            "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n".to_owned(),
        ),
        refuse(
            "te_chunked_twice",
            "chunked in two headers, and a length that covers the canary",
            format!(
                "content-length: {whole}\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n"
            ),
        ),
        refuse(
            "te_tab_cl",
            "a tab before chunked, and a length that covers the canary",
            format!("content-length: {whole}\r\ntransfer-encoding:\tchunked\r\n"),
        ),
        refuse("te_xchunked", "xchunked", "transfer-encoding: xchunked\r\n".to_owned()),
        refuse("te_chunkedx", "chunked with a letter after it", "transfer-encoding: chunkedx\r\n".to_owned()),
        refuse(
            "te_vertical_tab",
            "a vertical tab before chunked",
            "transfer-encoding: \u{b}chunked\r\n".to_owned(),
        ),
        refuse("te_quoted", "chunked in quotes", "transfer-encoding: \"chunked\"\r\n".to_owned()),
        refuse("te_gzip", "gzip before chunked", "transfer-encoding: gzip\r\n".to_owned()),
        refuse("te_space_name", "a space before the colon", "transfer-encoding : chunked\r\n".to_owned()),
        refuse(
            "te_underscore",
            "an underscore for the dash, and a length that covers the canary",
            format!("content-length: {whole}\r\ntransfer_encoding: chunked\r\ntransfer-encoding: \r\n"),
        ),
    ];
    let old = head.replacen("HTTP/1.1", "HTTP/1.0", 1);
    let text = format!("{old}transfer-encoding: chunked\r\nconnection: keep-alive\r\n\r\n{chunks}{canary}");
    cases.push(case("http10_te", Expect::Refuse, "chunks in HTTP/1.0", text));
    let text = format!(
        "{old}content-length: {}\r\ntransfer-encoding: chunked\r\n\r\n{chunks}{canary}",
        chunks.len()
    );
    cases.push(case("http10_cl_te", Expect::Refuse, "length and chunks in HTTP/1.0", text));
    cases
}

/// Header syntax.
fn headers(target: &Target) -> Vec<Case> {
    let (head, good) = (head(target), body(&target.model));
    let n = good.len();
    let refuse = |name, says, line: &[u8]| {
        let tail = format!("content-length: {n}\r\n\r\n{good}");
        case(name, Expect::Refuse, says, [head.as_bytes(), line, tail.as_bytes()].concat())
    };
    vec![
        refuse("space_colon", "a space before a colon", b"x-odd : 1\r\n"),
        refuse("no_colon", "a line without a colon", b"x-odd\r\n"),
        refuse("empty_name", "a header without a name", b": 1\r\n"),
        refuse("obs_fold", "a continued line", b"x-odd: 1\r\n 2\r\n"),
        refuse("nul_value", "a NUL in a value", b"x-odd: a\0b\r\n"),
        refuse("nul_name", "a NUL in a name", b"x-\0dd: 1\r\n"),
        refuse("cr_value", "a lone carriage return in a value", b"x-odd: a\rb\r\n"),
        refuse("utf8_name", "a name that is not ASCII", "x-\u{f6}dd: 1\r\n".as_bytes()),
        refuse("two_hosts", "two different Host", b"host: elsewhere.example.org\r\n"),
        refuse("first_fold", "a space before the first header of a kind", b" x-odd: 1\r\n"),
        case(
            "no_host",
            Expect::Refuse,
            "no Host",
            format!(
                "POST {PATH} HTTP/1.1\r\nauthorization: Bearer {}\r\ncontent-length: {n}\r\n\r\n{good}",
                target.key
            ),
        ),
    ]
}

/// Line ends and request lines.
fn lines(target: &Target) -> Vec<Case> {
    let (head, good, canary) = (head(target), body(&target.model), canary(target));
    let n = good.len();
    let rest = head.split_once("\r\n").map_or("", |(_, rest)| rest);
    let tail = format!("{rest}content-length: {n}\r\n\r\n{good}");
    vec![
        case(
            "bare_lf_head",
            Expect::Refuse,
            "a bare line feed ends a header",
            format!("{head}x-odd: 1\ncontent-length: {n}\r\n\r\n{good}"),
        ),
        case(
            "bare_lf_end",
            Expect::Refuse,
            "bare line feeds end the head, then the canary",
            format!("{head}content-length: 0\n\n{canary}"),
        ),
        case("bad_version", Expect::Refuse, "HTTP/1.2", format!("POST {PATH} HTTP/1.2\r\n{tail}")),
        case("odd_version", Expect::Refuse, "HTTP/9.9x", format!("POST {PATH} HTTP/9.9x\r\n{tail}")),
        case(
            "two_spaces",
            Expect::Refuse,
            "two spaces in the request line",
            format!("POST {PATH}  HTTP/1.1\r\n{tail}"),
        ),
        case(
            "bad_method",
            Expect::Refuse,
            "a method that is not a token",
            format!("PO(ST {PATH} HTTP/1.1\r\n{tail}"),
        ),
        case("nul_path", Expect::Refuse, "a NUL in the path", format!("POST {PATH}\0 HTTP/1.1\r\n{tail}")),
    ]
}

/// The chunked coding itself.
fn chunks(target: &Target) -> Vec<Case> {
    let (good, canary) = (body(&target.model), canary(target));
    let head = format!("{}transfer-encoding: chunked\r\n\r\n", head(target));
    let n = good.len();
    let refuse = |name, says, rest: String| case(name, Expect::Refuse, says, format!("{head}{rest}"));
    let at_most_one = |name, says, rest: String| case(name, Expect::AtMostOne, says, format!("{head}{rest}"));
    vec![
        refuse("chunk_minus", "a negative chunk size", format!("-1\r\n{good}\r\n0\r\n\r\n{canary}")),
        refuse("chunk_0x", "a chunk size with 0x", format!("0x{n:x}\r\n{good}\r\n0\r\n\r\n{canary}")),
        refuse("chunk_plus", "a chunk size with a sign", format!("+{n:x}\r\n{good}\r\n0\r\n\r\n{canary}")),
        refuse(
            "chunk_overflow",
            "a chunk size that wraps to a small one",
            format!("1{n:016x}\r\n{good}\r\n0\r\n\r\n{canary}"),
        ),
        refuse(
            "chunk_short",
            "more bytes than the chunk says",
            format!("{:x}\r\n{good}\r\n0\r\n\r\n{canary}", n - 5),
        ),
        refuse(
            "chunk_bare_lf",
            "a bare line feed after the size",
            format!("{n:x}\n{good}\r\n0\r\n\r\n{canary}"),
        ),
        refuse("chunk_no_end", "a chunk without its line end", format!("{n:x}\r\n{good}XX0\r\n\r\n{canary}")),
        refuse(
            "chunk_extension_flood",
            "a chunk extension of 256 KiB",
            format!("{n:x};{}\r\n{good}\r\n0\r\n\r\n{canary}", "a=b;".repeat(64 << 10)),
        ),
        refuse(
            "chunk_extension_lf",
            "a bare line feed within an extension",
            format!("{n:x};a\nb\r\n{good}\r\n0\r\n\r\n{canary}"),
        ),
        case(
            "trailer",
            Expect::One,
            "trailers that would be headers: another key, a length that covers nothing",
            format!(
                "{head}{n:x}\r\n{good}\r\n0\r\nauthorization: Bearer other\r\ncontent-length: 0\r\nx-tidegate-user: x\r\n\r\n"
            ),
        ),
        at_most_one(
            "trailer_broken",
            "a trailer that is not a header",
            format!("{n:x}\r\n{good}\r\n0\r\nno colon here\0\r\n\r\n{canary}"),
        ),
    ]
}

/// What is allowed, and must be read as exactly what it is.
fn others(target: &Target) -> Vec<Case> {
    let (head, good, canary) = (head(target), body(&target.model), canary(target));
    let (n, addr, key) = (good.len(), target.addr, &target.key);
    let plain = format!("{head}content-length: {n}\r\n\r\n{good}");
    let get = format!("GET /v1/models HTTP/1.1\r\nhost: {addr}\r\nauthorization: Bearer {key}\r\n");
    let covered = canary.len();
    vec![
        case("plain", Expect::One, "a good request", plain.clone()),
        case("pipelined", Expect::Two, "two good requests at once", format!("{plain}{plain}")),
        case(
            "same_length_twice",
            Expect::AtMostOne,
            "Content-Length twice, the same",
            format!("{head}content-length: {n}\r\ncontent-length: {n}\r\n\r\n{good}"),
        ),
        case(
            "body_on_get",
            Expect::One,
            "a GET whose body is the canary",
            format!("{get}content-length: {covered}\r\n\r\n{canary}"),
        ),
        case(
            "upgrade",
            Expect::One,
            "an upgrade that is not offered, with the canary as its first bytes",
            format!(
                "{get}connection: upgrade, close\r\nupgrade: websocket\r\ncontent-length: {covered}\r\n\r\n{canary}"
            ),
        ),
        case(
            "upgrade_h2c",
            Expect::OneThenEnd,
            "an upgrade to HTTP/2 that is not offered, then its preface",
            format!(
                "{get}connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{}",
                "\0\0\0\u{4}\0\0\0\0\0"
            ),
        ),
        case(
            "upgrade_post",
            Expect::OneThenEnd,
            "an upgrade of a call that is answered with 200; after it, bytes for whoever is behind us",
            format!(
                "{head}connection: upgrade\r\nupgrade: websocket\r\ncontent-length: {n}\r\n\r\n{good}\u{1}\u{2}raw bytes of another protocol\r\n\r\n"
            ),
        ),
        case(
            "connection_names_length",
            Expect::One,
            "Connection names headers that the upstream needs",
            format!(
                "{head}connection: close, content-length, host, authorization\r\ncontent-length: {n}\r\n\r\n{good}"
            ),
        ),
        case(
            "refused_then_canary",
            Expect::One,
            "a body that is refused early, which holds the canary",
            format!(
                "POST {PATH} HTTP/1.1\r\nhost: {addr}\r\nauthorization: Bearer wrong\r\ncontent-length: {covered}\r\n\r\n{canary}"
            ),
        ),
    ]
}
