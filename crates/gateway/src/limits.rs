//! Limits: what a request takes of each that covers it, all of it or nothing, and what is told when one says no.
//!
//! A key's own counters lie with the key. Those of `[[limits]]` are made for each of whom they count when they come, and forgotten
//! when they are full again: so a million end users that come once take no memory.
//!
//! Where several nodes count together (`tally`), they are asked for all limits of a stage at once; without them nothing here waits.

pub(crate) mod tally;

use std::borrow::Cow;
use std::hash::{BuildHasher, BuildHasherDefault};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use foldhash::fast::RandomState;
use http::HeaderMap;
use parking_lot::Mutex;
use policy::{
    Deployment, Environment, Full, LimitRule, Meters, Moment, Name, Part, Per, Standing, Taken, Verbatim,
    Verdict, Wanted,
};
use sha2::{Digest, Sha256};
use smallvec::SmallVec;

use crate::exchange::{Caller, Exchange};
use crate::plan::Step;
use crate::refusal::{Code, Refusal};
use crate::{Gateway, admit, headers};
use tally::Tally;

const SHARDS: usize = 16;
/// Counters of one shard; one more shares a counter with all that find no place.
const MOST: usize = 8 * 1024;
/// A shard that was full of counters in use is looked through again after this, nanoseconds.
const AGAIN: u64 = 1_000_000_000;
/// When a place in flight may be free again.
const SOON: Duration = Duration::from_millis(500);
const FORWARDED: http::HeaderName = http::HeaderName::from_static("x-forwarded-for");

type Shard = Mutex<std::collections::HashMap<u64, Meters, BuildHasherDefault<Verbatim>>>;

/// The counters of all `[[limits]]`, by rule and by whom it counts.
#[derive(Default)]
pub(crate) struct Limiter {
    /// Its seed is the process's own, so nobody can choose two users that share a counter.
    seed: RandomState,
    shards: [Shard; SHARDS],
    looked: [AtomicU64; SHARDS],
}

impl Limiter {
    /// The counters of a rule for one of whom it counts. `scope` is within what the rule and its subjects have their names.
    fn meters(&self, scope: &str, rule: &LimitRule, subject: &str, now: Moment) -> Meters {
        let rule_of = (rule.per, scope, &*rule.name, apart(rule));
        let hash = self.seed.hash_one((rule_of, subject));
        let (place, shard) = self.shard(hash);
        let mut shard = shard.lock();
        if let Some(known) = shard.get_mut(&hash) {
            if !known.are_of(&rule.limits) {
                *known = Meters::new(&rule.limits, Some(known));
            }
            return known.clone();
        }
        if shard.len() >= MOST && self.looked[place].load(Relaxed) <= now.as_nanos() {
            shard.retain(|_, meters| !meters.are_idle(now));
            self.looked[place].store(now.as_nanos().saturating_add(AGAIN), Relaxed);
        }
        // Whoever finds no place shares: a limit is never lost, and memory stays bounded.
        let hash = if shard.len() < MOST { hash } else { self.seed.hash_one(rule_of) };
        shard.entry(hash).or_insert_with(|| Meters::new(&rule.limits, None)).clone()
    }

    fn shard(&self, hash: u64) -> (usize, &Shard) {
        let place = (hash >> 57) as usize % SHARDS;
        (place, &self.shards[place])
    }

    /// How many counters there are.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }
}

/// A limit that covers a request.
struct Limit<'a> {
    /// Whose it is, where it is not the key's own.
    rule: Option<(&'a LimitRule, Name)>,
    meters: Cow<'a, Meters>,
    part: Part,
}

type Limits<'a> = SmallVec<[Limit<'a>; 4]>;

