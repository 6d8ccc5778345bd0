//! Follows the framing of HTTP/1 requests byte by byte and refuses whatever two parsers could read in two ways.
//!
//! hyper is lenient where the standard lets it be: of `Content-Length` beside `Transfer-Encoding` it drops one, it
//! takes bare line feeds, repeated lengths and chunk extensions of any size. Every such leniency is a way to smuggle a
//! request past whatever stands in front of us, so this state machine runs before hyper: what it does not like never
//! reaches the parser. A head is handed on only when it is whole and sound; nearly every head comes in one read, so that
//! costs nothing. It is also held to what hyper would refuse, whose own refusals have no body. No body bytes are kept,
//! and each is looked at most once.

use memchr::{memchr, memmem};

/// The largest head of one request, bytes.
pub(crate) const MAX_HEAD: usize = 64 * 1024;
/// The most header lines of one request: what hyper takes without being told.
pub(crate) const MAX_HEADERS: usize = 100;
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
    #[error("a line ends with a bare line feed or carriage return")]
    BareLineEnd,
    #[error("the head of the request is larger than {MAX_HEAD} bytes or has more than {MAX_HEADERS} lines")]
    HeadTooLarge,
    #[error("a header line is folded, or its name is missing or not a name")]
    HeaderLine,
    #[error("the head holds a control character")]
    Control,
    #[error("content-length is repeated or not a plain number")]
    ContentLength,
    #[error("transfer-encoding is repeated, not `chunked`, or stands beside content-length or HTTP/1.0")]
    TransferEncoding,
    #[error("the request line is not `METHOD TARGET HTTP/1.1`")]
    RequestLine,
    #[error("host is missing or repeated")]
    Host,
    #[error("a chunk of the body is malformed")]
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
    /// Nothing further is read: the head asked for an upgrade, which is never granted, or something was refused.
    Closed,
}

/// What [`Framing::feed`] says of some bytes: `head`, then `from..to` of them, may reach the parser.
#[derive(Debug, Default)]
pub(crate) struct Fed {
    /// A head of which earlier bytes were kept; nearly always empty.
    pub(crate) head: Vec<u8>,
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// What follows is refused, and whether it is a head (else a body).
    pub(crate) refused: Option<(Ambiguity, bool)>,
}

/// What becomes of the next bytes.
enum Step {
    Pass(usize),
    /// Not needed by anybody.
    Skip(usize),
    /// A kept head is whole, with so many of these bytes.
    Release(Vec<u8>, usize),
    /// All of the rest is kept.
    Keep,
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

    /// Nothing further may reach the parser.
    pub(crate) fn close(&mut self) {
        self.state = State::Closed;
        self.partial = Vec::new();
    }

