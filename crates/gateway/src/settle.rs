//! What the call cost, told to the ledger once, with the request's line for the log.

use std::sync::Arc;

use bytes::Bytes;
use ledger::{Attempt, Basis, Bodies, Ended, Outcome, RequestLog, Reservation, Settlement};
use policy::{Deployment, Moment, Money, Name, Usage};
use providers::request::Operation;

use crate::exchange::Exchange;
use crate::flight::CLIENT_GONE;
use crate::recall::{Kept, Word};

/// Of each body at most this much is logged, where bodies are logged at all.
const MAX_LOGGED_BODY: usize = 64 * 1024;

/// How a request ended.
pub(crate) struct Ending {
    pub(crate) outcome: Outcome,
    pub(crate) usage: Usage,
    pub(crate) basis: Basis,
    /// What the client got, or would have got.
    pub(crate) status: u16,
    pub(crate) error: Option<&'static str>,
    pub(crate) finish_reason: Option<Name>,
    pub(crate) answer: Option<Bytes>,
    pub(crate) charged: bool,
}

impl Ending {
    pub(crate) fn completed(usage: Usage, basis: Basis, finish_reason: Option<Name>) -> Self {
        Self {
            outcome: Outcome::Completed,
            usage,
            basis,
            status: 200,
            error: None,
            finish_reason,
            answer: None,
            charged: true,
        }
    }

    pub(crate) fn client_gone(usage: Usage, basis: Basis) -> Self {
        let outcome = Outcome::ClientGone;
        Self {
            outcome,
            status: CLIENT_GONE,
            error: Some("client_gone"),
            ..Self::completed(usage, basis, None)
        }
    }

    /// The client went away, and then the provider refused: nobody pays.
    pub(crate) fn refused_unattended() -> Self {
        let usage = Usage { input: Some(0), output: Some(0), ..Usage::default() };
        let gone = Self::client_gone(usage, Basis::Reported);
        Self { outcome: Outcome::Refused, charged: false, ..gone }
    }

    pub(crate) fn interrupted(usage: Usage, error: &'static str) -> Self {
        let charged = usage.output.is_some_and(|output| output > 0);
        let outcome = Outcome::UpstreamFailed;
        Self { outcome, error: Some(error), charged, ..Self::completed(usage, Basis::Interrupted, None) }
    }

    pub(crate) fn never_dispatched(status: u16, error: &'static str) -> Self {
        let outcome = Outcome::NeverDispatched;
        let nothing = Self::completed(Usage::default(), Basis::Reported, None);
        Self { outcome, status, error: Some(error), charged: false, ..nothing }
    }
}

/// The provider's counts in the gateway's form.
pub(crate) fn usage_of(told: providers::Usage) -> Usage {
    Usage {
        input: told.input,
        cached_input: told.cached_input,
        cache_write: told.cache_write,
        output: told.output,
        reasoning: told.reasoning,
        audio_input: told.audio_input,
        audio_output: told.audio_output,
        images: told.images,
        cache_write_hour: told.cache_write_hour,
        taken_back: told.taken_back,
    }
}

/// The provider's word where it is whole; what is missing is estimated, and the basis then says so.
pub(crate) fn complete_usage(
    told: Option<Usage>,
    input: u64,
    output: u64,
    otherwise: Basis,
) -> (Usage, Basis) {
    match told {
        // Numbers that cannot all be true are kept as they were told, and what is made of them is an estimate.
        Some(usage) if usage.contradicts_itself() => {
            let usage =
                Usage { input: usage.input.or(Some(input)), output: usage.output.or(Some(output)), ..usage };
            (usage, if otherwise == Basis::Reported { Basis::Unreported } else { otherwise })
        }
        Some(usage) if usage.input.is_some() && (usage.output.is_some() || output == 0) => {
            (usage, Basis::Reported)
        }
        Some(usage) => {
            let usage =
                Usage { input: usage.input.or(Some(input)), output: usage.output.or(Some(output)), ..usage };
            (usage, otherwise)
        }
        None => (Usage { input: Some(input), output: Some(output), ..Usage::default() }, otherwise),
    }
}