impl Limit<'_> {
    fn is_shadow(&self) -> bool {
        self.rule.as_ref().is_some_and(|(rule, _)| rule.shadow)
    }

    /// Names the limit and of whom it counts, the same on every node. A digest, so that whoever counts it learns no end users.
    fn id(&self, caller: &Caller) -> [u8; 16] {
        let mut digest = Sha256::new();
        let mut say = |text: &str| {
            digest.update((text.len() as u64).to_le_bytes());
            digest.update(text);
        };
        match &self.rule {
            None => ["own", caller.key.record.id.as_str()].into_iter().for_each(say),
            Some((rule, subject)) => {
                let scope = scope(&caller.environment, rule.per);
                [rule.per.as_str(), scope, &rule.name, subject].into_iter().for_each(&mut say);
                for (rate, limit) in apart(rule).into_iter().flat_map(|limits| &limits.rates) {
                    say(&format!("{rate}={limit}"));
                }
            }
        }
        let digest: [u8; 32] = digest.finalize().into();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        id
    }

    /// For messages: the key, or the limit and of whom it counts.
    fn who(&self, caller: &Caller) -> String {
        match &self.rule {
            None => format!("key `{}`", caller.key.record.name),
            Some((rule, _)) if rule.per == Per::Key => {
                format!("limit `{}`: key `{}`", rule.name, caller.key.record.name)
            }
            Some((rule, subject)) => format!("limit `{}`: {} `{subject}`", rule.name, rule.per.words()),
        }
    }

    fn refusal(&self, caller: &Caller, full: Full) -> Box<Refusal> {
        let who = self.who(caller);
        match full {
            Full::Concurrency(limit) => {
                let message =
                    format!("{who} has {limit} requests in flight, as many as it may (`concurrency`)");
                Refusal::new(Code::ConcurrencyLimitExceeded, message).after(SOON)
            }
            Full::Rate(rate, refused) => {
                let (limit, span) = (refused.standing.limit, rate.span.words());
                let wait = headers::go_duration(refused.retry_after);
                let message = match self.part {
                    Part::Turn => format!(
                        "{who} may make {limit} requests a {span} (`{rate}`); the next is possible in {wait}"
                    ),
                    Part::Tokens { input, output } => format!(
                        "{who} may use {limit} {} a {span} (`{rate}`); this request is expected to use {}, possible in {wait}",
                        rate.counted.words(),
                        rate.counted.of(input, output),
                    ),
                };
                Refusal::new(Code::RateLimitExceeded, message).after(refused.retry_after)
            }
        }
    }
}