    /// Follows `bytes` and says what of them may reach the parser. What belongs to a head that is not whole yet is kept
    /// here until it is. After a refusal nothing more passes.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Fed {
        let mut fed = Fed::default();
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let step = match self.state {
                State::Head => self.head(rest),
                State::Sized(left) => Ok(Step::Pass(self.sized(left, rest))),
                State::ChunkData(left) => Ok(Step::Pass(self.chunk_data(left, rest))),
                State::ChunkSize => self.chunk_size(rest).map(Step::Pass),
                State::ChunkEnd => self.chunk_end(rest).map(Step::Pass),
                State::Trailers { total } => self.trailers(total, rest).map(Step::Pass),
                State::Closed => return fed,
            };
            match step {
                Ok(Step::Pass(used)) => at += used,
                Ok(Step::Release(head, used)) => {
                    at += used;
                    (fed.head, fed.from) = (head, at);
                }
                Ok(Step::Skip(used)) => {
                    at += used;
                    fed.from = at;
                }
                Ok(Step::Keep) => return fed,
                Err(ambiguity) => {
                    let of_head = matches!(self.state, State::Head);
                    self.close();
                    fed.refused = Some((ambiguity, of_head));
                    return fed;
                }
            }
            fed.to = at;
        }
        fed
    }

    fn head(&mut self, rest: &[u8]) -> Result<Step, Ambiguity> {
        if self.partial.is_empty() {
            // Empty lines before a request line are allowed by RFC 9112 §2.2 and skipped by every parser alike.
            if rest.starts_with(b"\r\n") {
                return Ok(Step::Pass(2));
            }
            if let Some(end) = memmem::find(rest, b"\r\n\r\n") {
                let head = &rest[..end + 4];
                if head.len() > MAX_HEAD {
                    return Err(Ambiguity::HeadTooLarge);
                }
                self.begin(head)?;
                return Ok(Step::Pass(end + 4));
            }
            // What is no HTTP at all is not waited for.
            if rest[0] != b'\r' && !IS_TOKEN[usize::from(rest[0])] {
                return Err(Ambiguity::RequestLine);
            }
            refuse_bare_line_feed(rest, None)?;
        }
        let before = self.partial.len();
        let seam = before.saturating_sub(3);
        let last = self.partial.last().copied();
        self.partial.extend_from_slice(&rest[..rest.len().min(MAX_HEAD + 1 - before.min(MAX_HEAD))]);
        if self.partial.starts_with(b"\r\n") {
            self.partial.clear();
            return Ok(Step::Skip(2 - before));
        }
        if let Some(end) = memmem::find(&self.partial[seam..], b"\r\n\r\n") {
            let length = seam + end + 4;
            if length > MAX_HEAD {
                return Err(Ambiguity::HeadTooLarge);
            }
            let mut head = std::mem::take(&mut self.partial);
            head.truncate(length);
            self.begin(&head)?;
            return Ok(Step::Release(head, length - before));
        }
        refuse_bare_line_feed(rest, last)?;
        if self.partial.len() > MAX_HEAD {
            return Err(Ambiguity::HeadTooLarge);
        }
        Ok(Step::Keep)
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
        } else {
            // Half of a line goes on to the parser, which must not be the first to find fault with it.
            let half = self.partial.strip_suffix(b"\r").unwrap_or(&self.partial);
            if !half.is_empty() || half.len() < self.partial.len() {
                read_chunk_size(half)?;
            }
        }
        Ok(used)
    }

    fn chunk_end(&mut self, rest: &[u8]) -> Result<usize, Ambiguity> {
        let (used, whole) = self.line(rest, 2)?;
        if whole && self.partial.is_empty() {
            self.state = State::ChunkSize;
        } else if self.partial != b"\r" {
            return Err(Ambiguity::Chunk);
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
    if name.is_empty() || !is_token(name) {
        return Err(Ambiguity::HeaderLine);
    }
    Ok((name, &line[colon + 1..]))
}

fn trim_spaces(value: &[u8]) -> &[u8] {
    let start = value.iter().position(|b| *b != b' ').unwrap_or(value.len());
    let end = value.iter().rposition(|b| *b != b' ').map_or(start, |at| at + 1);
    &value[start..end]
}

/// Which bytes a method or a header's name may hold (RFC 9110 §5.6.2).
static IS_TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            );
        byte += 1;
    }
    table
};

fn is_token(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| IS_TOKEN[usize::from(*byte)])
}

/// Control characters have no place in a head, but for a tab and the ends of its lines. No early end: the compiler
/// makes it a few instructions for 16 bytes.
fn has_control(head: &[u8]) -> bool {
    let bad = |byte: u8| (byte < b' ' && !matches!(byte, b'\t' | b'\r' | b'\n')) | (byte == 0x7f);
    head.iter().fold(false, |any, byte| any | bad(*byte))
}

/// `METHOD TARGET`, without the version: one space between, and a target that the parser will take.
fn check_request_line(line: &[u8]) -> Result<(), Ambiguity> {
    let space = memchr(b' ', line).ok_or(Ambiguity::RequestLine)?;
    let (method, target) = (&line[..space], &line[space + 1..]);
    if method.is_empty() || !is_token(method) || target.is_empty() {
        return Err(Ambiguity::RequestLine);
    }
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/-._~%=&+:,;@!$'()*?".contains(byte);
    if target[0] == b'/' && target.iter().all(plain) {
        return Ok(());
    }
    // Rare: whatever else a target may be, the parser's own reading decides.
    http::Uri::try_from(target).map(drop).map_err(|_| Ambiguity::RequestLine)
}

/// What a head says about the framing of its request.
struct Head {
    chunked: bool,
    length: u64,
    upgrade: bool,
}

/// Reads a whole head (with its empty line).
fn read_head(head: &[u8]) -> Result<Head, Ambiguity> {
    if has_control(head) {
        return Err(Ambiguity::Control);
    }
    let mut lines = Lines { rest: &head[..head.len() - 2] };
    let request_line = lines.next().ok_or(Ambiguity::RequestLine)??;
    let (asked, http_11) =
        match (request_line.strip_suffix(b" HTTP/1.1"), request_line.strip_suffix(b" HTTP/1.0")) {
            (Some(asked), _) => (asked, true),
            (None, Some(asked)) => (asked, false),
            (None, None) => return Err(Ambiguity::RequestLine),
        };
    check_request_line(asked)?;
    let (mut length, mut chunked, mut upgrade, mut hosts) = (None, false, false, 0);
    for (count, line) in lines.enumerate() {
        if count == MAX_HEADERS {
            return Err(Ambiguity::HeadTooLarge);
        }
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
#[path = "framing/tests.rs"]
mod tests;
