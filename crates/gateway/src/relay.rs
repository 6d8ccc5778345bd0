//! The answer on its way to the client: a stream event by event, or a whole body.
//!
//! A streamed answer is pulled by the client's connection: when it can take no more, nothing more is read from the
//! provider. The end marker is withheld until the ledger has the settlement.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use ledger::Spent;
use policy::Taken;
use providers::failure;
use providers::flow::Flow;
use providers::tap::StreamFault;
use smallvec::SmallVec;

use crate::admit;
use crate::flight::{Flight, Refused, Trouble};
use crate::lanes;
use crate::refusal::Refusal;
use crate::screen::Verdict;
use crate::screen::stream::Screen;
use crate::settle::Ending;
use crate::standing::{At, Fault};
use crate::stored;

/// The largest whole (not streamed) answer, bytes.
pub(crate) const MAX_WHOLE: usize = 64 * 1024 * 1024;
/// The largest single event of a stream, bytes.
pub(crate) const MAX_EVENT: usize = 4 * 1024 * 1024;
/// Output tokens by which a reservation grows when the budget has no room for more.
const EXTENSION: u64 = 16;
/// Of a streamed answer this much is kept where bodies are logged.
const MAX_KEPT: usize = 64 * 1024;

type Syncing = Pin<Box<dyn Future<Output = ()> + Send>>;
type Hearing = Pin<Box<dyn Future<Output = Vec<(usize, Result<Verdict, String>)>> + Send>>;

enum State {
    Streaming,
    /// All has come; the end waits for what hooks say of it.
    Hearing(Hearing, Bytes),
    /// Settled; the end marker waits until the record is safe against loss of power, or the answer is kept.
    Syncing(Syncing, Bytes),
    Over,
}

/// A stream from a provider to a client.
pub(crate) struct Relay {
    flight: Box<Flight>,
    ready: SmallVec<[Bytes; 4]>,
    state: State,
    /// Output tokens that the reservation holds; passing it asks the budgets for more.
    reserved_output: u64,
    /// Output tokens before which the budgets are not asked again for what they refused.
    asks_again_at: u64,
    kept: Option<BytesMut>,
    /// Guardrails that look at the answer.
    screen: Option<Box<Screen>>,
    /// The answer has no way to say that it is not whole, so that its connection must.
    broken_off: Option<&'static str>,
}

