//! Follows the framing of HTTP/1 requests byte by byte and refuses whatever two parsers could read in two ways.
//!
//! hyper is lenient where the standard lets it be: of `Content-Length` beside `Transfer-Encoding` it drops one, it
//! takes bare line feeds, repeated lengths and chunk extensions of any size. Every such leniency is a way to smuggle a
//! request past whatever stands in front of us, so this state machine runs before hyper: what it does not like never
//! reaches the parser. It keeps no body bytes and looks at each body byte at most once.

use memchr::{memchr, memmem};

/// The largest head of one request, bytes.
pub(crate) const MAX_HEAD: usize = 64 * 1024;
const MAX_CHUNK_LINE: usize = 256;
const MAX_TRAILERS: usize = 8 * 1024;

/// What the connection is in the middle of.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum Phase {
    /// Between two requests: nothing of the next has come.
    Idle,
    /// Some of a head has come.
    Head,
    /// A body is on its way.
    Body,
}

/// Why the bytes were refused.
#[derive(Copy, Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Ambiguity {
    #[error("line ends with a bare line feed or carriage return")]
    BareLineEnd,
    #[error("head is larger than {MAX_HEAD} bytes")]
    HeadTooLarge,
    #[error("header line is folded or has no name")]
    HeaderLine,
    #[error("content-length is repeated or not a plain number")]
    ContentLength,
    #[error("transfer-encoding is repeated, not `chunked`, or stands beside content-length or HTTP/1.0")]
    TransferEncoding,
    #[error("request line is not HTTP/1.0 or HTTP/1.1")]
    RequestLine,
    #[error("host is missing or repeated")]
    Host,
    #[error("chunk is malformed")]
    Chunk,
}

#[derive(Debug)]
enum State {
    Head,
    Sized(u64),
    ChunkSize,
    ChunkData(u64),
    ChunkEnd,
    Trailers {
        total: usize,
    },
    /// Nothing further is read: the head asked for an upgrade, which is never granted, or was refused.
    Closed,
}

/// The framing of one connection.
#[derive(Debug)]
pub(crate) struct Framing {
    state: State,
    /// A head, chunk-size line or trailer line whose end has not come yet.
    partial: Vec<u8>,
    /// The present request asked for an upgrade: nothing that follows it is read.
    last: bool,
    requests: u64,
}

impl Framing {
    pub(crate) fn new() -> Self {
        Self { state: State::Head, partial: Vec::new(), last: false, requests: 0 }
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.state {
            State::Head if self.partial.is_empty() => Phase::Idle,
            State::Head => Phase::Head,
            State::Closed => Phase::Idle,
            _ => Phase::Body,
        }
    }

    /// True when no byte that follows may reach the parser.
    pub(crate) fn closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Heads seen whole.
    #[cfg(test)]
    pub(crate) fn requests(&self) -> u64 {
        self.requests
    }

