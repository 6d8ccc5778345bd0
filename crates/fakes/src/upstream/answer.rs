//! Sending one answer: head, body in its framing, faults at their place, and the truth about all of it.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use super::openai::{self, Item, Made};
use super::wire::{Gone, Stream, Wire};
use super::{bombs, gzip};
use crate::journal::{Abort, End, Tokens};
use crate::plan::{Fault, Plan};
use crate::random::micros;

/// How long a silent answer is held before its connection is closed: every wait has an end.
const SILENCE: Duration = Duration::from_secs(600);
/// Events sent together are gathered up to this.
const GATHER: usize = 16 << 10;

/// What happens to the connection after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Next,
    Close,
    Reset,
}

/// Why an answer stopped before its end.
enum Stop {
    Gone(Gone),
    Then(Then),
}

impl From<Gone> for Stop {
    fn from(gone: Gone) -> Self {
        Self::Gone(gone)
    }
}

/// An answer on its way out.
pub(super) struct Answer<'a, S> {
    pub(super) wire: &'a mut Wire<S>,
    pub(super) plan: &'a Plan,
    pub(super) end: &'a mut End,
    /// When the request was whole.
    pub(super) since: i64,
    pub(super) number: u64,
    chunked: bool,
    gathered: BytesMut,
    /// Events and tokens in `gathered`.
    held: (u64, u64, Option<Tokens>),
    body_sent: u64,
}

impl<'a, S: Stream> Answer<'a, S> {
    pub(super) fn new(
        wire: &'a mut Wire<S>,
        plan: &'a Plan,
        end: &'a mut End,
        since: i64,
        number: u64,
    ) -> Self {
        let gathered = BytesMut::new();
        Self { wire, plan, end, since, number, chunked: false, gathered, held: (0, 0, None), body_sent: 0 }
    }

    /// Sends the answer that the plan makes of `made`; `truth` is what a whole answer is billed.
    pub(super) async fn send(mut self, made: Made, truth: Tokens) -> Then {
        let before = self.wire.written;
        let sent = self.run(made, truth).await;
        self.end.bytes_out = self.wire.written - before;
        let good = self.plan.status < 400;
        let (complete, then) = match sent {
            Ok(then) => (good && !matches!(self.plan.fault, Some(Fault::Error(_))), then),
            Err(Stop::Then(then)) => (false, then),
            Err(Stop::Gone(gone)) => {
                self.end.aborted = Some(Abort { at: micros(), reset: gone.reset });
                (false, Then::Close)
            }
        };
        self.end.complete = complete;
        self.end.truth = if !good || !self.plan.bills {
            Tokens::default()
        } else if complete || (self.end.aborted.is_some() && !self.plan.abort_stops_billing) {
            truth
        } else {
            let made = self.end.truth.output;
            let thought = if made > 0 { truth.reasoning } else { 0 };
            Tokens { output: made + thought, reasoning: thought, ..truth }
        };
        then
    }

    async fn run(&mut self, made: Made, truth: Tokens) -> Result<Then, Stop> {
        self.wire.wait(Duration::from_millis(self.plan.first)).await?;
        match self.plan.fault {
            Some(Fault::Hang) => {
                self.wire.wait(SILENCE).await?;
                return Err(Stop::Then(Then::Close));
            }
            Some(Fault::ResetAtOnce) => return Err(Stop::Then(Then::Reset)),
            Some(Fault::CloseAtOnce) => return Err(Stop::Then(Then::Close)),
            _ => {}
        }
        let plan = self.plan;
        if plan.status >= 400 {
            let body = plan.body.clone().unwrap_or_else(|| openai::error(plan.status));
            return self.whole(body.into(), "application/json", None).await;
        }
        match (&plan.body, made) {
            (Some(body), Made::Whole(..)) => self.whole(body.clone().into(), "application/json", None).await,
            (Some(body), Made::Events(_)) => self.whole(body.clone().into(), EVENTS, None).await,
            (None, Made::Whole(bytes, told)) => {
                self.whole(bytes, "application/json", told).await?;
                self.end.truth = truth;
                Ok(Then::Next)
            }
            (None, Made::Events(mut events)) => {
                self.head(EVENTS, None).await?;
                if plan.huge > 0 {
                    return self.huge().await;
                }
                match &plan.events {
                    Some(verbatim) => {
                        let mut verbatim = verbatim.iter().cloned();
                        let item = |bytes| Item { bytes, event: true, tokens: 1, told: None };
                        self.events(|| verbatim.next().map(item)).await
                    }
                    None => self.events(|| events.next()).await,
                }
            }
        }
    }