/// Which limits a request meets now.
#[derive(Copy, Clone)]
enum Stage<'a> {
    /// Before the body is read: requests and places of the key, of the address, and of what the key belongs to.
    Head,
    /// Once it is known what is asked: requests and places of the end user and of the model, and everybody's tokens.
    Body(&'a str),
    /// The same for a request that has an earlier answer: it is a request, and takes no tokens.
    Recalled(&'a str),
    /// The same for another answer of a session, which takes tokens alone.
    Answer(&'a str),
    /// Before an attempt: of its provider and of the deployment; and of the model, where it is another than the one that was asked
    /// for first.
    Attempt(&'a Step),
}

/// Before the body is read.
pub(crate) async fn enter(exchange: &mut Exchange, now: Moment) -> Result<(), Box<Refusal>> {
    exchange.taken = pass(exchange, Stage::Head, now).await?;
    Ok(())
}

/// Once it is known what is asked. A request that is refused here takes nothing of any limit.
pub(crate) async fn charge(exchange: &mut Exchange, model: &str, now: Moment) -> Result<(), Box<Refusal>> {
    settle(exchange, Stage::Body(model), now).await
}

/// The same for a request that has an earlier answer.
pub(crate) async fn charge_turn(
    exchange: &mut Exchange,
    model: &str,
    now: Moment,
) -> Result<(), Box<Refusal>> {
    settle(exchange, Stage::Recalled(model), now).await
}

async fn settle(exchange: &mut Exchange, stage: Stage<'_>, now: Moment) -> Result<(), Box<Refusal>> {
    match pass(exchange, stage, now).await {
        Ok(taken) => exchange.taken.join(taken),
        Err(refusal) => {
            std::mem::take(&mut exchange.taken).undo();
            return Err(refusal);
        }
    }
    Ok(())
}

/// What other nodes say to another answer of a session; to be given to [`charge_answer`], so that the session need not be held
/// meanwhile. `None`: there is nobody to ask.
pub(crate) fn ask_for_answer(exchange: &Exchange, now: Moment) -> Option<tally::Telling> {
    let tally = exchange.gateway.tally.as_ref()?;
    let caller = exchange.caller.clone();
    let limits = gather(exchange, &caller, Stage::Answer(&exchange.named), now);
    Some(tally.take(wanted(&caller, &limits)))
}

/// The same for another answer of a session.
pub(crate) fn charge_answer(
    exchange: &mut Exchange,
    told: Option<Vec<Verdict>>,
    now: Moment,
) -> Result<(), Box<Refusal>> {
    let (caller, model) = (exchange.caller.clone(), Arc::clone(&exchange.named));
    let limits = gather(exchange, &caller, Stage::Answer(&model), now);
    let taken = match (exchange.gateway.tally.clone(), told) {
        (None, _) => take(exchange, &caller, &limits, now, None)?,
        (Some(_), Some(told)) => tally::note(exchange, &caller, &limits, told, now)?,
        (Some(tally), None) => take(exchange, &caller, &limits, now, Some(&*tally))?,
    };
    exchange.taken.join(taken);
    Ok(())
}

/// Before an attempt. Refused, another may take the request.
pub(crate) async fn visit(exchange: &mut Exchange, step: &Step) -> Result<(), Box<Refusal>> {
    let concerns = |rule: &Arc<LimitRule>| rule.per.of_attempts() || is_of_fallback(rule, exchange, step);
    let some = exchange.caller.environment.limits.iter().any(concerns);
    if !some {
        return Ok(());
    }
    // What an attempt before this one was to use, it did not.
    std::mem::take(&mut exchange.visited).correct(0, 0);
    let now = exchange.gateway.clock.moment();
    let standings = (exchange.requests_standing, exchange.tokens_standing);
    let taken = pass(exchange, Stage::Attempt(step), now).await;
    // How a provider's limit stands is not the client's business.
    (exchange.requests_standing, exchange.tokens_standing) = standings;
    exchange.visited = taken?;
    Ok(())
}

/// Whether a limit concerns a name that the client asked for as a fallback, and not the first that it asked for.
fn is_of_fallback(rule: &LimitRule, exchange: &Exchange, step: &Step) -> bool {
    let Some(asked) = step.asked.as_ref().filter(|_| !rule.per.of_attempts()) else { return false };
    let names_models = rule.per == Per::Model || !rule.models.is_empty();
    let counted = rule.per != Per::Model && rule.covers_model(&exchange.named);
    names_models && rule.covers_model(asked) && !counted
}

/// Takes of all limits of a stage or of none. Without other nodes nothing is waited for.
async fn pass(exchange: &mut Exchange, stage: Stage<'_>, now: Moment) -> Result<Taken, Box<Refusal>> {
    match exchange.gateway.tally.clone() {
        None => {
            let caller = exchange.caller.clone();
            let limits = gather(exchange, &caller, stage, now);
            take(exchange, &caller, &limits, now, None)
        }
        Some(tally) => Box::pin(tally::pass(exchange, tally, stage, now)).await,
    }
}

/// The limits of a stage.
fn gather<'a>(exchange: &Exchange, caller: &'a Caller, stage: Stage<'_>, now: Moment) -> Limits<'a> {
    let (turn, tokens) = (Part::Turn, expected(exchange));
    let (mut limits, model) = match stage {
        Stage::Head => (own(caller, turn), ""),
        Stage::Body(model) | Stage::Answer(model) => (own(caller, tokens), model),
        Stage::Recalled(model) => (Limits::new(), model),
        Stage::Attempt(step) => (Limits::new(), &**step.asked.as_ref().unwrap_or(&exchange.named)),
    };
    for rule in &caller.environment.limits {
        let with_head = comes_with_the_head(rule);
        let parts: &[Part] = match stage {
            Stage::Attempt(step) if rule.per.of_attempts() || is_of_fallback(rule, exchange, step) => {
                &[turn, tokens]
            }
            Stage::Attempt(_) => &[],
            _ if rule.per.of_attempts() => &[],
            Stage::Head if with_head => &[turn],
            Stage::Head => &[],
            Stage::Body(_) if !with_head => &[turn, tokens],
            Stage::Body(_) | Stage::Answer(_) => &[tokens],
            Stage::Recalled(_) if with_head => &[],
            Stage::Recalled(_) => &[turn],
        };
        let deployment = match stage {
            Stage::Attempt(step) if rule.per.of_attempts() => Some(&*step.deployment),
            _ => None,
        };
        if !parts.is_empty() {
            limits.extend(ruled(exchange, caller, rule, model, deployment, parts, now));
        }
    }
    limits
}

/// The limits as other nodes know them.
fn wanted(caller: &Caller, limits: &Limits<'_>) -> Vec<Wanted> {
    let one = |limit: &Limit<'_>| Wanted {
        id: limit.id(caller),
        meters: limit.meters.clone().into_owned(),
        part: limit.part,
        shadow: limit.is_shadow(),
    };
    limits.iter().map(one).collect()
}

/// What the body adds to is counted with the body.
fn comes_with_the_head(rule: &LimitRule) -> bool {
    let known = !matches!(rule.per, Per::EndUser | Per::Model | Per::Provider | Per::Deployment);
    known && rule.models.is_empty()
}

fn expected(exchange: &Exchange) -> Part {
    let output = exchange.asked.max_output.unwrap_or(0).min(admit::UNKNOWN_OUTPUT);
    Part::Tokens { input: exchange.asked.input_estimate, output }
}

/// The key's own limits.
fn own(caller: &Caller, part: Part) -> Limits<'_> {
    let mut limits = Limits::new();
    limits.push(Limit { rule: None, meters: Cow::Borrowed(&caller.key.meters), part });
    limits
}

/// A rule's counters for this request, for each part that is taken; none where the rule does not cover it.
fn ruled<'a>(
    exchange: &Exchange,
    caller: &Caller,
    rule: &'a LimitRule,
    model: &str,
    deployment: Option<&Deployment>,
    parts: &[Part],
    now: Moment,
) -> Limits<'a> {
    let mut limits = Limits::new();
    let named = (!rule.models.is_empty() || rule.per == Per::Model) && !rule.covers_model(model);
    // Where it counts no tokens there is nothing to look up for them.
    let parts: SmallVec<[Part; 2]> =
        parts.iter().copied().filter(|part| takes(&rule.limits, *part)).collect();
    if parts.is_empty() {
        return limits;
    }
    let Some(subject) = subject(exchange, caller, rule.per, model, deployment).filter(|_| !named) else {
        return limits;
    };
    let shown = if rule.per == Per::Key { &caller.key.record.name } else { &subject };
    if !rule.covers(shown) {
        return limits;
    }
    let scope = scope(&caller.environment, rule.per);
    let meters = exchange.gateway.limiter.meters(scope, rule, &subject, now);
    if let [first, _] = *parts {
        let meters = Cow::Owned(meters.clone());
        limits.push(Limit { rule: Some((rule, subject.clone())), meters, part: first });
    }
    if let Some(last) = parts.last() {
        limits.push(Limit { rule: Some((rule, subject)), meters: Cow::Owned(meters), part: *last });
    }
    limits
}

