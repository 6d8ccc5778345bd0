//! Limits: what a request takes of each that covers it, all of it or nothing, and what is told when one says no.
//!
//! A key's own counters lie with the key. Those of `[[limits]]` are made for each of whom they count when they come, and forgotten
//! when they are full again: so a million end users that come once take no memory.

use std::borrow::Cow;
use std::hash::{BuildHasher, BuildHasherDefault};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use foldhash::fast::RandomState;
use http::HeaderMap;
use parking_lot::Mutex;
use policy::{Deployment, Full, LimitRule, Meters, Moment, Name, Part, Per, Standing, Taken, Verbatim};
use smallvec::SmallVec;

use crate::exchange::{Caller, Exchange};
use crate::plan::Step;
use crate::refusal::{Code, Refusal};
use crate::{Gateway, admit, headers};

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
        // Said differently, it is another limit: else each would renew the other's.
        let apart = matches!(rule.per, Per::Organization | Per::Workspace).then_some(&rule.limits);
        let rule_of = (rule.per, scope, &*rule.name, apart);
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

type Limits<'a> = SmallVec<[Limit<'a>; 2]>;

impl Limit<'_> {
    fn is_shadow(&self) -> bool {
        self.rule.as_ref().is_some_and(|(rule, _)| rule.shadow)
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

/// Before the body is read: requests and places of the key, of the address, and of what the key belongs to.
pub(crate) fn enter(exchange: &mut Exchange, now: Moment) -> Result<(), Box<Refusal>> {
    let caller = exchange.caller.clone();
    let mut limits = own(&caller, Part::Turn);
    for rule in caller.environment.limits.iter().filter(|rule| comes_with_the_head(rule)) {
        limits.extend(ruled(exchange, &caller, rule, "", None, &[Part::Turn], now));
    }
    exchange.taken = take(exchange, &caller, &limits, now)?;
    Ok(())
}

/// Once it is known what is asked: requests and places of the end user and of the model, and everybody's tokens. A request that
/// is refused here takes nothing of any limit.
pub(crate) fn charge(exchange: &mut Exchange, model: &str, now: Moment) -> Result<(), Box<Refusal>> {
    let tokens = expected(exchange);
    count(exchange, model, tokens, true, now).inspect_err(|_| std::mem::take(&mut exchange.taken).undo())
}

/// The same for a request that has an earlier answer: it is a request, and takes no tokens.
pub(crate) fn charge_turn(exchange: &mut Exchange, model: &str, now: Moment) -> Result<(), Box<Refusal>> {
    let caller = exchange.caller.clone();
    let mut limits = Limits::new();
    let with_the_body = |rule: &&Arc<LimitRule>| !rule.per.of_attempts() && !comes_with_the_head(rule);
    for rule in caller.environment.limits.iter().filter(with_the_body) {
        limits.extend(ruled(exchange, &caller, rule, model, None, &[Part::Turn], now));
    }
    let taken =
        take(exchange, &caller, &limits, now).inspect_err(|_| std::mem::take(&mut exchange.taken).undo())?;
    exchange.taken.join(taken);
    Ok(())
}

/// The same for another answer of a session, which takes tokens alone.
pub(crate) fn charge_answer(exchange: &mut Exchange, now: Moment) -> Result<(), Box<Refusal>> {
    let model = Arc::clone(&exchange.named);
    count(exchange, &model, expected(exchange), false, now)
}

/// Before an attempt: of its provider and of the deployment; and of the model, where it is another than the one that was asked
/// for first. Refused, another may take the request.
pub(crate) fn visit(exchange: &mut Exchange, step: &Step) -> Result<(), Box<Refusal>> {
    let concerns = |rule: &&Arc<LimitRule>| rule.per.of_attempts() || is_of_fallback(rule, exchange, step);
    if !exchange.caller.environment.limits.iter().any(|rule| concerns(&rule)) {
        return Ok(());
    }
    // What an attempt before this one was to use, it did not.
    std::mem::take(&mut exchange.visited).correct(0, 0);
    let (caller, now) = (exchange.caller.clone(), exchange.gateway.clock.moment());
    let model = step.asked.clone().unwrap_or_else(|| Arc::clone(&exchange.named));
    let parts = [Part::Turn, expected(exchange)];
    let mut limits = Limits::new();
    for rule in &caller.environment.limits {
        let deployment = rule.per.of_attempts().then_some(&*step.deployment);
        if deployment.is_some() || is_of_fallback(rule, exchange, step) {
            limits.extend(ruled(exchange, &caller, rule, &model, deployment, &parts, now));
        }
    }
    let standings = (exchange.requests_standing, exchange.tokens_standing);
    let taken = take(exchange, &caller, &limits, now);
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

fn count(
    exchange: &mut Exchange,
    model: &str,
    tokens: Part,
    turn: bool,
    now: Moment,
) -> Result<(), Box<Refusal>> {
    let caller = exchange.caller.clone();
    let mut limits = own(&caller, tokens);
    for rule in caller.environment.limits.iter().filter(|rule| !rule.per.of_attempts()) {
        let parts = [Part::Turn, tokens];
        let parts = if turn && !comes_with_the_head(rule) { &parts[..] } else { &parts[1..] };
        limits.extend(ruled(exchange, &caller, rule, model, None, parts, now));
    }
    let taken = take(exchange, &caller, &limits, now)?;
    exchange.taken.join(taken);
    Ok(())
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
    let Some(subject) = subject(exchange, caller, rule.per, model, deployment).filter(|_| !named) else {
        return limits;
    };
    let shown = if rule.per == Per::Key { &caller.key.record.name } else { &subject };
    if !rule.covers(shown) {
        return limits;
    }
    let environment = &caller.environment;
    // What several environments have in common is counted once for all that say it.
    let scope = match rule.per {
        Per::Organization => "",
        Per::Workspace => &environment.organization,
        _ => &environment.name,
    };
    let meters = exchange.gateway.limiter.meters(scope, rule, &subject, now);
    for part in parts {
        let meters = Cow::Owned(meters.clone());
        limits.push(Limit { rule: Some((rule, subject.clone())), meters, part: *part });
    }
    limits
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

/// Takes of all limits or of none, and notes what the client is told of where it stands: of the limit that binds first.
fn take(
    exchange: &mut Exchange,
    caller: &Caller,
    limits: &[Limit<'_>],
    now: Moment,
) -> Result<Taken, Box<Refusal>> {
    let mut taken = Taken::default();
    for limit in limits {
        let Err(full) = taken.take(&limit.meters, limit.part, now) else { continue };
        let name = limit.rule.as_ref().map_or("key", |(rule, _)| &rule.name);
        exchange.gateway.metrics.count_limited(name, limit.is_shadow());
        let refusal = limit.refusal(caller, full);
        if limit.is_shadow() {
            tracing::debug!(limit = name, "would be refused: {}", refusal.message);
            continue;
        }
        taken.undo();
        if let Full::Rate(_, refused) = full {
            *standing(exchange, limit.part) = Some(refused.standing);
        }
        return Err(refusal);
    }
    for limit in limits.iter().filter(|limit| !limit.is_shadow()) {
        let told = standing(exchange, limit.part);
        let of_requests = matches!(limit.part, Part::Turn);
        let own = limit.meters.standings(of_requests, now).map(|(_, standing)| standing);
        *told = own.chain(*told).min_by_key(|standing| standing.remaining);
    }
    Ok(taken)
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
