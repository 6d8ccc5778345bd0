//! Waits for a turn where more calls come than may be under way at once: in this process (`server.overload.max_in_flight`), or
//! at a provider that takes only so many (`max_concurrency`).
//!
//! It stands between what a request asks and what it takes: nothing is reserved or charged for a call that waits, but for one
//! that failed elsewhere before. What a route could do instead comes first: a place that is full is asked after those that are
//! not, so only whoever has nowhere else to go waits.

pub(crate) mod gate;
pub(crate) mod tally;

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use foldhash::fast::RandomState;
use parking_lot::RwLock;
use policy::queue::{Asks, Bounds, Shed};
use policy::{Moment, Overload, Provider, Snapshot};
use runtime::{Clock, Dice};

use self::gate::{Gate, Pass};
use crate::exchange::Exchange;
use crate::plan::Plan;
use crate::refusal::{Code, Refusal};
use crate::{headers, standing};

/// Output that is expected where a request does not say how much it wants, tokens.
const USUAL_OUTPUT: u64 = 256;
/// In the workspace that is there from the start each key is a tenant of its own: there is nobody else to share with.
const FIRST_WORKSPACE: &str = "default";
/// What the refused are told to wait for at least and at most.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// All gates of this process.
pub(crate) struct Gates {
    bounds: Bounds,
    clock: Clock,
    /// Tenants are told apart by hashes that nobody can aim at.
    seed: RandomState,
    /// Before everything.
    process: Option<Arc<Gate>>,
    /// Before each account that takes only so many calls.
    places: RwLock<HashMap<standing::Place, Arc<Gate>>>,
    any: AtomicBool,
}

/// The turns that a request has; given back with its answer.
#[derive(Default)]
pub(crate) struct Turns {
    process: Option<Pass>,
    place: Option<Pass>,
    /// Until when it may wait, once it has had to.
    until: Option<Moment>,
}

impl Turns {
    /// Others may have them.
    pub(crate) fn end(&mut self) {
        (self.process, self.place) = (None, None);
    }
}

impl Gates {
    pub(crate) fn new(overload: &Overload, clock: Clock) -> Self {
        let bounds = Bounds {
            count: overload.queue as usize,
            bytes: overload.queue_bytes.0,
            wait: overload.queue_wait,
        };
        let process = overload.max_in_flight.map(|most| Gate::new(most, bounds, clock.clone()));
        Self {
            bounds,
            any: AtomicBool::new(process.is_some()),
            process,
            clock,
            seed: RandomState::default(),
            places: RwLock::default(),
        }
    }

    /// Takes over what the providers of a release take. Where several environments share an account, the least that one of
    /// them says holds for all.
    pub(crate) fn publish(&self, snapshot: &Snapshot) {
        let mut wanted: HashMap<standing::Place, u32> = HashMap::new();
        for provider in snapshot.environments.values().flat_map(|environment| environment.providers()) {
            if let Some(most) = provider.max_concurrency {
                let known = wanted.entry(standing::account(provider)).or_insert(most);
                *known = most.min(*known);
            }
        }
        let mut places = self.places.write();
        places.retain(|place, gate| {
            let stays = wanted.contains_key(place);
            if !stays {
                gate.set_room(u32::MAX);
            }
            stays
        });
        for (place, room) in wanted {
            match places.get(&place) {
                Some(gate) => gate.set_room(room),
                None => {
                    places.insert(place, Gate::new(room, self.bounds, self.clock.clone()));
                }
            }
        }
        self.any.store(self.process.is_some() || !places.is_empty(), Ordering::Release);
    }

    /// Whether there is any gate at all.
    fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// The gate before a provider.
    fn of(&self, provider: &Provider) -> Option<Arc<Gate>> {
        if !self.any() {
            return None;
        }
        let places = self.places.read();
        if places.is_empty() {
            return None;
        }
        places.get(&standing::account(provider)).cloned()
    }

    /// Whether a call of this provider would have to wait.
    pub(crate) fn is_full(&self, provider: &Provider) -> bool {
        self.of(provider).is_some_and(|gate| gate.is_full())
    }
}

/// Whether a request has to pass a gate.
pub(crate) fn concerns(exchange: &Exchange, plan: &Plan) -> bool {
    exchange.gateway.gates.any() && !plan.attempts.is_empty()
}

/// Takes the turns that the first attempt needs, or waits for them. The provider's comes first: who waits for one holds none
/// that others could use.
pub(crate) async fn enter(exchange: &mut Exchange, plan: &Plan, body: usize) -> Result<(), Box<Refusal>> {
    if let Some(first) = plan.attempts.first()
        && !has_place(exchange, &first.deployment.provider)
    {
        wait_for_place(exchange, &first.deployment.provider, body).await?;
    }
    let gates = &exchange.gateway.gates;
    let Some(gate) = gates.process.as_ref().map(Arc::clone) else { return Ok(()) };
    let pass = match gate.pass() {
        Some(pass) => pass,
        None => wait(exchange, &gate, None, body).await?,
    };
    exchange.turns.process = Some(pass);
    Ok(())
}