impl Relay {
    /// Takes over a flight whose first events are in `ready`, looked at by `screen` if there is one.
    pub(crate) fn new(
        mut flight: Box<Flight>,
        ready: SmallVec<[Bytes; 4]>,
        screen: Option<Box<Screen>>,
    ) -> Self {
        let deployment = Arc::clone(&flight.deployment);
        let exchange = flight.exchange();
        let reserved_output = if exchange.budgeted {
            admit::output_bound(exchange, &deployment, exchange.set_output)
        } else {
            u64::MAX
        };
        let kept = exchange.request_body.is_some().then(BytesMut::new);
        let mut relay = Self {
            flight,
            ready,
            state: State::Streaming,
            reserved_output,
            asks_again_at: 0,
            kept,
            screen,
            broken_off: None,
        };
        relay.keep();
        relay.look_for_end(None);
        relay
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state, State::Over) && self.ready.is_empty() && self.broken_off.is_none()
    }

    /// The error with which the connection ends, once: bytes of which nothing is known cannot carry one.
    pub(crate) fn broken_off(&mut self) -> Option<&'static str> {
        self.broken_off.take()
    }

    pub(crate) fn will_break_off(&self) -> bool {
        self.broken_off.is_some()
    }

    /// Keeps the client's places until the answer is over.
    pub(crate) fn hold(&mut self, places: Taken) {
        if !matches!(self.state, State::Over) {
            self.flight.exchange().taken.join(places);
        }
    }

    /// The next bytes for the client; `None` when the answer is over.
    pub(crate) fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            if let Some(bytes) = self.take_ready() {
                return Poll::Ready(Some(bytes));
            }
            match &mut self.state {
                State::Over => return Poll::Ready(None),
                State::Syncing(syncing, _) => {
                    std::task::ready!(syncing.as_mut().poll(context));
                    if let State::Syncing(_, terminal) = std::mem::replace(&mut self.state, State::Over) {
                        self.ready.push(terminal);
                    }
                }
                State::Hearing(hearing, _) => {
                    let verdicts = std::task::ready!(hearing.as_mut().poll(context));
                    if let State::Hearing(_, terminal) = std::mem::replace(&mut self.state, State::Streaming)
                    {
                        self.heard(verdicts, terminal, context);
                    }
                }
                State::Streaming => match std::task::ready!(self.flight.poll_chunk(context)) {
                    Ok(Some(chunk)) => self.feed(chunk, context),
                    Ok(None) => self.upstream_ended(context),
                    Err(trouble) => self.broken(&trouble),
                },
            }
        }
    }

    fn take_ready(&mut self) -> Option<Bytes> {
        match self.ready.len() {
            0 => None,
            1 => self.ready.pop(),
            _ => {
                let mut joined = BytesMut::with_capacity(self.ready.iter().map(Bytes::len).sum());
                for piece in self.ready.drain(..) {
                    joined.extend_from_slice(&piece);
                }
                Some(joined.freeze())
            }
        }
    }

    fn feed(&mut self, chunk: Bytes, context: &mut Context<'_>) {
        let Some(flow) = self.flight.flow.as_mut() else { return self.broken(&Trouble::Truncated) };
        let pushed = flow.push(chunk, &mut self.ready);
        let seen = flow.output_estimate();
        if let Err(refusal) = self.screened() {
            return self.blocked(&refusal);
        }
        if let Err(fault) = pushed {
            return self.faulty(fault);
        }
        self.keep();
        let now = self.flight.last_byte_at();
        if let Some(attempt) = self.flight.attempt() {
            attempt.progress(seen, now);
        }
        if seen > self.reserved_output && !self.extend(seen) {
            return;
        }
        self.foresee(seen);
        self.look_for_end(Some(context));
    }

    /// Where several nodes share budgets, and nobody knows how long the answer may be, more is asked for when half of what is
    /// held is used: this node's share may have to grow first, and a stream cannot wait for it.
    fn foresee(&mut self, seen: u64) {
        if seen <= self.reserved_output / 2 || seen < self.asks_again_at {
            return;
        }
        let exchange = self.flight.exchange();
        if exchange.asked.max_output.is_some() || exchange.gateway.ledger.sharing().is_none() {
            return;
        }
        if self.hold_more(self.reserved_output).is_err() {
            self.asks_again_at = seen.saturating_add(EXTENSION);
        }
    }

    /// Lets guardrails look at what is ready.
    fn screened(&mut self) -> Result<(), Box<Refusal>> {
        match &mut self.screen {
            Some(screen) => screen.pass(&mut self.ready),
            None => Ok(()),
        }
    }

    /// Asks the budgets to hold what has been seen and more; when they refuse even that, the stream is cut.
    fn extend(&mut self, seen: u64) -> bool {
        let Err(spent) = self.hold_more(seen) else { return true };
        let refusal = admit::used_up(self.flight.exchange(), &spent);
        self.cut_off(&refusal);
        false
    }

    /// Holds the money of twice this output. Where that is too much for a budget, half as much on top, a quarter, and so on: so near
    /// the end of a budget an answer goes on as long as there is money for it. Where this node's share is too small, what is tried
    /// here is what it asks for.
    fn hold_more(&mut self, output: u64) -> Result<(), Box<Spent>> {
        let deployment = Arc::clone(&self.flight.deployment);
        let exchange = self.flight.exchange();
        let (now, bound) =
            (exchange.gateway.clock.now(), exchange.asked.bound_for(&deployment.upstream_model));
        let Some(price) = &deployment.price else { return Ok(()) };
        let Some(attempt) = self.flight.attempt() else { return Ok(()) };
        let mut more_output = output.max(EXTENSION);
        loop {
            let wanted = output.saturating_add(more_output);
            let mut more = price.upper_bound(bound, wanted);
            more.nano = more.nano.saturating_sub(attempt.reserved().map_or(0, |held| held.nano)).max(0);
            match attempt.extend(more, now) {
                Ok(()) => {
                    self.reserved_output = wanted;
                    return Ok(());
                }
                Err(spent) if more_output <= EXTENSION => return Err(spent),
                Err(_) => more_output = (more_output / 2).max(EXTENSION),
            }
        }
    }

    /// Settles when the provider has said that the answer is complete.
    fn look_for_end(&mut self, context: Option<&mut Context<'_>>) {
        let Some(terminal) = self.flight.flow.as_mut().and_then(Flow::terminal) else { return };
        self.complete(terminal, context);
    }

    fn complete(&mut self, terminal: Bytes, context: Option<&mut Context<'_>>) {
        let seen = self.ready.len();
        let terminal = match &mut self.screen {
            Some(screen) => screen.finish(terminal, &mut self.ready),
            None => Ok(terminal),
        };
        self.keep_from(seen);
        let terminal = match terminal {
            Ok(terminal) => terminal,
            Err(refusal) => return self.refused(&refusal),
        };
        let asks = self.screen.as_ref().map(|screen| screen.asks(self.flight.exchange())).unwrap_or_default();
        if asks.is_empty() {
            return self.completed(terminal, context);
        }
        let hearing = Box::pin(async move {
            let mut verdicts = Vec::with_capacity(asks.len());
            for (at, asking) in asks {
                verdicts.push((at, asking.ask().await));
            }
            verdicts
        });
        self.state = State::Hearing(hearing, terminal);
    }

    /// What hooks say of an answer that is complete.
    fn heard(
        &mut self,
        verdicts: Vec<(usize, Result<Verdict, String>)>,
        terminal: Bytes,
        context: &mut Context<'_>,
    ) {
        for (at, verdict) in verdicts {
            if matches!(verdict, Ok(Verdict::Late)) {
                let refusal = self.flight.exchange().too_late();
                return self.refused(&refusal);
            }
            let heard = self.screen.as_mut().map_or(Ok(()), |screen| screen.hear(at, verdict));
            if let Err(refusal) = heard {
                return self.refused(&refusal);
            }
        }
        self.completed(terminal, Some(context));
    }

    /// The end is for the client, once it was accounted for.
    fn completed(&mut self, terminal: Bytes, context: Option<&mut Context<'_>>) {
        self.tell();
        let keepsake = self.flight.flow.as_mut().and_then(Flow::keepsake);
        lanes::remember(self.flight.exchange(), keepsake);
        let (usage, basis) = self.flight.usage_so_far(true);
        let finish = self.flight.flow.as_ref().and_then(Flow::finish_reason).map(Into::into);
        let mut ending = Ending::completed(usage, basis, finish);
        ending.answer = self.kept.take().map(BytesMut::freeze);
        self.flight.settle(&ending);
        self.flight.land(context);
        let lane = self.flight.lane;
        let exchange = self.flight.exchange();
        exchange.leave();
        let keeping = exchange.stored.as_ref().and_then(|_| stored::keep_event(exchange, lane, &terminal));
        self.state = if exchange.caller.key.record.durable || keeping.is_some() {
            let durable = exchange.caller.key.record.durable.then(|| exchange.gateway.ledger.clone());
            let syncing = async move {
                if let Some(ledger) = durable
                    && let Err(error) = ledger.sync().await
                {
                    tracing::error!(%error, "a durable key's settlement is not yet safe against loss of power");
                }
                if let Some(keeping) = keeping {
                    // What could not be kept is in the log already.
                    let _ = keeping.await;
                }
            };
            State::Syncing(Box::pin(syncing), terminal)
        } else {
            if !terminal.is_empty() {
                self.ready.push(terminal);
            }
            State::Over
        };
    }

    /// The answer is complete, and its end is not for the client.
    fn refused(&mut self, refusal: &Refusal) {
        self.tell();
        let (usage, basis) = self.flight.usage_so_far(true);
        let event = self.error_event(refusal);
        let mut ending = Ending::completed(usage, basis, None);
        ending.error = Some(refusal.code_name());
        self.flight.settle(&ending);
        self.flight.land(None);
        self.flight.exchange().leave();
        self.last(event);
    }

    /// A guardrail ends the answer in its midst.
    fn blocked(&mut self, refusal: &Refusal) {
        let event = self.error_event(refusal);
        self.tell();
        let answer = self.kept.take().map(BytesMut::freeze);
        self.flight.refuse(Refused { status: 200, error: refusal.code_name(), answer });
        self.last(event);
    }

    /// Nothing comes after this.
    fn last(&mut self, event: Bytes) {
        if !event.is_empty() {
            self.ready.push(event);
        }
        self.state = State::Over;
    }

    /// Tells what guardrails decided, before the record is written.
    fn tell(&mut self) {
        if let Some(screen) = &mut self.screen {
            screen.tell(self.flight.exchange());
        }
    }

    fn upstream_ended(&mut self, context: &mut Context<'_>) {
        let Some(flow) = self.flight.flow.as_mut() else { return self.broken(&Trouble::Truncated) };
        let ended = flow.end(&mut self.ready);
        let (terminal, finished) = (flow.terminal(), flow.finished());
        if let Err(refusal) = self.screened() {
            return self.blocked(&refusal);
        }
        if let Err(fault) = ended {
            return self.faulty(fault);
        }
        if let Some(terminal) = terminal {
            self.complete(terminal, Some(context));
        } else if finished {
            // Some servers close without an end marker; every choice was finished, so nothing is missing.
            self.complete(Bytes::new(), Some(context));
        } else {
            self.broken(&Trouble::Truncated);
        }
    }

    fn faulty(&mut self, fault: StreamFault) {
        match fault {
            StreamFault::InBandError { raw, message, code } => {
                let status = failure::status_within(code.as_deref());
                match status {
                    429 => self.counts_against(Fault::Limited(None)),
                    500.. => self.counts_against(Fault::Failed),
                    _ => {}
                }
                let (raw, message) = match self.worded(raw, message) {
                    Ok(worded) => worded,
                    Err(refusal) => return self.cut_off(&refusal),
                };
                let id = self.flight.exchange().id.to_string();
                let flow = self.flight.flow.as_mut().filter(|_| raw.is_empty());
                let event = flow.map_or(raw, |flow| flow.retold(message.as_deref(), code.as_deref(), &id));
                let event = self.cleaned(event);
                self.interrupt("upstream_error");
                self.last(event);
            }
            other => self.broken(&Trouble::NotAnAnswer(other.to_string())),
        }
    }

    /// Lets guardrails look at a provider's error: at its event, or at its message where the event is written here.
    fn worded(
        &mut self,
        raw: Bytes,
        message: Option<String>,
    ) -> Result<(Bytes, Option<String>), Box<Refusal>> {
        let Some(screen) = &mut self.screen else { return Ok((raw, message)) };
        Ok(match raw.is_empty() {
            true => (raw, message.map(|message| screen.worded(message)).transpose()?),
            false => (screen.failure(&raw)?, message),
        })
    }

    /// The provider died in mid-stream: one error event, and no end marker.
    fn broken(&mut self, trouble: &Trouble) {
        if let Err(Some(fault)) = trouble.told() {
            self.counts_against(fault);
        }
        let exchange = self.flight.exchange();
        // The client's own limit says so by its name.
        let late = match trouble {
            Trouble::Total(_) => exchange.late(),
            _ => None,
        };
        let refusal = late.unwrap_or_else(|| trouble.refusal(&self.flight.deployment.provider.name));
        self.cut_off(&refusal);
    }

    fn counts_against(&mut self, fault: Fault) {
        let deployment = Arc::clone(&self.flight.deployment);
        let exchange = self.flight.exchange();
        let (gateway, by) = (&exchange.gateway, exchange.by.as_ref().unwrap_or(&deployment.provider));
        gateway.standings.failed(At { deployment: &deployment, by }, fault, gateway.clock.moment());
    }

    fn cut_off(&mut self, refusal: &Refusal) {
        if matches!(self.flight.flow, Some(Flow::Passing(_))) {
            self.interrupt(refusal.code_name());
            self.broken_off = Some(refusal.code_name());
            return;
        }
        let event = self.error_event(refusal);
        self.interrupt(refusal.code_name());
        self.last(event);
    }

    /// An error of ours as the event that ends the client's stream.
    fn error_event(&mut self, refusal: &Refusal) -> Bytes {
        let id = self.flight.exchange().id.to_string();
        let flow = self.flight.flow.as_mut();
        let event = flow.and_then(|flow| flow.error(&refusal.failing(&id)));
        self.cleaned(event.unwrap_or_else(|| refusal.event()))
    }

    /// An error without what guardrails have not seen.
    fn cleaned(&self, event: Bytes) -> Bytes {
        match &self.screen {
            Some(screen) => screen.clean(event),
            None => event,
        }
    }

    fn interrupt(&mut self, error: &'static str) {
        self.tell();
        let (usage, _) = self.flight.usage_so_far(false);
        self.flight.cancel();
        let mut ending = Ending::interrupted(usage, error);
        ending.answer = self.kept.take().map(BytesMut::freeze);
        self.flight.settle(&ending);
        self.flight.exchange().leave();
        self.state = State::Over;
    }

    /// Keeps a bounded copy of what passes, where bodies are logged.
    fn keep(&mut self) {
        self.keep_from(0);
    }

    fn keep_from(&mut self, first: usize) {
        let Some(kept) = self.kept.as_mut() else { return };
        for piece in self.ready.iter().skip(first) {
            let room = MAX_KEPT.saturating_sub(kept.len());
            kept.extend_from_slice(&piece[..piece.len().min(room)]);
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // The client went away: what was decided until now belongs into the record too.
        if !matches!(self.state, State::Over) && !std::thread::panicking() {
            self.tell();
        }
    }
}

