//! One session: messages both ways, each way at its own pace, until somebody ends it.
//!
//! Two pumps that know nothing of each other's pace, so that a peer that does not read never stops what goes the
//! other way. What ends one ends both. However it ends, the ledger hears of it once: [`Session`] tells it, or dropping it
//! does.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use ledger::{Attempt, Basis};
use parking_lot::Mutex;
use policy::{Deployment, Moment, Taken, Timeouts};
use runtime::Clock;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use super::asks::Refused;
use super::counts::{Counts, Heard};
use super::{asks, config};
use crate::exchange::Exchange;
use crate::plan::Step;
use crate::refusal::{Code, Refusal};
use crate::settle::{self, Ending};
use crate::upstream::connect::Socket;
use crate::{admit, limits};

/// How often a silent peer is asked whether it is there.
const PING: Duration = Duration::from_secs(30);
/// How long the last words to a peer may take.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Refusals that may wait to be told to the client.
const MAX_REFUSALS: usize = 8;

/// Why a session ended.
#[derive(Debug)]
enum End {
    /// The client closed it, or broke off (`None`).
    Client(Option<CloseFrame>),
    /// The provider closed it.
    Provider(Option<CloseFrame>),
    /// The provider broke off, or does not answer.
    Broken(String),
    /// It may not go on: the client is told why.
    Refused(Box<Refusal>, CloseCode),
}

/// What both pumps share.
struct Shared {
    counts: Counts,
    exchange: Box<Exchange>,
    attempt: Option<Attempt>,
    deployment: Arc<Deployment>,
    /// What limits were charged for what was told, put right by what answers truly take.
    taken: Taken,
}

pub(super) struct Session {
    shared: Arc<Mutex<Shared>>,
    timeouts: Timeouts,
    /// What the provider calls the model, and what the client called it.
    model: policy::Name,
    asked: policy::Name,
    ends: Moment,
    clock: Clock,
}

impl Session {
    pub(super) fn new(mut exchange: Box<Exchange>, attempt: Attempt, step: Step) -> Self {
        let now = exchange.gateway.clock.moment();
        exchange.times.first_byte = Some(now);
        // What was taken for the first answer is put right by what answers truly take.
        let mut taken = exchange.taken.without_places();
        taken.join(exchange.visited.without_places());
        let timeouts = exchange.within_limit(step.timeouts);
        let (ends, deployment) = (now.plus(timeouts.total), step.deployment);
        let (model, asked) = (Arc::clone(&deployment.upstream_model), Arc::clone(&exchange.model_asked));
        let shared =
            Shared { counts: Counts::default(), exchange, attempt: Some(attempt), deployment, taken };
        let clock = shared.exchange.gateway.clock.clone();
        Self { shared: Arc::new(Mutex::new(shared)), timeouts, model, asked, ends, clock }
    }

    /// Runs to the end, whatever it is.
    pub(super) async fn run(self, upgrade: OnUpgrade, provider: WebSocketStream<Socket>) {
        let gateway = Arc::clone(&self.shared.lock().exchange.gateway);
        let client = match tokio::time::timeout(PING, upgrade).await {
            Ok(Ok(upgraded)) => TokioIo::new(upgraded),
            // The client was gone before it was told: the provider's end is dropped, and so is what was reserved.
            _ => return self.settle(&End::Client(None)),
        };
        let client = WebSocketStream::from_raw_socket(client, Role::Server, Some(config())).await;
        let (mut to_client, mut from_client) = client.split();
        let (mut to_provider, mut from_provider) = provider.split();
        let (refusals, refused) = mpsc::channel(MAX_REFUSALS);
        let left = self.ends.since(self.clock.moment());
        let end = {
            let up = self.upwards(&mut from_client, &mut to_provider, refusals);
            let down = self.downwards(&mut from_provider, &mut to_client, refused);
            tokio::select! {
                end = up => end,
                end = down => end,
                () = tokio::time::sleep(left) => {
                    let message = format!("the session is over after {:?} (`total`)", self.timeouts.total);
                    End::Refused(Refusal::new(Code::UpstreamTimeout, message), CloseCode::Normal)
                }
                () = gateway.lifecycle.cut.cancelled() => {
                    End::Refused(Refusal::new(Code::ShuttingDown, "the gateway is stopping"), CloseCode::Away)
                }
            }
        };
        self.settle(&end);
        let last = farewell(end, &mut to_client, &mut to_provider);
        let _ = tokio::time::timeout(LAST_WORDS, last).await;
    }