/// Whether a part takes anything. Requests under way are counted also where they are not limited.
fn takes(limits: &policy::Limits, part: Part) -> bool {
    matches!(part, Part::Turn) || limits.rates.iter().any(|(rate, _)| part.of(*rate).is_some())
}

/// Within what a limit and its subjects have their names: what several environments have in common is counted once for all that
/// say it.
fn scope(environment: &Environment, per: Per) -> &str {
    match per {
        Per::Organization => "",
        Per::Workspace => &environment.organization,
        _ => &environment.name,
    }
}

/// Said differently, what several environments have in common is another limit: else each would renew the other's.
fn apart(rule: &LimitRule) -> Option<&policy::Limits> {
    matches!(rule.per, Per::Organization | Per::Workspace).then_some(&rule.limits)
}

/// Of whom a limit counts here; `None` where the request has no such thing.
fn subject(
    exchange: &Exchange,
    caller: &Caller,
    per: Per,
    model: &str,
    deployment: Option<&Deployment>,
) -> Option<Name> {
    let environment = &caller.environment;
    match per {
        Per::Key => Some(caller.key.record.id.to_string().into()),
        Per::EndUser => exchange.end_user.clone(),
        Per::Address => exchange.address.map(|address| address.to_string().into()),
        Per::Environment => Some(Arc::clone(&environment.name)),
        Per::Workspace => Some(Arc::clone(&environment.workspace)),
        Per::Organization => Some(Arc::clone(&environment.organization)),
        Per::Model => (!model.is_empty()).then(|| model.into()),
        Per::Provider => deployment.map(|deployment| Arc::clone(&deployment.provider.name)),
        Per::Deployment => deployment.map(|deployment| Arc::clone(&deployment.name)),
    }
}

