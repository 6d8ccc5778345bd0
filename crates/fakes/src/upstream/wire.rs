//! One connection of the scripted upstream: HTTP/1.1 by hand.
//!
//! A library would put right what a test wants wrong (framing, half answers, resets at an exact byte) and would
//! tell of a client's leaving late. Here every byte out is counted, and while an answer is written or waited for
//! the socket is also read, so that an abort is seen when it happens.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

const MAX_HEAD: usize = 256 << 10;
const MAX_BODY: u64 = 1 << 30;
/// What a client may send ahead while it is answered.
const MAX_AHEAD: usize = 256 << 10;

/// The transports: plain and TLS.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {
    /// Makes closing the socket reset the connection.
    fn close_resets(&self);
}

impl Stream for TcpStream {
    fn close_resets(&self) {
        // Without it the close is orderly, which the test will notice.
        let _ = self.set_zero_linger();
    }
}

impl Stream for tokio_rustls::server::TlsStream<TcpStream> {
    fn close_resets(&self) {
        self.get_ref().0.close_resets();
    }
}

/// The client went away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone {
    pub(super) reset: bool,
}

/// A request as it came, and what is wrong with it.
#[derive(Debug, Default)]
pub(super) struct Received {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
    pub(super) problems: Vec<String>,
    pub(super) keep_alive: bool,
}

/// What reading a request came to.
pub(super) enum Read {
    Request(Received),
    /// The client closed between requests.
    End,
    /// Not HTTP/1.1, or broken off.
    Broken,
}

/// A connection with what was read ahead.
pub(super) struct Wire<S> {
    io: S,
    ahead: BytesMut,
    pub(super) written: u64,
}

impl<S: Stream> Wire<S> {
    pub(super) fn new(io: S) -> Self {
        Self { io, ahead: BytesMut::with_capacity(8 << 10), written: 0 }
    }

    /// Reads one whole request.
    pub(super) async fn read(&mut self) -> io::Result<Read> {
        let head_length = loop {
            if let Some(at) = find(&self.ahead, b"\r\n\r\n") {
                break at + 4;
            }
            if self.ahead.len() > MAX_HEAD {
                return Ok(Read::Broken);
            }
            if self.io.read_buf(&mut self.ahead).await? == 0 {
                return Ok(if self.ahead.is_empty() { Read::End } else { Read::Broken });
            }
        };
        let head = self.ahead.split_to(head_length);
        let Some((mut received, framing)) = parse_head(&head) else { return Ok(Read::Broken) };
        if framing.expects_continue {
            let _ = self.write(b"HTTP/1.1 100 Continue\r\n\r\n").await;
        }
        received.body = match framing.length {
            Length::Chunked => match self.chunked().await? {
                Some(body) => body,
                None => return Ok(Read::Broken),
            },
            Length::Bytes(length) if length > MAX_BODY => return Ok(Read::Broken),
            Length::Bytes(length) => {
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                if !self.fill(length).await? {
                    return Ok(Read::Broken);
                }
                self.ahead.split_to(length).freeze()
            }
        };
        Ok(Read::Request(received))
    }