    /// From the client to the provider.
    async fn upwards(
        &self,
        from: &mut SplitStream<WebSocketStream<TokioIo<Upgraded>>>,
        to: &mut SplitSink<WebSocketStream<Socket>, Message>,
        refusals: mpsc::Sender<String>,
    ) -> End {
        let (mut heard, mut ask) = (self.clock.moment(), self.asking());
        loop {
            let message = tokio::select! {
                next = next(from, &mut heard, &self.clock) => match next {
                    Next::Message(message) => message,
                    Next::Closed(frame) => return End::Client(frame),
                    Next::Failed(Error::Capacity(error)) => {
                        let refusal = Refusal::new(Code::RequestTooLarge, error.to_string());
                        return End::Refused(refusal, CloseCode::Size);
                    }
                    Next::Gone | Next::Failed(_) => return End::Client(None),
                },
                _ = ask.tick() => Message::Ping(Bytes::new()),
            };
            if self.clock.moment().since(heard) > self.timeouts.idle {
                return End::Client(None);
            }
            let message = match message {
                Message::Text(text) => match self.may_pass(&text).await {
                    Ok(renamed) => Message::Text(renamed.map_or(text, Utf8Bytes::from)),
                    Err(Refused { refusal, event_id }) => {
                        // Told by the pump that writes to the client; one who asks faster than it reads is not told each.
                        let _ = refusals.try_send(asks::error_event(&refusal, event_id.as_deref()));
                        continue;
                    }
                },
                other => other,
            };
            if let Err(what) = self.say(to, message).await {
                return End::Broken(what);
            }
        }
    }

    /// From the provider to the client.
    async fn downwards(
        &self,
        from: &mut SplitStream<WebSocketStream<Socket>>,
        to: &mut SplitSink<WebSocketStream<TokioIo<Upgraded>>, Message>,
        mut refused: mpsc::Receiver<String>,
    ) -> End {
        let (mut heard, mut ask) = (self.clock.moment(), self.asking());
        loop {
            let message = tokio::select! {
                Some(text) = refused.recv() => Message::text(text),
                _ = ask.tick() => Message::Ping(Bytes::new()),
                next = next(from, &mut heard, &self.clock) => match next {
                    Next::Message(message) => message,
                    Next::Closed(frame) => return End::Provider(frame),
                    Next::Gone => return End::Broken("it broke off".to_owned()),
                    Next::Failed(error) => return End::Broken(error.to_string()),
                },
            };
            if self.clock.moment().since(heard) > self.timeouts.idle {
                return End::Broken(format!("nothing for {:?} (`idle`)", self.timeouts.idle));
            }
            let counted = match &message {
                Message::Text(text) => self.hear(text),
                _ => Ok(()),
            };
            if self.say(to, message).await.is_err() {
                return End::Client(None);
            }
            if let Err(refusal) = counted {
                return End::Refused(refusal, CloseCode::Policy);
            }
        }
    }

    /// Each pump asks the one that it writes to whether it is there; who is answers, so that only a dead peer is silent
    /// for as long as `idle`.
    fn asking(&self) -> tokio::time::Interval {
        let every = PING.min(self.timeouts.idle / 3).max(Duration::from_millis(10));
        let mut asking = tokio::time::interval(every);
        asking.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        asking.reset();
        asking
    }

    /// Writes a message; a peer that does not take it in time is given up.
    async fn say<S>(
        &self,
        to: &mut SplitSink<WebSocketStream<S>, Message>,
        message: Message,
    ) -> Result<(), String>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        match tokio::time::timeout(self.timeouts.idle, to.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("it takes nothing for {:?} (`idle`)", self.timeouts.idle)),
        }
    }

    /// Whether a client's event may go on: not one that asks for another model, and no new answer of a key whose
    /// tokens are used up. One that names the model as the client calls it comes back with the provider's name.
    async fn may_pass(&self, text: &Utf8Bytes) -> Result<Option<String>, Refused> {
        let read = asks::read(text, &self.model, &self.asked)?;
        if read.asks != asks::Asks::Answer {
            return Ok(read.renamed);
        }
        let now = self.clock.moment();
        let asking = limits::ask_for_answer(&self.shared.lock().exchange, now);
        let told = match asking {
            Some(asking) => asking.await,
            None => None,
        };
        let mut shared = self.shared.lock();
        limits::charge_answer(&mut shared.exchange, told, now)
            .map_err(|refusal| Refused { refusal, event_id: read.event_id })?;
        let more = shared.exchange.taken.without_places();
        shared.taken.join(more);
        Ok(read.renamed)
    }

    /// Counts an event of the provider; an error when the key's budget has no room for another answer.
    fn hear(&self, text: &Utf8Bytes) -> Result<(), Box<Refusal>> {
        let mut shared = self.shared.lock();
        let shared = &mut *shared;
        let heard = shared.counts.hear(text);
        let Heard::Done { .. } = heard else { return Ok(()) };
        let (output, now) = (shared.counts.output(), shared.exchange.gateway.clock.now());
        let (input, answered) = shared.counts.told();
        shared.taken.correct_so_far(input, answered);
        let Some(attempt) = shared.attempt.as_mut() else { return Ok(()) };
        attempt.progress(output, now);
        let (Some(reserved), Some(price)) = (attempt.reserved(), &shared.deployment.price) else {
            return Ok(());
        };
        let Some(cost) = settle::cost(&shared.deployment, &shared.counts.usage().0) else { return Ok(()) };
        let (input, output) = shared.counts.next();
        let wanted = cost.nano.saturating_add(price.upper_bound(input, output).nano);
        if wanted > reserved.nano {
            let more = policy::Money { currency: reserved.currency, nano: wanted - reserved.nano };
            attempt.extend(more, now).map_err(|spent| admit::used_up(&shared.exchange, &spent))?;
        }
        Ok(())
    }

    fn settle(&self, end: &End) {
        self.shared.lock().settle(end);
    }
}