    /// Follows `bytes`; returns how many of them may reach the parser. On refusal the bytes before the offending
    /// message are told with it.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<usize, (usize, Ambiguity)> {
        let mut at = 0;
        while at < bytes.len() {
            let start = at;
            let rest = &bytes[at..];
            let step = match self.state {
                State::Head => self.head(rest),
                State::Sized(left) => Ok(self.sized(left, rest)),
                State::ChunkData(left) => Ok(self.chunk_data(left, rest)),
                State::ChunkSize => self.chunk_size(rest),
                State::ChunkEnd => self.chunk_end(rest),
                State::Trailers { total } => self.trailers(total, rest),
                State::Closed => return Ok(at),
            };
            match step {
                Ok(used) => at += used,
                Err(ambiguity) => {
                    self.state = State::Closed;
                    return Err((start, ambiguity));
                }
            }
        }
        Ok(at)
    }

    fn head(&mut self, rest: &[u8]) -> Result<usize, Ambiguity> {
        if self.partial.is_empty() {
            // Empty lines before a request line are allowed by RFC 9112 §2.2 and skipped by every parser alike.
            if rest.starts_with(b"\r\n") {
                return Ok(2);
            }
            if let Some(end) = memmem::find(rest, b"\r\n\r\n") {
                let head = &rest[..end + 4];
                if head.len() > MAX_HEAD {
                    return Err(Ambiguity::HeadTooLarge);
                }
                self.begin(head)?;
                return Ok(end + 4);
            }
            refuse_bare_line_feed(rest, None)?;
        }
        let before = self.partial.len();
        let seam = before.saturating_sub(3);
        let last = self.partial.last().copied();
        self.partial.extend_from_slice(&rest[..rest.len().min(MAX_HEAD + 1 - before.min(MAX_HEAD))]);
        if self.partial.starts_with(b"\r\n") {
            self.partial.clear();
            return Ok(2 - before);
        }
        if let Some(end) = memmem::find(&self.partial[seam..], b"\r\n\r\n") {
            let length = seam + end + 4;
            if length > MAX_HEAD {
                return Err(Ambiguity::HeadTooLarge);
            }
            let head = std::mem::take(&mut self.partial);
            self.begin(&head[..length])?;
            return Ok(length - before);
        }
        refuse_bare_line_feed(rest, last)?;
        if self.partial.len() > MAX_HEAD {
            return Err(Ambiguity::HeadTooLarge);
        }
        Ok(rest.len())
    }

    fn begin(&mut self, head: &[u8]) -> Result<(), Ambiguity> {
        let read = read_head(head)?;
        self.requests += 1;
        self.last = read.upgrade;
        self.state = match (read.chunked, read.length) {
            (true, _) => State::ChunkSize,
            (false, 0) => self.after(),
            (false, length) => State::Sized(length),
        };
        Ok(())
    }

    /// The state behind a whole request.
    fn after(&self) -> State {
        if self.last { State::Closed } else { State::Head }
    }

    fn sized(&mut self, left: u64, rest: &[u8]) -> usize {
        let used = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
        let left = left - used as u64;
        self.state = if left == 0 { self.after() } else { State::Sized(left) };
        used
    }

    fn chunk_data(&mut self, left: u64, rest: &[u8]) -> usize {
        let used = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
        let left = left - used as u64;
        self.state = if left == 0 { State::ChunkEnd } else { State::ChunkData(left) };
        used
    }

    /// One line into `partial`; `Some(used)` when it is whole (without its line end).
    fn line(&mut self, rest: &[u8], limit: usize) -> Result<(usize, bool), Ambiguity> {
        let (used, whole) = match memchr(b'\n', rest) {
            Some(at) => (at + 1, true),
            None => (rest.len(), false),
        };
        if self.partial.len() + used > limit {
            return Err(Ambiguity::Chunk);
        }
        self.partial.extend_from_slice(&rest[..used]);
        if whole {
            if !self.partial.ends_with(b"\r\n") {
                return Err(Ambiguity::BareLineEnd);
            }
            let length = self.partial.len() - 2;
            self.partial.truncate(length);
            if memchr(b'\r', &self.partial).is_some() {
                return Err(Ambiguity::BareLineEnd);
            }
        }
        Ok((used, whole))
    }

    fn chunk_size(&mut self, rest: &[u8]) -> Result<usize, Ambiguity> {
        let (used, whole) = self.line(rest, MAX_CHUNK_LINE)?;
        if whole {
            let size = read_chunk_size(&self.partial)?;
            self.partial.clear();
            self.state = if size == 0 { State::Trailers { total: 0 } } else { State::ChunkData(size) };
        }
        Ok(used)
    }

    fn chunk_end(&mut self, rest: &[u8]) -> Result<usize, Ambiguity> {
        let (used, whole) = self.line(rest, 2)?;
        if whole {
            if !self.partial.is_empty() {
                return Err(Ambiguity::Chunk);
            }
            self.state = State::ChunkSize;
        }
        Ok(used)
    }

    fn trailers(&mut self, total: usize, rest: &[u8]) -> Result<usize, Ambiguity> {
        let (used, whole) = self.line(rest, MAX_TRAILERS - total.min(MAX_TRAILERS))?;
        if whole {
            let line = std::mem::take(&mut self.partial);
            if line.is_empty() {
                self.state = self.after();
            } else {
                let (name, _) = split_header(&line)?;
                // A trailer that speaks of framing or routing has no honest use.
                let forbidden: [&[u8]; 3] = [b"content-length", b"transfer-encoding", b"host"];
                if forbidden.iter().any(|f| name.eq_ignore_ascii_case(f)) {
                    return Err(Ambiguity::Chunk);
                }
                self.state = State::Trailers { total: total + line.len() + 2 };
            }
        }
        Ok(used)
    }
}

/// A line feed that no carriage return precedes, found before the head is whole: waiting for the rest would let a
/// lenient reader see a request where we see half of one.
fn refuse_bare_line_feed(bytes: &[u8], mut previous: Option<u8>) -> Result<(), Ambiguity> {
    let mut from = 0;
    while let Some(at) = memchr(b'\n', &bytes[from..]) {
        let at = from + at;
        if at > 0 {
            previous = Some(bytes[at - 1]);
        }
        if previous != Some(b'\r') {
            return Err(Ambiguity::BareLineEnd);
        }
        from = at + 1;
    }
    Ok(())
}