    async fn fill(&mut self, length: usize) -> io::Result<bool> {
        self.ahead.reserve(length.saturating_sub(self.ahead.len()));
        while self.ahead.len() < length {
            if self.io.read_buf(&mut self.ahead).await? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn chunked(&mut self) -> io::Result<Option<Bytes>> {
        let mut body = BytesMut::new();
        loop {
            let Some(line) = self.line().await? else { return Ok(None) };
            let size =
                std::str::from_utf8(&line).ok().and_then(|line| usize::from_str_radix(line.trim(), 16).ok());
            let Some(size) = size.filter(|size| (*size + body.len()) as u64 <= MAX_BODY) else {
                return Ok(None);
            };
            if size == 0 {
                // Trailers, up to the empty line.
                while let Some(line) = self.line().await? {
                    if line.is_empty() {
                        return Ok(Some(body.freeze()));
                    }
                }
                return Ok(None);
            }
            if !self.fill(size + 2).await? {
                return Ok(None);
            }
            body.extend_from_slice(&self.ahead[..size]);
            self.ahead.advance(size + 2);
        }
    }

    async fn line(&mut self) -> io::Result<Option<BytesMut>> {
        loop {
            if let Some(at) = find(&self.ahead, b"\r\n") {
                let line = self.ahead.split_to(at);
                self.ahead.advance(2);
                return Ok(Some(line));
            }
            if self.ahead.len() > MAX_HEAD || self.io.read_buf(&mut self.ahead).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Writes all of `bytes`, unless the client goes first.
    pub(super) async fn write(&mut self, mut bytes: &[u8]) -> Result<(), Gone> {
        poll_fn(|context| {
            while !bytes.is_empty() {
                match Pin::new(&mut self.io).poll_write(context, bytes) {
                    Poll::Ready(Ok(written)) => {
                        self.written += written as u64;
                        bytes = &bytes[written..];
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(gone_by(&error))),
                    Poll::Pending => return self.poll_gone(context).map(Err),
                }
            }
            Poll::Ready(Ok(()))
        })
        .await?;
        poll_fn(|context| Pin::new(&mut self.io).poll_flush(context)).await.map_err(|error| gone_by(&error))
    }

    /// Waits, unless the client goes first.
    pub(super) async fn wait(&mut self, time: Duration) -> Result<(), Gone> {
        tokio::select! {
            gone = poll_fn(|context| self.poll_gone(context)) => Err(gone),
            () = tokio::time::sleep(time) => Ok(()),
        }
    }

    /// Whether the client has gone by now.
    pub(super) async fn check(&mut self) -> Result<(), Gone> {
        poll_fn(|context| match self.poll_gone(context) {
            Poll::Ready(gone) => Poll::Ready(Err(gone)),
            Poll::Pending => Poll::Ready(Ok(())),
        })
        .await
    }

    /// Ready when the client has gone; what it sends meanwhile is kept for the next request.
    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<Gone> {
        loop {
            if self.ahead.len() > MAX_AHEAD {
                return Poll::Pending;
            }
            let mut space = [0_u8; 4096];
            let mut buffer = ReadBuf::new(&mut space);
            match Pin::new(&mut self.io).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => {
                    return Poll::Ready(Gone { reset: false });
                }
                Poll::Ready(Ok(())) => self.ahead.extend_from_slice(buffer.filled()),
                Poll::Ready(Err(error)) => return Poll::Ready(gone_by(&error)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Ends the connection with a reset.
    pub(super) fn reset(self) {
        self.io.close_resets();
    }
}

fn gone_by(error: &io::Error) -> Gone {
    Gone { reset: error.kind() == io::ErrorKind::ConnectionReset }
}

enum Length {
    Bytes(u64),
    Chunked,
}

struct Framing {
    length: Length,
    expects_continue: bool,
}

/// Headers that are between a client and the gateway only.
const PRIVATE: [&str; 6] =
    ["proxy-authorization", "proxy-connection", "keep-alive", "te", "upgrade", "cookie"];

fn parse_head(head: &[u8]) -> Option<(Received, Framing)> {
    let text = std::str::from_utf8(head).ok()?;
    let mut lines = text.strip_suffix("\r\n\r\n")?.split("\r\n");
    let mut words = lines.next()?.split(' ');
    let (method, path, version) = (words.next()?, words.next()?, words.next()?);
    if words.next().is_some() || !matches!(version, "HTTP/1.1" | "HTTP/1.0") {
        return None;
    }
    let mut received = Received { method: method.to_owned(), path: path.to_owned(), ..Received::default() };
    received.keep_alive = version == "HTTP/1.1";
    let (mut lengths, mut codings, mut expects_continue, mut host) = (Vec::new(), Vec::new(), false, 0);
    for line in lines {
        let (name, value) = line.split_once(':')?;
        let (lower, value) = (name.to_ascii_lowercase(), value.trim_matches([' ', '\t']));
        match lower.as_str() {
            "content-length" => lengths.push(value.to_owned()),
            "transfer-encoding" => codings.push(value.to_ascii_lowercase()),
            "expect" => expects_continue = value.eq_ignore_ascii_case("100-continue"),
            "host" => host += 1,
            "connection" if value.eq_ignore_ascii_case("close") => received.keep_alive = false,
            "connection" if value.eq_ignore_ascii_case("keep-alive") => received.keep_alive = true,
            "connection" => received.problems.push(format!("connection: {value}")),
            lower if PRIVATE.contains(&lower) || lower.starts_with("x-tidegate-") => {
                received.problems.push(format!("header {lower} came through"));
            }
            _ => {}
        }
        received.headers.push((name.to_owned(), value.to_owned()));
    }
    if host != 1 {
        received.problems.push(format!("{host} host headers"));
    }
    let length = framing(&lengths, &codings, &mut received.problems)?;
    Some((received, Framing { length, expects_continue }))
}

fn framing(lengths: &[String], codings: &[String], problems: &mut Vec<String>) -> Option<Length> {
    if lengths.len() + codings.len() > 1 {
        problems.push("several of content-length and transfer-encoding".to_owned());
    }
    match (codings, lengths) {
        ([], []) => Some(Length::Bytes(0)),
        ([], [length, ..]) => length.parse().ok().map(Length::Bytes),
        ([coding, ..], _) if coding == "chunked" => Some(Length::Chunked),
        _ => None,
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_and_judged() {
        let head = b"POST /v1/x HTTP/1.1\r\nHost: a\r\nX-Tidegate-User: u\r\nContent-Length: 3\r\n\r\n";
        let (received, framing) = parse_head(head).unwrap();
        assert_eq!(
            (received.method.as_str(), received.path.as_str(), received.keep_alive),
            ("POST", "/v1/x", true)
        );
        assert_eq!(received.problems, ["header x-tidegate-user came through"]);
        assert!(matches!(framing.length, Length::Bytes(3)));
        let both = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n";
        assert_eq!(parse_head(both).unwrap().0.problems.len(), 1);
        assert!(parse_head(b"POST / HTTP/1.1 x\r\n\r\n").is_none());
        assert!(parse_head(b"POST / HTTP/1.1\r\nno colon\r\n\r\n").is_none());
    }
}
