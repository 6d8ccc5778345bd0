//! One attempt in the air: its ledger entry, its upstream call, its deadlines.
//!
//! The flight owns what must not be forgotten. However the request ends (answer, fault, client gone, panic), the
//! ledger hears of it exactly once: either an ending is told here, or dropping the flight tells it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use ledger::{Attempt, Basis, Ended, Opening, Outcome, Reservation, SpoolUnavailable};
use policy::{Deployment, Moment, Timeouts, Timestamp, Usage};
use providers::flow::Flow;
use providers::request::Operation;
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::alarm::{Alarm, Spare};
use crate::exchange::Exchange;
use crate::lanes::{self, Lane};
use crate::refusal::{Code, Refusal};
use crate::settle::{self, Ending};
use crate::standing::{Fault, Told};
use crate::upstream::pool::Call;
use crate::upstream::wire::{Head, WireError};

/// How long an upstream answer is read on after its client has gone, where the provider bills it anyway.
const UNATTENDED: Duration = Duration::from_secs(10 * 60);
/// How long the end of an answer's framing may take before the connection is given up.
const LAST_BYTES: Duration = Duration::from_secs(2);
/// Client gone, as nginx counts it; no client ever sees this status.
pub(crate) const CLIENT_GONE: u16 = 499;

/// What went wrong between the gateway and a provider.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    #[error("no first byte within {0:?} (`first_byte`)")]
    FirstByte(Duration),
    #[error("nothing for {0:?} (`idle`)")]
    Idle(Duration),
    #[error("not complete within {0:?} (`total`)")]
    Total(Duration),
    #[error("{0}")]
    Broken(WireError),
    #[error("the stream ended before its end was told")]
    Truncated,
    #[error("{0}")]
    NotAnAnswer(String),
    #[error("the gateway is stopping")]
    Stopping,
}

impl Trouble {
    pub(crate) fn refusal(&self, provider: &str) -> Box<Refusal> {
        let code = match self {
            Self::FirstByte(_) | Self::Idle(_) | Self::Total(_) => Code::UpstreamTimeout,
            Self::Broken(_) | Self::Truncated => Code::UpstreamClosed,
            Self::NotAnAnswer(_) => Code::UpstreamInvalidAnswer,
            Self::Stopping => Code::ShuttingDown,
        };
        let message = match self {
            Self::Broken(WireError::Incomplete) => {
                format!("provider `{provider}` closed the connection before its answer was complete")
            }
            Self::Stopping => self.to_string(),
            _ => format!("provider `{provider}`: {self}"),
        };
        Refusal::new(code, message)
    }

    /// What it says of the provider: that a whole call took too long may be the client's own limit.
    pub(crate) fn told(&self) -> Told {
        Err((!matches!(self, Self::Stopping | Self::Total(_))).then_some(Fault::Failed))
    }
}

/// What a client was told in place of an answer, or of the rest of one.
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) error: &'static str,
    /// What it had before, where bodies are logged.
    pub(crate) answer: Option<Bytes>,
}

/// One attempt and all that belongs to it.
pub(crate) struct Flight {
    exchange: Option<Box<Exchange>>,
    attempt: Option<Attempt>,
    call: Option<Call>,
    pub(crate) deployment: Arc<Deployment>,
    pub(crate) lane: Lane,
    pub(crate) flow: Option<Flow>,
    /// What an answer used that came whole and is still looked at.
    pub(crate) used: Option<(Usage, Basis)>,
    /// Its client has its last word already.
    refused: Option<Refused>,
    timeouts: Timeouts,
    dispatched: Moment,
    last_byte: Moment,
    /// Bytes of the body have come.
    headed: bool,
    /// The head has come.
    answered: bool,
    alarm: Alarm,
    /// Where the alarm is from, and goes back to.
    spare: Option<Spare>,
    cut: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    unattended: bool,
}

impl Flight {
    pub(crate) fn new(
        exchange: Box<Exchange>,
        attempt: Attempt,
        deployment: Arc<Deployment>,
        timeouts: Timeouts,
        lane: Lane,
    ) -> Self {
        // Until it departs.
        let now = exchange.times.received;
        let spare = exchange.alarm.clone();
        Self {
            exchange: Some(exchange),
            attempt: Some(attempt),
            call: None,
            deployment,
            lane,
            flow: None,
            used: None,
            refused: None,
            timeouts,
            dispatched: now,
            last_byte: now,
            headed: false,
            answered: false,
            alarm: spare.as_ref().map(Spare::take).unwrap_or_default(),
            spare,
            cut: None,
            unattended: false,
        }
    }