fn read_chunk_size(line: &[u8]) -> Result<u64, Ambiguity> {
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    let extension = &line[digits..];
    let plain = extension.is_empty() || extension[0] == b';';
    if digits == 0 || digits > 15 || !plain {
        return Err(Ambiguity::Chunk);
    }
    let text = std::str::from_utf8(&line[..digits]).map_err(|_| Ambiguity::Chunk)?;
    u64::from_str_radix(text, 16).map_err(|_| Ambiguity::Chunk)
}

fn split_header(line: &[u8]) -> Result<(&[u8], &[u8]), Ambiguity> {
    let colon = memchr(b':', line).ok_or(Ambiguity::HeaderLine)?;
    let name = &line[..colon];
    // Folded lines begin with white space; a space before the colon is read differently by different parsers.
    if name.is_empty() || name.iter().any(|b| b.is_ascii_whitespace() || b.is_ascii_control()) {
        return Err(Ambiguity::HeaderLine);
    }
    Ok((name, &line[colon + 1..]))
}

fn trim_spaces(value: &[u8]) -> &[u8] {
    let start = value.iter().position(|b| *b != b' ').unwrap_or(value.len());
    let end = value.iter().rposition(|b| *b != b' ').map_or(start, |at| at + 1);
    &value[start..end]
}

/// What a head says about the framing of its request.
struct Head {
    chunked: bool,
    length: u64,
    upgrade: bool,
}

/// Reads a whole head (with its empty line).
fn read_head(head: &[u8]) -> Result<Head, Ambiguity> {
    let mut lines = Lines { rest: &head[..head.len() - 2] };
    let request_line = lines.next().ok_or(Ambiguity::RequestLine)??;
    let http_11 = match request_line {
        line if line.ends_with(b" HTTP/1.1") => true,
        line if line.ends_with(b" HTTP/1.0") => false,
        _ => return Err(Ambiguity::RequestLine),
    };
    let (mut length, mut chunked, mut upgrade, mut hosts) = (None, false, false, 0);
    for line in lines {
        let (name, value) = split_header(line?)?;
        match name.len() {
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let repeated = length.replace(read_length(value)?).is_some();
                if repeated {
                    return Err(Ambiguity::ContentLength);
                }
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if chunked || !http_11 || !trim_spaces(value).eq_ignore_ascii_case(b"chunked") {
                    return Err(Ambiguity::TransferEncoding);
                }
                chunked = true;
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => upgrade = true,
            4 if name.eq_ignore_ascii_case(b"host") => hosts += 1,
            _ => {}
        }
    }
    // RFC 9112 §3.2: exactly one, but that HTTP/1.0 may leave it out.
    if hosts > 1 || (http_11 && hosts == 0) {
        return Err(Ambiguity::Host);
    }
    if chunked && length.is_some() {
        return Err(Ambiguity::TransferEncoding);
    }
    Ok(Head { chunked, length: length.unwrap_or(0), upgrade })
}

fn read_length(value: &[u8]) -> Result<u64, Ambiguity> {
    let digits = trim_spaces(value);
    if digits.is_empty() || digits.len() > 18 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Ambiguity::ContentLength);
    }
    Ok(digits.iter().fold(0, |sum, d| sum * 10 + u64::from(d - b'0')))
}

/// Lines of a head, each ended by CR LF and by nothing else.
struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Lines<'a> {
    type Item = Result<&'a [u8], Ambiguity>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let Some(at) = memchr::memchr2(b'\n', b'\r', self.rest) else {
            return Some(Err(Ambiguity::BareLineEnd));
        };
        if self.rest[at] == b'\n' || self.rest.get(at + 1) != Some(&b'\n') {
            return Some(Err(Ambiguity::BareLineEnd));
        }
        let line = &self.rest[..at];
        self.rest = &self.rest[at + 2..];
        Some(Ok(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn outcome(bytes: &[u8], split: usize) -> (Result<(), Ambiguity>, u64) {
        let mut framing = Framing::new();
        for piece in bytes.chunks(split.max(1)) {
            if let Err((_, ambiguity)) = framing.feed(piece) {
                return (Err(ambiguity), framing.requests());
            }
        }
        (Ok(()), framing.requests())
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
        let passed = framing.feed(bytes).unwrap_or_default();
        assert_eq!(passed, 47);
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
        }
    }
}
