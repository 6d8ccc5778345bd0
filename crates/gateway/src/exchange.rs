//! One request and everything that is known and decided of it, carried from room to room.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ledger::Labels;
use policy::{
    Deployment, Environment, KeyState, Moment, Name, Provider, RequestId, Standing, Taken, Timeouts,
    Timestamp,
};
use providers::request::{Asked, Operation};

use http::HeaderValue;

use crate::alarm::Spare;
use crate::metrics::InFlight;
use crate::pace::Paced;
use crate::receive::Held;
use crate::refusal::{Code, Refusal};
use crate::vitals::Busy;
use crate::{Gateway, headers};

/// Who asks: a virtual key and the environment it belongs to, in the release of this moment.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) key: Arc<KeyState>,
    pub(crate) environment: Arc<Environment>,
}

/// The request's time, in the parts that are told apart.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Times {
    pub(crate) started: Moment,
    /// The client's body was read, and the gateway's own work began.
    pub(crate) received: Moment,
    pub(crate) dispatched: Option<Moment>,
    pub(crate) first_byte: Option<Moment>,
    /// Time spent waiting for providers that failed before the present attempt, and for turns.
    pub(crate) lost: Duration,
}

impl Times {
    pub(crate) fn begun(started: Moment) -> Self {
        Self { started, received: started, dispatched: None, first_byte: None, lost: Duration::ZERO }
    }
}

/// How long a client gives its request.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Limit {
    pub(crate) timeout: Duration,
    pub(crate) ends: Moment,
}

/// One request from the moment its key is known.
pub(crate) struct Exchange {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) id: RequestId,
    /// The id as headers carry it; made once.
    pub(crate) id_text: HeaderValue,
    pub(crate) at: Timestamp,
    pub(crate) times: Times,
    pub(crate) operation: Operation,
    /// The connection's own task polls this request; of HTTP/2 each has a task of its own.
    pub(crate) http1: bool,
    pub(crate) caller: Caller,
    /// Whether its end user has the next release already is not known yet.
    pub(crate) undecided: bool,
    pub(crate) labels: Arc<Labels>,
    /// The client's own limit on the whole request (`x-tidegate-timeout`).
    pub(crate) limit: Option<Limit>,
    /// `x-tidegate-strict`: refuse instead of dropping a parameter that the chosen model cannot take.
    pub(crate) strict: bool,
    /// Where the client connects from, as limits count it; known where a limit wants to know.
    pub(crate) address: Option<IpAddr>,
    /// What the request has taken of its limits.
    pub(crate) taken: Taken,
    /// What its present attempt has taken of the limits of providers and deployments.
    pub(crate) visited: Taken,
    /// Its turns where not all can have one.
    pub(crate) turns: crate::queue::Turns,
    /// The share of memory that the request's body takes.
    pub(crate) held: Option<Held>,
    pub(crate) requests_standing: Option<Standing>,
    pub(crate) tokens_standing: Option<Standing>,
    pub(crate) asked: Asked,
    /// What is asked where it is no conversation.
    pub(crate) raw: Option<Box<crate::raw::Wanted>>,
    /// What a request to Responses asks beside the conversation.
    pub(crate) stored: Option<Box<crate::stored::Stored>>,
    /// The request in the ordered form, once an attempt needed it.
    pub(crate) parsed: Option<Arc<providers::blocks::Request>>,
    /// A call for embeddings or rerank in the form between dialects, once an attempt needed it.
    pub(crate) vectors: Option<Box<crate::vectors::Parsed>>,
    /// Parameters that the present attempt's model cannot be told.
    pub(crate) dropped: Vec<String>,
    /// The answer tells an estimate of its tokens, since its provider told none.
    pub(crate) usage_estimated: bool,
    /// Google's streams without `alt=sse`: a JSON array.
    pub(crate) as_array: bool,
    pub(crate) model_asked: Name,
    /// What that name leads to, by its full name; empty where a call asks for none.
    pub(crate) named: Name,
    pub(crate) end_user: Option<Name>,
    pub(crate) session: Option<Name>,
    pub(crate) tags: Vec<(Name, Name)>,
    pub(crate) attempts: u16,
    /// It is paid from a budget.
    pub(crate) budgeted: bool,
    /// The most output of the present attempt, where its route says that.
    pub(crate) set_output: Option<u64>,
    /// Counts the present attempt at its place, where a route measures that.
    pub(crate) busy: Option<Busy>,
    /// Counts it there, where it is found out how much that place bears.
    pub(crate) paced: Option<Paced>,
    pub(crate) deployment: Option<Arc<Deployment>>,
    /// The provider with the credential of the present attempt, where it is not the first of several.
    pub(crate) by: Option<Arc<Provider>>,
    pub(crate) upstream_request_id: Option<Name>,
    /// Kept only where the environment logs bodies.
    pub(crate) request_body: Option<bytes::Bytes>,
    pub(crate) in_flight: Option<InFlight>,
    /// Its connection's alarm, where it has one.
    pub(crate) alarm: Option<Spare>,
    /// Guardrails that look at its answer.
    pub(crate) answer_guards: crate::screen::InForce,
    /// What guardrails did, as the client is told.
    pub(crate) guarded: String,
    /// What it has to do with earlier answers.
    pub(crate) recall: crate::recall::Said,
}