    /// Status line and headers; the body's length if it is known, else chunks.
    async fn head(&mut self, kind: &str, length: Option<u64>) -> Result<(), Stop> {
        let plan = self.plan;
        let mut head = BytesMut::with_capacity(512);
        let reason =
            http::StatusCode::from_u16(plan.status).ok().and_then(|status| status.canonical_reason());
        head.put_slice(format!("HTTP/1.1 {} {}\r\n", plan.status, reason.unwrap_or("Odd")).as_bytes());
        let kind = plan.content_type.as_deref().unwrap_or(kind);
        if !kind.is_empty() {
            head.put_slice(format!("content-type: {kind}\r\n").as_bytes());
        }
        head.put_slice(format!("x-request-id: up_{}\r\n", self.number).as_bytes());
        if let Some(retry_after) = &plan.retry_after {
            head.put_slice(format!("retry-after: {retry_after}\r\n").as_bytes());
        }
        if (plan.gzip || plan.bomb > 0) && length.is_some() {
            let coding = if plan.bomb > 0 { plan.bomb_coding.as_str() } else { "gzip" };
            head.put_slice(format!("content-encoding: {coding}\r\n").as_bytes());
        }
        for (name, value) in &plan.headers {
            head.put_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        match length {
            Some(length) => head.put_slice(format!("content-length: {length}\r\n\r\n").as_bytes()),
            None => head.put_slice(b"transfer-encoding: chunked\r\n\r\n"),
        }
        self.chunked = length.is_none();
        self.end.status = plan.status;
        self.gathered = head;
        // A head whose body is about to follow goes out with it; one that is followed by silence goes alone.
        if length.is_none() { self.flush().await } else { Ok(()) }
    }

    async fn whole(&mut self, body: Bytes, kind: &str, told: Option<Tokens>) -> Result<Then, Stop> {
        let body = match self.plan {
            Plan { bomb: 1.., bomb_coding, .. } => bombs::bomb(*bomb_coding, self.plan.bomb),
            Plan { gzip: true, .. } => gzip::stored(&body),
            _ => body,
        };
        self.head(kind, Some(body.len() as u64)).await?;
        let half = body.len() / 2;
        let broken = match self.plan.fault {
            Some(Fault::Silence(at)) => Some((at, SILENCE, Then::Close)),
            Some(Fault::Reset(at)) => Some((at, Duration::ZERO, Then::Reset)),
            Some(Fault::Close(at)) => Some((at, Duration::ZERO, Then::Close)),
            _ => None,
        };
        if let Some((at, wait, then)) = broken {
            // Whole answers have no events: 0 is after the head, anything else is in the middle.
            self.put(&body[..if at == 0 { 0 } else { half }]).await?;
            self.flush().await?;
            self.wire.wait(wait).await?;
            return Err(Stop::Then(then));
        }
        self.put(&body).await?;
        self.flush().await?;
        self.end.told = told;
        self.end.events = 1;
        Ok(Then::Next)
    }

    async fn events(&mut self, mut next: impl FnMut() -> Option<Item>) -> Result<Then, Stop> {
        let mut count = 0;
        while let Some(item) = next() {
            if item.event {
                self.fault_before(count).await?;
                if count > 0 && self.plan.delay > 0 {
                    self.flush().await?;
                    self.wire.wait(Duration::from_millis(self.plan.delay)).await?;
                }
                count += 1;
            }
            self.put(item.bytes.as_bytes()).await?;
            self.held.0 += u64::from(item.event);
            self.held.1 += item.tokens;
            self.held.2 = item.told.or(self.held.2);
            if self.gathered.len() > GATHER {
                self.flush().await?;
            }
        }
        self.gathered.put_slice(b"0\r\n\r\n");
        self.flush().await?;
        Ok(Then::Next)
    }

    /// What goes wrong before event `place`.
    async fn fault_before(&mut self, place: u64) -> Result<(), Stop> {
        match self.plan.fault {
            Some(Fault::Silence(at)) if at == place => {
                self.flush().await?;
                self.wire.wait(SILENCE).await?;
                Err(Stop::Then(Then::Close))
            }
            Some(Fault::Reset(at)) if at == place => {
                self.flush().await?;
                Err(Stop::Then(Then::Reset))
            }
            Some(Fault::Close(at)) if at == place => {
                self.flush().await?;
                Err(Stop::Then(Then::Close))
            }
            Some(Fault::Error(at)) if at == place => {
                let newline = self.plan.newline.as_str();
                let event = format!("data: {}{newline}{newline}", openai::error(500));
                self.put(event.as_bytes()).await?;
                self.gathered.put_slice(b"0\r\n\r\n");
                self.flush().await?;
                Err(Stop::Then(Then::Next))
            }
            _ => Ok(()),
        }
    }

    /// One line without an end.
    async fn huge(&mut self) -> Result<Then, Stop> {
        self.put(b"data: {\"id\":\"").await?;
        let block = [b'x'; 1024];
        for _ in 0..self.plan.huge {
            self.put(&block).await?;
            self.flush().await?;
        }
        self.gathered.put_slice(b"0\r\n\r\n");
        self.flush().await?;
        Ok(Then::Next)
    }

    /// Adds bytes of the body, cut where the plan cuts and in the pieces that it wants.
    async fn put(&mut self, mut bytes: &[u8]) -> Result<(), Stop> {
        let cut = match self.plan.fault {
            Some(Fault::ResetAtByte(at)) => Some((at, Then::Reset)),
            Some(Fault::CloseAtByte(at)) => Some((at, Then::Close)),
            _ => None,
        };
        let cut = cut.filter(|(at, _)| self.body_sent + bytes.len() as u64 >= *at);
        if let Some((at, _)) = cut {
            bytes = &bytes[..usize::try_from(at - self.body_sent.min(at)).unwrap_or(0)];
        }
        self.body_sent += bytes.len() as u64;
        if self.plan.split == 0 {
            self.frame(bytes);
        } else {
            for piece in bytes.chunks(self.plan.split) {
                self.frame(piece);
                self.flush().await?;
                if self.plan.split_delay > 0 {
                    self.wire.wait(Duration::from_millis(self.plan.split_delay)).await?;
                } else {
                    tokio::task::yield_now().await;
                }
            }
        }
        match cut {
            Some((_, then)) => {
                self.flush().await?;
                Err(Stop::Then(then))
            }
            None => Ok(()),
        }
    }

    fn frame(&mut self, bytes: &[u8]) {
        if self.chunked && !bytes.is_empty() {
            self.gathered.put_slice(format!("{:x}\r\n", bytes.len()).as_bytes());
            self.gathered.put_slice(bytes);
            self.gathered.put_slice(b"\r\n");
        } else {
            self.gathered.put_slice(bytes);
        }
    }

    /// Writes what was gathered; only then it counts as sent.
    async fn flush(&mut self) -> Result<(), Stop> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let bytes = self.gathered.split();
        self.wire.write(&bytes).await?;
        self.end.first_byte.get_or_insert_with(|| micros() - self.since);
        let (events, tokens, told) = std::mem::take(&mut self.held);
        self.end.events += events;
        self.end.truth.output += tokens;
        self.end.told = told.or(self.end.told);
        if self.plan.endless || self.plan.delay > 0 {
            self.wire.check().await?;
        }
        Ok(())
    }
}

const EVENTS: &str = "text/event-stream; charset=utf-8";