    #[expect(
        clippy::expect_used,
        reason = "the exchange is taken only by the functions that consume the flight"
    )]
    pub(crate) fn exchange(&mut self) -> &mut Exchange {
        self.exchange.as_deref_mut().expect("the exchange is with its flight")
    }

    pub(crate) fn attempt(&mut self) -> Option<&mut Attempt> {
        self.attempt.as_mut()
    }

    /// The request leaves: from here on the provider may bill it.
    pub(crate) fn depart(&mut self, call: Call, now: Moment) {
        self.exchange().times.dispatched = Some(now);
        (self.dispatched, self.last_byte) = (now, now);
        self.call = Some(call);
        runtime::failpoint!("gateway.dispatch");
    }

    fn poll_limits(&mut self, context: &mut Context<'_>) -> Poll<Trouble> {
        let Some(exchange) = self.exchange.as_deref() else { return Poll::Pending };
        let gateway = &exchange.gateway;
        // Comments are no answer: a provider that only keeps the line open is still held to its first byte.
        let headed = self.headed && self.flow.as_ref().is_none_or(Flow::started);
        let (wait, since) = if headed {
            (self.timeouts.idle, self.last_byte)
        } else {
            (self.timeouts.first_byte, self.dispatched)
        };
        let total = self.dispatched.plus(self.timeouts.total);
        let deadline = since.plus(wait).min(total);
        if self.alarm.poll(&gateway.clock, deadline, context).is_ready() {
            return Poll::Ready(match (deadline == total, headed) {
                (true, _) => Trouble::Total(self.timeouts.total),
                (false, true) => Trouble::Idle(self.timeouts.idle),
                (false, false) => Trouble::FirstByte(self.timeouts.first_byte),
            });
        }
        if gateway.lifecycle.is_cutting() {
            return Poll::Ready(Trouble::Stopping);
        }
        if !exchange.http1 || self.unattended {
            let cut =
                self.cut.get_or_insert_with(|| Box::pin(gateway.lifecycle.cut.clone().cancelled_owned()));
            return cut.as_mut().poll(context).map(|()| Trouble::Stopping);
        }
        Poll::Pending
    }

    /// Waits for the head of the provider's answer.
    pub(crate) fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<Result<Head, Trouble>> {
        let Some(call) = self.call.as_mut() else { return Poll::Ready(Err(Trouble::Truncated)) };
        match call.poll_head(context) {
            Poll::Ready(Ok(head)) => {
                self.answered = true;
                self.last_byte = self.exchange().gateway.clock.moment();
                Poll::Ready(Ok(head))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(Trouble::Broken(error))),
            Poll::Pending => self.poll_limits(context).map(Err),
        }
    }

    /// Waits for the next bytes of the provider's answer; `None` at its proper end.
    pub(crate) fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Trouble>> {
        let Some(call) = self.call.as_mut() else { return Poll::Ready(Ok(None)) };
        match call.poll_chunk(context) {
            Poll::Ready(Some(Ok(bytes))) => {
                self.last_byte = self.exchange().gateway.clock.moment();
                self.headed = true;
                Poll::Ready(Ok(Some(bytes)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Err(Trouble::Broken(error))),
            Poll::Ready(None) => Poll::Ready(Ok(None)),
            Poll::Pending => self.poll_limits(context).map(Err),
        }
    }

    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, Trouble> {
        std::future::poll_fn(|context| self.poll_chunk(context)).await
    }

    /// When the last byte came from the provider.
    pub(crate) fn last_byte(&self) -> Moment {
        self.last_byte
    }

    /// The same as wall time, without asking the clock again.
    pub(crate) fn last_byte_at(&mut self) -> Timestamp {
        let last_byte = self.last_byte;
        let exchange = self.exchange();
        exchange.at.plus(last_byte.since(exchange.times.started))
    }

    pub(crate) fn departed(&self) -> bool {
        self.call.is_some()
    }

    pub(crate) fn on_reused_connection(&self) -> bool {
        self.call.as_ref().is_some_and(Call::reused)
    }

    /// What is known of the usage: the provider's word, else an estimate from what has passed.
    pub(crate) fn usage_so_far(&mut self, ended_well: bool) -> (Usage, Basis) {
        let told = self.flow.as_ref().and_then(Flow::usage).map(settle::usage_of);
        if let Operation::Raw(raw) = self.exchange().operation {
            let (usage, basis) = crate::raw::usage(raw, told);
            let known = ended_well || basis == Basis::Reported;
            return (usage, if known { basis } else { Basis::Aborted });
        }
        let seen = self.flow.as_ref().map_or(0, Flow::output_estimate);
        let input = self.exchange().asked.input_estimate;
        settle::complete_usage(told, input, seen, if ended_well { Basis::Unreported } else { Basis::Aborted })
    }

    /// Sees to it that the intent is written: nothing departs before.
    pub(crate) fn written(&self, opening: Opening) -> Result<(), SpoolUnavailable> {
        self.attempt.as_ref().map_or(Err(SpoolUnavailable), |attempt| opening.write(attempt))
    }

    /// The intent could not be written, so there was no attempt.
    pub(crate) fn never_was(mut self) -> Box<Exchange> {
        self.attempt = None;
        self.into_exchange()
    }

    /// Tells the ledger how the attempt and with it the request ended.
    pub(crate) fn settle(&mut self, ending: &Ending) {
        let ended = self.say_end(ending);
        if let Some(exchange) = self.exchange.as_deref_mut() {
            settle::write(exchange, ended);
        }
    }

    /// The same, still to be written ([`settle::write()`]).
    pub(crate) fn say_end(&mut self, ending: &Ending) -> Option<Ended> {
        let (attempt, exchange) = (self.attempt.take()?, self.exchange.as_deref_mut()?);
        Some(settle::conclude(exchange, attempt, &self.deployment, ending))
    }

    #[expect(
        clippy::expect_used,
        reason = "the exchange is taken only by the functions that consume the flight"
    )]
    fn into_exchange(mut self) -> Box<Exchange> {
        self.exchange.take().expect("the exchange is with its flight")
    }

    /// Tells the ledger that the attempt failed without an answer to the client; the request goes on.
    pub(crate) fn fail(mut self, outcome: Outcome) -> (Box<Exchange>, Option<Reservation>) {
        let attempt = self.attempt.take();
        self.call = None;
        let deployment = Arc::clone(&self.deployment);
        let mut exchange = self.into_exchange();
        (exchange.busy, exchange.paced) = (None, None);
        let now = exchange.gateway.clock.moment();
        if let Some(dispatched) = exchange.times.dispatched.take() {
            exchange.times.lost += now.since(dispatched);
        }
        let reservation = attempt.map(|attempt| settle::fail(&exchange, attempt, &deployment, outcome));
        (exchange, reservation)
    }

    /// Gives the connection back once the answer's framing has ended too.
    pub(crate) fn land(&mut self, context: Option<&mut Context<'_>>) {
        let Some(mut call) = self.call.take() else { return };
        let gateway = Arc::clone(&self.exchange().gateway);
        let mut idle = Context::from_waker(std::task::Waker::noop());
        let context = context.unwrap_or(&mut idle);
        match call.poll_chunk(context) {
            Poll::Ready(None) => call.recycle(self.last_byte),
            Poll::Ready(Some(_)) => {}
            Poll::Pending => {
                let clock = gateway.clock.clone();
                gateway.tasks.spawn("finish-upstream", async move {
                    let end = std::future::poll_fn(|context| call.poll_chunk(context));
                    if let Ok(None) = tokio::time::timeout(LAST_BYTES, end).await {
                        call.recycle(clock.moment());
                    }
                });
            }
        }
    }

    /// Drops the connection: the provider sees the call cancelled.
    pub(crate) fn cancel(&mut self) {
        self.call = None;
    }

    /// Reads an answer that nobody waits for to its end, so that the provider's bill is known.
    async fn finish_unattended(mut self) {
        self.unattended = true;
        let ending = tokio::time::timeout(UNATTENDED, self.read_unattended()).await;
        let ending = match ending {
            Ok(Some(ending)) => ending,
            Ok(None) | Err(_) => self.ending_alone(),
        };
        self.land(None);
        self.settle(&ending);
    }

    /// How it ends when nobody hears the end.
    fn ending_alone(&mut self) -> Ending {
        let (usage, basis) = self.usage_so_far(false);
        let Some(Refused { status, error, answer }) = self.refused.take() else {
            return Ending::client_gone(usage, basis);
        };
        let told =
            basis == Basis::Reported && (self.unattended || self.flow.as_ref().is_some_and(Flow::finished));
        let ending = match told {
            true => Ending { error: Some(error), ..Ending::completed(usage, basis, None) },
            false => Ending::interrupted(usage, error),
        };
        Ending { status, answer, ..ending }
    }

    /// How it ended, where the provider said so.
    async fn read_unattended(&mut self) -> Option<Ending> {
        if !self.answered {
            let head = std::future::poll_fn(|context| self.poll_head(context)).await.ok()?;
            if !head.status.is_success() {
                return Some(Ending::refused_unattended());
            }
            let deployment = Arc::clone(&self.deployment);
            if self.exchange().asked.stream && self.flow.is_none() {
                let lane = self.lane;
                let flow = lanes::flow(self.exchange(), lane, &deployment, false);
                self.flow = Some(flow);
            }
        }
        let mut whole: Vec<u8> = Vec::new();
        let mut sink = smallvec::SmallVec::new();
        while let Ok(Some(chunk)) = self.chunk().await {
            match self.flow.as_mut() {
                Some(flow) => {
                    flow.push(chunk, &mut sink).ok()?;
                    sink.clear();
                    let (seen, now) = (flow.output_estimate(), self.exchange().gateway.clock.now());
                    if let Some(attempt) = self.attempt.as_mut() {
                        attempt.progress(seen, now);
                    }
                }
                None if whole.len() < crate::relay::MAX_WHOLE => whole.extend_from_slice(&chunk),
                None => return None,
            }
        }
        if self.flow.is_some() {
            return None;
        }
        let (lane, deployment) = (self.lane, Arc::clone(&self.deployment));
        let told = lanes::whole(self.exchange(), lane, &deployment, whole.into()).ok()?.usage?;
        let (usage, basis) = settle::complete_usage(Some(settle::usage_of(told)), 0, 0, Basis::Aborted);
        Some(Ending::client_gone(usage, basis))
    }

    /// A place to read on in the background: only where the provider bills on, and only so many at once.
    fn place_unattended(&mut self) -> Option<tokio::sync::OwnedSemaphorePermit> {
        // An answer of which nothing can be read is not read on.
        let raw = matches!(self.exchange().operation, Operation::Raw(_));
        let alone = self.exchange().stored.as_ref().is_some_and(|stored| stored.goes_on_alone());
        if raw || self.unattended || (self.deployment.provider.abort_stops_billing && !alone) {
            return None;
        }
        Arc::clone(&self.exchange().gateway.unattended).try_acquire_owned().ok()
    }

    /// The client is gone: cancel where that stops the bill, else read on in the background.
    fn abandon(&mut self) {
        self.exchange().leave_limits();
        if let Some((usage, basis)) = self.used {
            self.settle(&Ending::client_gone(usage, basis));
        } else if !self.departed() {
            self.settle(&Ending::never_dispatched(CLIENT_GONE, "client_gone"));
        } else {
            self.go_alone();
        }
    }

    /// The client is told a refusal and gets no more of the answer. The provider is treated as where a client is gone.
    pub(crate) fn refuse(&mut self, refused: Refused) {
        let deployment = Arc::clone(&self.deployment);
        let exchange = self.exchange();
        exchange.leave_limits();
        if let Some(noted) = &exchange.recall.noted {
            // Whoever keeps the answer keeps this, also where the bill comes later.
            noted.refused(Some(&deployment), refused.error, true);
        }
        self.refused = Some(refused);
        self.go_alone();
        if let Some(exchange) = self.exchange.as_deref_mut() {
            exchange.leave();
        }
    }

    /// Nobody hears the rest: cancels where that stops the bill, else reads on in the background.
    fn go_alone(&mut self) {
        let Some(place) = self.place_unattended() else {
            self.cancel();
            let ending = self.ending_alone();
            return self.settle(&ending);
        };
        let gateway = Arc::clone(&self.exchange().gateway);
        let flight = Self {
            exchange: self.exchange.take(),
            attempt: self.attempt.take(),
            call: self.call.take(),
            deployment: Arc::clone(&self.deployment),
            lane: self.lane,
            flow: self.flow.take(),
            used: None,
            refused: self.refused.take(),
            alarm: Alarm::default(),
            spare: None,
            cut: None,
            unattended: true,
            timeouts: self.timeouts,
            dispatched: self.dispatched,
            last_byte: self.last_byte,
            headed: self.headed,
            answered: self.answered,
        };
        gateway.tasks.spawn("unattended-answer", async move {
            let _place = place;
            flight.finish_unattended().await;
        });
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        // In a panic the attempt's own drop books it: no further code of ours runs while the stack unwinds.
        if self.attempt.is_some() && !std::thread::panicking() {
            self.abandon();
        }
        if let Some(spare) = &self.spare {
            spare.give_back(std::mem::take(&mut self.alarm));
        }
    }
}