/// Reads events until the first one that carries data, so that an early failure is still a real status.
pub(crate) async fn first_event(flight: &mut Flight) -> Result<SmallVec<[Bytes; 4]>, FirstEvent> {
    let mut ready: SmallVec<[Bytes; 4]> = SmallVec::new();
    let mut held = 0;
    loop {
        let chunk = flight.chunk().await.map_err(FirstEvent::Trouble)?;
        let Some(flow) = flight.flow.as_mut() else { return Err(FirstEvent::Trouble(Trouble::Truncated)) };
        let ended = chunk.is_none();
        let fed = match chunk {
            Some(chunk) => {
                held += chunk.len();
                flow.push(chunk, &mut ready)
            }
            None => flow.end(&mut ready),
        };
        match fed {
            Ok(()) => {}
            Err(StreamFault::InBandError { raw, message, code }) => {
                return Err(FirstEvent::Error { raw, message, code });
            }
            Err(fault) => return Err(FirstEvent::Trouble(Trouble::NotAnAnswer(fault.to_string()))),
        }
        if flow.started() {
            return Ok(ready);
        }
        if ended {
            return Err(FirstEvent::Trouble(Trouble::Truncated));
        }
        if held > MAX_EVENT {
            return Err(FirstEvent::Trouble(Trouble::NotAnAnswer(
                "only comments, too many of them".to_owned(),
            )));
        }
    }
}

/// Why there is no first event.
pub(crate) enum FirstEvent {
    Trouble(Trouble),
    /// The provider sent an error where the first event should be.
    Error {
        raw: Bytes,
        message: Option<String>,
        code: Option<String>,
    },
}

/// Reads a whole body, at most `limit` bytes.
pub(crate) async fn whole(flight: &mut Flight, limit: usize) -> Result<Bytes, Trouble> {
    let mut first = Bytes::new();
    let mut rest: Option<BytesMut> = None;
    while let Some(chunk) = flight.chunk().await? {
        let length = rest.as_ref().map_or(first.len(), BytesMut::len) + chunk.len();
        if length > limit {
            return Err(Trouble::NotAnAnswer(format!("the answer is larger than {limit} bytes")));
        }
        if first.is_empty() && rest.is_none() {
            first = chunk;
            continue;
        }
        let whole = rest.get_or_insert_with(|| {
            let mut whole = BytesMut::with_capacity(length * 2);
            whole.extend_from_slice(&first);
            whole
        });
        whole.extend_from_slice(&chunk);
    }
    Ok(rest.map_or(first, BytesMut::freeze))
}