/// Takes a turn at a provider, for an attempt. Where there are others that may be asked, nobody waits.
pub(crate) async fn turn(
    exchange: &mut Exchange,
    provider: &Provider,
    body: usize,
    others: bool,
) -> Result<(), Box<Refusal>> {
    match has_place(exchange, provider) {
        true => Ok(()),
        false if others => Err(full(exchange, provider)),
        false => Box::pin(wait_for_place(exchange, provider, body)).await,
    }
}

/// Whether a request may call a provider now: it has its turn there, or there is room, or nobody counts.
fn has_place(exchange: &mut Exchange, provider: &Provider) -> bool {
    let Some(gate) = exchange.gateway.gates.of(provider) else {
        exchange.turns.place = None;
        return true;
    };
    if exchange.turns.place.as_ref().is_some_and(|pass| pass.is_of(&gate)) {
        return true;
    }
    // What it has elsewhere it needs no more.
    exchange.turns.place = None;
    exchange.turns.place = gate.pass();
    exchange.turns.place.is_some()
}

/// Waits for that.
async fn wait_for_place(
    exchange: &mut Exchange,
    provider: &Provider,
    body: usize,
) -> Result<(), Box<Refusal>> {
    let Some(gate) = exchange.gateway.gates.of(provider) else { return Ok(()) };
    exchange.turns.place = Some(wait(exchange, &gate, Some(provider), body).await?);
    Ok(())
}

/// Why a provider is not asked that has no room, where another is.
fn full(exchange: &Exchange, provider: &Provider) -> Box<Refusal> {
    let (gates, asks) = (&exchange.gateway.gates, asks(exchange, 0));
    match gates.of(provider) {
        Some(gate) => refusal(exchange, &gate, Some(provider), &asks, Shed::Full),
        None => Refusal::new(Code::Overloaded, "a provider has no room"),
    }
}

fn asks(exchange: &Exchange, body: usize) -> Asks {
    let (asked, environment) = (&exchange.asked, &exchange.caller.environment);
    let seed = &exchange.gateway.gates.seed;
    let tenant = if *environment.workspace == *FIRST_WORKSPACE {
        seed.hash_one((&environment.organization, exchange.caller.key.record.id.to_string()))
    } else {
        seed.hash_one((&environment.organization, &environment.workspace))
    };
    // Of media only the most is known.
    let input = if asked.input_estimate == 0 { asked.input_bound } else { asked.input_estimate };
    Asks {
        layer: environment.layer,
        tenant,
        tokens: input.saturating_add(asked.max_output.unwrap_or(USUAL_OUTPUT)),
        bytes: body as u64,
    }
}

/// Waits at a gate, no longer than the queue and the client allow.
async fn wait(
    exchange: &mut Exchange,
    gate: &Arc<Gate>,
    provider: Option<&Provider>,
    body: usize,
) -> Result<Pass, Box<Refusal>> {
    let (gateway, asks) = (Arc::clone(&exchange.gateway), asks(exchange, body));
    let (since, tally) = (gateway.clock.moment(), &gateway.metrics.queue);
    let until = *exchange.turns.until.get_or_insert(since.plus(gateway.gates.bounds.wait));
    let until = exchange.limit.map_or(until, |limit| until.min(limit.ends));
    let outcome = match gate.wait(asks) {
        Err(shed) => Err(shed),
        Ok(mut waiting) => {
            let _counted = tally.begin(asks.layer, asks.bytes);
            tokio::select! {
                biased;
                outcome = waiting.turn() => outcome,
                () = tokio::time::sleep(until.since(since)) => Err(Shed::Late),
                () = gateway.lifecycle.cut.cancelled() => {
                    return Err(Refusal::new(Code::ShuttingDown, "the gateway is stopping"));
                }
            }
        }
    };
    let waited = gateway.clock.moment().since(since);
    exchange.times.lost += waited;
    match outcome {
        Ok(pass) => {
            tally.count_turn(asks.layer, waited);
            Ok(pass)
        }
        Err(shed) => {
            tally.count_shed(asks.layer, shed);
            Err(exchange.late().unwrap_or_else(|| refusal(exchange, gate, provider, &asks, shed)))
        }
    }
}

fn refusal(
    exchange: &Exchange,
    gate: &Gate,
    provider: Option<&Provider>,
    asks: &Asks,
    shed: Shed,
) -> Box<Refusal> {
    let (room, wait) = (gate.room(), headers::go_duration(exchange.gateway.gates.bounds.wait));
    let who = match provider {
        Some(provider) => {
            format!(
                "provider `{}` has {room} calls under way, as many as it takes (`max_concurrency`)",
                provider.name
            )
        }
        None => format!(
            "the gateway has {room} calls under way, as many as it may (`server.overload.max_in_flight`)"
        ),
    };
    let why = match shed {
        Shed::Full => "there is no room to wait".to_owned(),
        Shed::Hopeless => format!("the turn of this one would hardly come within {wait} (`queue_wait`)"),
        Shed::Displaced => "this one had to make room for others that wait".to_owned(),
        Shed::Late => format!("the turn of this one did not come within {wait} (`queue_wait`)"),
    };
    let outlook = gate.outlook(asks).unwrap_or(SHORTEST).clamp(SHORTEST, LONGEST);
    // Spread, so that those who are refused together do not come back together.
    Refusal::new(Code::Overloaded, format!("{who}, and {why}"))
        .after(outlook.mul_f64(1.0 + Dice::unit() / 2.0))
}