/// The cost of a usage at a deployment's price; `None` where price or count is unknown.
pub(crate) fn cost(deployment: &Deployment, usage: &Usage) -> Option<Money> {
    deployment.price.as_ref().and_then(|price| price.cost(usage))
}

/// Ends the attempt and the request; what it gives is still to be written ([`write()`]).
pub(crate) fn conclude(
    exchange: &mut Exchange,
    attempt: Attempt,
    deployment: &Deployment,
    ending: &Ending,
) -> Ended {
    runtime::failpoint!("gateway.settle");
    let cost =
        if ending.outcome == Outcome::NeverDispatched { None } else { cost(deployment, &ending.usage) };
    let raw = matches!(exchange.operation, Operation::Raw(_));
    let charge = match ending.charged {
        false => cost.map(|cost| Money::zero(cost.currency)),
        // A budget holds although nobody tells the cost: it pays what was reserved.
        true if exchange.budgeted => cost.or(attempt.reserved()),
        true => cost,
    };
    exchange.paced = None;
    if let (Some(busy), Some(first)) = (exchange.busy.take(), exchange.times.first_byte) {
        let after =
            exchange.times.dispatched.map_or(first.since(first), |dispatched| first.since(dispatched));
        busy.answered(after, exchange.asked.stream, first);
    }
    let now = exchange.gateway.clock.moment();
    let log = request_log(exchange, ending, cost, now);
    exchange.gateway.metrics.count(exchange, deployment, ending, cost);
    if let Some(noted) = &exchange.recall.noted {
        noted.ended(deployment, ending, cost);
    }
    if raw && ending.usage == Usage::default() {
        // Nobody knows better than the estimate.
        exchange.taken.keep();
        exchange.visited.keep();
    }
    true_up(exchange, &ending.usage);
    let settlement = Settlement {
        at: exchange.at.plus(now.since(exchange.times.started)),
        outcome: ending.outcome,
        usage: ending.usage,
        basis: ending.basis,
        cost,
        charge,
        request: Some(Box::new(log)),
    };
    attempt.say(settlement)
}

/// Sees to it that the end of an attempt is written, before the client hears of it.
pub(crate) fn write(exchange: &Exchange, ended: Option<Ended>) {
    let Some(ended) = ended else { return };
    if let Err(error) = ended.write() {
        tracing::error!(%error, request_id = %exchange.id, "settlement waits in memory for the spool");
    }
    runtime::failpoint!("gateway.settled");
}

/// Ends an attempt that brought nothing; the request goes on or is refused.
pub(crate) fn fail(
    exchange: &Exchange,
    attempt: Attempt,
    deployment: &Deployment,
    outcome: Outcome,
) -> Reservation {
    let usage = match outcome {
        // A provider that broke off may bill the input it read; our client pays nothing.
        Outcome::UpstreamFailed if matches!(exchange.operation, Operation::Raw(_)) => Usage::default(),
        Outcome::UpstreamFailed => {
            Usage { input: Some(exchange.asked.input_estimate), output: Some(0), ..Usage::default() }
        }
        _ => Usage { input: Some(0), output: Some(0), ..Usage::default() },
    };
    let cost = if outcome == Outcome::NeverDispatched { None } else { cost(deployment, &usage) };
    let settlement = Settlement {
        at: exchange.gateway.clock.now(),
        outcome,
        usage,
        basis: if outcome == Outcome::UpstreamFailed { Basis::Interrupted } else { Basis::Reported },
        cost,
        charge: cost.map(|cost| Money::zero(cost.currency)),
        request: None,
    };
    let (reservation, written) = attempt.fail(settlement);
    if let Err(error) = written {
        tracing::error!(%error, request_id = %exchange.id, "settlement waits in memory for the spool");
    }
    reservation
}

/// The log line of a request that is refused, whether or not it made an attempt.
pub(crate) fn log_refused(exchange: &mut Exchange, status: u16, error: &'static str) {
    true_up(exchange, &Usage::default());
    let ending = Ending::never_dispatched(status, error);
    let log = request_log(exchange, &ending, None, exchange.gateway.clock.moment());
    exchange.gateway.metrics.count_refused(exchange, status);
    exchange.gateway.ledger.log_request(log);
}