impl Shared {
    fn settle(&mut self, end: &End) {
        let Some(attempt) = self.attempt.take() else { return };
        let (usage, exact) = self.counts.usage();
        let basis = |otherwise| if exact { Basis::Reported } else { otherwise };
        let mut ending = match end {
            End::Client(Some(_)) | End::Provider(_) => Ending::completed(usage, basis(Basis::Aborted), None),
            End::Client(None) => Ending::client_gone(usage, basis(Basis::Aborted)),
            End::Broken(_) => {
                let ending = Ending::interrupted(usage, Code::UpstreamClosed.name());
                Ending { basis: basis(Basis::Interrupted), charged: true, ..ending }
            }
            End::Refused(refusal, _) => {
                let ending = Ending::completed(usage, basis(Basis::Aborted), None);
                Ending { error: Some(refusal.code_name()), ..ending }
            }
        };
        if !matches!(end, End::Client(None)) {
            ending.status = 101;
        }
        self.taken.correct(usage.input.unwrap_or(0), usage.output.unwrap_or(0));
        let ended = settle::conclude(&mut self.exchange, attempt, &self.deployment, &ending);
        settle::write(&self.exchange, Some(ended));
        self.exchange.leave();
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.settle(&End::Client(None));
    }
}

/// Tells both sides how it ended. The client hears of a fault before its close.
async fn farewell(
    end: End,
    client: &mut SplitSink<WebSocketStream<TokioIo<Upgraded>>, Message>,
    provider: &mut SplitSink<WebSocketStream<Socket>, Message>,
) {
    let frame = |code, reason: &str| {
        let mut cut = reason.len().min(120);
        while !reason.is_char_boundary(cut) {
            cut -= 1;
        }
        Some(CloseFrame { code, reason: reason[..cut].into() })
    };
    let (event, down, up) = match end {
        End::Client(said) => {
            let up = said.clone().or_else(|| frame(CloseCode::Away, "the client is gone"));
            (None, said, up)
        }
        End::Provider(said) => (None, said.clone(), said),
        End::Broken(what) => {
            let refusal =
                Refusal::new(Code::UpstreamClosed, format!("the provider ended the session: {what}"));
            (Some(asks::error_event(&refusal, None)), frame(CloseCode::Error, "the provider broke off"), None)
        }
        End::Refused(refusal, code) => {
            let event = asks::error_event(&refusal, None);
            (Some(event), frame(code, &refusal.message), frame(CloseCode::Normal, ""))
        }
    };
    let to_client = async {
        if let Some(event) = event {
            let _ = client.send(Message::text(event)).await;
        }
        let _ = client.send(Message::Close(down)).await;
        let _ = client.close().await;
    };
    let to_provider = async {
        let _ = provider.send(Message::Close(up)).await;
        let _ = provider.close().await;
    };
    tokio::join!(to_client, to_provider);
}

/// What came from a peer.
enum Next {
    Message(Message),
    Gone,
    Closed(Option<CloseFrame>),
    Failed(Error),
}

/// The next message of a peer, and when it was last heard of.
async fn next<S>(from: &mut SplitStream<WebSocketStream<S>>, heard: &mut Moment, clock: &Clock) -> Next
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        let message = match from.next().await {
            None | Some(Err(Error::ConnectionClosed | Error::AlreadyClosed)) => return Next::Gone,
            Some(Err(error)) => return Next::Failed(error),
            Some(Ok(message)) => message,
        };
        *heard = clock.moment();
        match message {
            Message::Close(frame) => return Next::Closed(frame),
            // Each side of the gateway answers its own.
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            message => return Next::Message(message),
        }
    }
}