/// Takes of all limits or of none, and notes what the client is told of where it stands: of the limit that binds first. `alone`:
/// other nodes that cannot be asked just now, so that this one has its share and tells them of its places later.
fn take(
    exchange: &mut Exchange,
    caller: &Caller,
    limits: &[Limit<'_>],
    now: Moment,
    alone: Option<&dyn Tally>,
) -> Result<Taken, Box<Refusal>> {
    let nodes = alone.map_or(1, Tally::nodes);
    let mut taken = Taken::default();
    for limit in limits {
        let Err(full) = taken.take_share(&limit.meters, limit.part, now, nodes) else {
            let counted = matches!(limit.part, Part::Turn) && limit.meters.permits.limit().is_some();
            if let Some(tally) = alone.filter(|_| counted) {
                taken.count_place(tally.place(&limit.id(caller)));
            }
            continue;
        };
        if let Some(refusal) = say_no(exchange, caller, limit, full) {
            taken.undo();
            return Err(refusal);
        }
    }
    for limit in limits.iter().filter(|limit| !limit.is_shadow()) {
        let of_requests = matches!(limit.part, Part::Turn);
        let own = limit.meters.standings(of_requests, now).map(|(_, standing)| standing);
        let share = |all: Standing| Standing { remaining: all.remaining / u64::from(nodes), ..all };
        let told = standing(exchange, limit.part);
        *told = own.map(share).chain(*told).min_by_key(|standing| standing.remaining);
    }
    Ok(taken)
}

/// A limit is full: it is counted and told. `None` where it is a shadow, which refuses nothing.
fn say_no(exchange: &mut Exchange, caller: &Caller, limit: &Limit<'_>, full: Full) -> Option<Box<Refusal>> {
    let name = limit.rule.as_ref().map_or("key", |(rule, _)| &rule.name);
    exchange.gateway.metrics.count_limited(name, limit.is_shadow());
    let refusal = limit.refusal(caller, full);
    if limit.is_shadow() {
        tracing::debug!(limit = name, "would be refused: {}", refusal.message);
        return None;
    }
    if let Full::Rate(_, refused) = full {
        *standing(exchange, limit.part) = Some(refused.standing);
    }
    Some(refusal)
}

fn standing(exchange: &mut Exchange, part: Part) -> &mut Option<Standing> {
    match part {
        Part::Turn => &mut exchange.requests_standing,
        Part::Tokens { .. } => &mut exchange.tokens_standing,
    }
}

/// The address that a client's limit is counted for: the peer's, or the one that a trusted proxy names. Of IPv6 it is the network
/// of 64 bits, since one customer has all of it.
pub(crate) fn address(gateway: &Gateway, peer: Option<IpAddr>, headers: &HeaderMap) -> Option<IpAddr> {
    let trusted = |address: &IpAddr| gateway.trusted_proxies.iter().any(|network| network.contains(*address));
    let peer = peer?.to_canonical();
    let listed = headers.get_all(FORWARDED).iter().rev().flat_map(|value| {
        value.to_str().unwrap_or_default().rsplit(',').map(|text| text.trim().parse::<IpAddr>())
    });
    let mut nearest = peer;
    for named in listed {
        // What the proxies before a trusted one say is its word; what is no address ends it.
        let Ok(named) = named else { break };
        if !trusted(&nearest) {
            break;
        }
        nearest = named.to_canonical();
    }
    Some(match nearest {
        IpAddr::V6(long) => IpAddr::V6(std::net::Ipv6Addr::from(u128::from(long) >> 64 << 64)),
        short => short,
    })
}

#[cfg(test)]
#[path = "limits/tests.rs"]
mod tests;