/// The log line of a request that the gateway answered itself.
pub(crate) fn log_answered(exchange: &mut Exchange) {
    let mut ending = Ending::never_dispatched(200, "");
    ending.error = None;
    let log = request_log(exchange, &ending, None, exchange.gateway.clock.moment());
    exchange.gateway.metrics.count_refused(exchange, 200);
    exchange.gateway.ledger.log_request(log);
}

/// The log line of a request that had an earlier answer: nobody was asked, so it costs nothing.
pub(crate) fn log_recalled(exchange: &mut Exchange, kept: &Kept, saved: Option<Money>, word: Word) {
    let nothing = Usage { input: Some(0), output: Some(0), ..Usage::default() };
    let mut ending = Ending::completed(nothing, Basis::Reported, kept.finish_reason.clone());
    (ending.status, ending.error) = (kept.status, kept.error);
    ending.answer = exchange.request_body.is_some().then(|| kept.body.clone());
    let currency = saved.or(kept.cost).map_or(policy::Currency::USD, |cost| cost.currency);
    let mut log =
        request_log(exchange, &ending, Some(Money::zero(currency)), exchange.gateway.clock.moment());
    // Only the cache saves: what was promised would not have been asked for twice.
    let saved = saved.filter(|_| word == Word::Hit);
    log.mark_recalled(if word == Word::Hit { "hit" } else { "replay" }, saved);
    exchange.gateway.metrics.count_refused(exchange, kept.status);
    exchange.gateway.metrics.count_recalled(kept, saved, word == Word::Hit);
    exchange.gateway.ledger.log_request(log);
}

fn true_up(exchange: &mut Exchange, usage: &Usage) {
    let (input, output) = (usage.input.unwrap_or(0), usage.output.unwrap_or(0));
    exchange.taken.correct(input, output);
    exchange.visited.correct(input, output);
}

fn request_log(exchange: &Exchange, ending: &Ending, cost: Option<Money>, now: Moment) -> RequestLog {
    let duration = now.since(exchange.times.started);
    let micros = |d: std::time::Duration| u64::try_from(d.as_micros()).unwrap_or(u64::MAX);
    let waiting_since = exchange.times.dispatched;
    let mut log = RequestLog {
        request_id: exchange.id,
        at: exchange.at,
        labels: Arc::clone(&exchange.labels),
        endpoint: exchange.gateway.endpoint_name(exchange.operation),
        model_asked: Arc::clone(&exchange.model_asked),
        model_answered: exchange.deployment.as_ref().map(|d| Arc::clone(&d.name)),
        provider: exchange
            .deployment
            .as_ref()
            .map_or_else(|| Name::from(""), |d| Arc::clone(&d.provider.name)),
        status: ending.status,
        error_code: ending.error.map(Into::into),
        attempts: exchange.attempts,
        stream: exchange.asked.stream,
        usage: ending.usage,
        cost,
        estimated: ending.basis != Basis::Reported,
        first_byte_us: exchange.times.first_byte.map(|first| micros(first.since(exchange.times.started))),
        duration_us: micros(duration),
        gateway_us: micros(exchange.own_time(now, waiting_since)),
        end_user: exchange.end_user.clone(),
        session: exchange.session.clone(),
        tags: exchange.tags.clone(),
        upstream_request_id: exchange.upstream_request_id.clone(),
        finish_reason: ending.finish_reason.clone(),
        bodies: exchange.request_body.as_ref().map(|request| bodies(request, ending.answer.as_ref())),
    };
    if exchange.recall.word == Word::Miss {
        log.mark_recalled("miss", None);
    }
    log
}

fn bodies(request: &Bytes, answer: Option<&Bytes>) -> Bodies {
    let part =
        |bytes: &Bytes| String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_LOGGED_BODY)]).into_owned();
    let cut = |bytes: &Bytes| bytes.len() > MAX_LOGGED_BODY;
    Bodies {
        request: part(request),
        response: answer.map(part).unwrap_or_default(),
        truncated: cut(request) || answer.is_some_and(cut),
    }
}