impl Exchange {
    /// It is under way no longer, for those who count that.
    pub(crate) fn leave(&mut self) {
        self.leave_limits();
        self.turns.end();
    }

    /// Its client waits no longer, but the call goes on.
    pub(crate) fn leave_limits(&mut self) {
        self.taken.leave();
        self.visited.leave();
    }

    /// Nobody waits for it any more, neither a client nor a stop.
    pub(crate) fn release_in_flight(&mut self) {
        self.in_flight = None;
    }

    /// What the settings call the credential of the present attempt, where there are several.
    pub(crate) fn credential_name(&self) -> Option<&str> {
        let first = || self.deployment.as_ref().map(|deployment| &deployment.provider);
        self.by.as_ref().or_else(first)?.credential_name.as_deref()
    }

    /// The endpoint's name in records.
    pub(crate) fn endpoint(&self) -> &'static str {
        endpoint_name(self.operation)
    }

    /// The time limits of an attempt that begins now, within the client's own.
    pub(crate) fn within_limit(&self, timeouts: Timeouts) -> Timeouts {
        let Some(limit) = self.limit else { return timeouts };
        let left = limit.ends.since(self.gateway.clock.moment());
        Timeouts { connect: timeouts.connect.min(left), total: timeouts.total.min(left), ..timeouts }
    }

    /// The refusal of a request whose client's own limit is over.
    pub(crate) fn late(&self) -> Option<Box<Refusal>> {
        let is_over = |limit: Limit| self.gateway.clock.moment() >= limit.ends;
        self.limit.is_some_and(is_over).then(|| self.too_late())
    }

    /// The same, where it is known that the limit is over.
    pub(crate) fn too_late(&self) -> Box<Refusal> {
        let timeout = self.limit.map_or(Duration::ZERO, |limit| limit.timeout);
        let message = format!(
            "the answer was not complete within {} (`{}` of the request)",
            headers::go_duration(timeout),
            headers::TIMEOUT
        );
        Refusal::new(Code::UpstreamTimeout, message)
    }

    /// The id that a provider is told: the request's own, and from the second attempt on with the attempt's number.
    pub(crate) fn upstream_id(&self) -> HeaderValue {
        if self.attempts <= 1 {
            return self.id_text.clone();
        }
        headers::text(&format!("{}.{}", self.id, self.attempts))
    }

    /// Microseconds that the gateway itself has taken until `now`, waiting for providers left out.
    pub(crate) fn own_time(&self, now: Moment, waiting_since: Option<Moment>) -> Duration {
        let waiting = waiting_since.map_or(Duration::ZERO, |since| now.since(since));
        now.since(self.times.received).saturating_sub(waiting).saturating_sub(self.times.lost)
    }
}

pub(crate) fn endpoint_name(operation: Operation) -> &'static str {
    match operation {
        Operation::Chat => "chat",
        Operation::Completions => "completions",
        Operation::Embeddings => "embeddings",
        Operation::Responses => "responses",
        Operation::Messages => "messages",
        Operation::Gemini => "generate_content",
        Operation::Raw(raw) => raw.name(),
    }
}
