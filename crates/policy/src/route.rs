//! Routes: from a name to the order in which deployments are asked, and why each stands where it does.
//!
//! Everything that changes from request to request (how places stand, what the request is, chance) comes through a [`View`], so
//! the order can be explained, and tested, without a network.

mod condition;
mod credentials;
mod ejection;

use crate::guardrails::Guardrail;
use crate::ids::Name;
use crate::limits::bucket;
use crate::money::Money;
use crate::settings::TimeoutsDocument;
use crate::snapshot::{Deployment, Provider, Timeouts};
use serde::Serialize;
use smallvec::SmallVec;
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use condition::{Condition, ConditionError, Facts};
pub use credentials::Turn;

/// Of two deployments that are about as quick, the one that is less busy is asked: within this, as a factor.
const ABOUT: f64 = 1.2;

/// By what the targets of a route are ordered.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// By chance, by their weights.
    #[default]
    Weighted,
    /// As they are written.
    Ordered,
    /// The shortest time to the first token, as seen lately.
    Fastest,
    /// The least that the request could cost.
    Cheapest,
    /// The fewest requests under way, for its weight.
    LeastBusy,
    /// The largest share left of what the provider says that it allows.
    MostRemaining,
}

impl Strategy {
    /// Every strategy, with its name in settings.
    pub const NAMES: [(&'static str, Strategy); 6] = [
        ("weighted", Strategy::Weighted),
        ("ordered", Strategy::Ordered),
        ("fastest", Strategy::Fastest),
        ("cheapest", Strategy::Cheapest),
        ("least_busy", Strategy::LeastBusy),
        ("most_remaining", Strategy::MostRemaining),
    ];

    /// The name in settings.
    pub fn as_str(self) -> &'static str {
        Strategy::NAMES.iter().find(|(_, own)| *own == self).map_or("", |(name, _)| name)
    }
}

/// Who is given the same target again.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sticky {
    /// The end user.
    EndUser,
    /// The session.
    Session,
}

impl Sticky {
    /// Both, with their names in settings.
    pub const NAMES: [(&'static str, Sticky); 2] =
        [("end_user", Sticky::EndUser), ("session", Sticky::Session)];
}

/// Why a fallback is asked; a set of causes.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize)]
pub struct Causes(u8);

impl Causes {
    /// The provider failed, or could not be reached.
    pub const ERROR: Causes = Causes(1);
    /// It took too long.
    pub const TIMEOUT: Causes = Causes(2);
    /// It limits our rate, or a limit of ours holds for it.
    pub const RATE_LIMIT: Causes = Causes(4);
    /// The input is too long for it.
    pub const CONTEXT: Causes = Causes(8);
    /// It refuses the content.
    pub const CONTENT_POLICY: Causes = Causes(16);
    /// A budget cannot hold what the targets could cost.
    pub const BUDGET: Causes = Causes(32);
    /// What a fallback is for that does not say: another answer to the same request is no surprise.
    pub const USUAL: Causes = Causes(1 | 2 | 4 | 8);

    /// Every cause, with its name in settings.
    pub const NAMES: [(&'static str, Causes); 6] = [
        ("error", Causes::ERROR),
        ("timeout", Causes::TIMEOUT),
        ("rate_limit", Causes::RATE_LIMIT),
        ("context", Causes::CONTEXT),
        ("content_policy", Causes::CONTENT_POLICY),
        ("budget", Causes::BUDGET),
    ];

    /// Those of these names; unknown ones are passed over.
    pub fn named<'n>(names: impl Iterator<Item = &'n str>) -> Causes {
        let known = |name: &str| Causes::NAMES.iter().find(|(own, _)| *own == name).map(|(_, cause)| cause.0);
        Causes(names.filter_map(known).fold(0, |all, cause| all | cause))
    }

    /// Whether all of `other` is among them.
    pub fn has(self, other: Causes) -> bool {
        self.0 & other.0 == other.0
    }
}

impl fmt::Display for Causes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> =
            Causes::NAMES.iter().filter(|(_, cause)| self.has(*cause)).map(|(name, _)| *name).collect();
        f.write_str(&names.join(", "))
    }
}

/// What an attempt says other than its client: members of the request's body, in the words of the provider's own API.
pub type Said = Arc<[(Name, Name)]>;

/// A deployment in a route.
#[derive(Clone, Debug)]
pub struct Choice {
    /// Where it leads.
    pub deployment: Arc<Deployment>,
    /// Its share: of targets, positive, and 1 for all together.
    pub weight: f64,
    /// It is asked only where this holds.
    pub when: Option<Arc<Condition>>,
    /// Members that are set in what it is asked, as JSON texts.
    pub set: Option<Said>,
}

impl Choice {
    /// A deployment that is asked without conditions.
    pub fn of(deployment: Arc<Deployment>) -> Choice {
        Choice { deployment, weight: 1.0, when: None, set: None }
    }

    /// The most output that what is set asks for.
    pub fn max_output(&self) -> Option<u64> {
        let names = ["max_tokens", "max_completion_tokens", "max_output_tokens"];
        let set = self.set.as_ref()?.iter().filter(|(name, _)| names.contains(&&**name));
        set.filter_map(|(_, value)| value.parse().ok()).min()
    }
}

/// The decision from a name to an ordered list of attempts.
#[derive(Clone, Debug)]
pub struct Route {
    /// What clients ask for.
    pub name: Name,
    /// By what the targets are ordered.
    pub strategy: Strategy,
    /// Who is given the same target again.
    pub sticky: Option<Sticky>,
    /// One is chosen; where it fails, another.
    pub targets: Vec<Choice>,
    /// Tried after it, in this order, each where the cause is one of its own.
    pub fallbacks: Vec<(Choice, Causes)>,
    /// What could cost more is not asked.
    pub max_cost: Option<Money>,
    /// What has lately taken longer to its first token is not asked.
    pub max_first_token: Option<Duration>,
    /// The route's timeouts; what it does not say is the default.
    pub timeouts: Timeouts,
    /// How long answers are given again to the same request. `None`: never.
    pub cache: Option<Duration>,
    /// Look at requests that ask for it, in this order.
    pub guardrails: Box<[Arc<Guardrail>]>,
    /// What it leads to, hashed ([`crate::definition`]).
    pub definition: [u8; 32],
    pub(crate) own_timeouts: TimeoutsDocument,
}

/// Whether a deployment is asked at present.
#[derive(Copy, Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Stand {
    /// Nothing speaks against it.
    Ready,
    /// It was passed over long enough: one request is to try it.
    Due,
    /// As many calls are under way as it bears: others come first.
    Full,
    /// It is passed over while there is another.
    Away,
}

/// What a route must know of the request and of its deployments.
pub trait View {
    /// Chance: uniform in [0, 1).
    fn draw(&self) -> f64;
    /// How a deployment stands.
    fn stand(&self, deployment: &Deployment) -> Stand;
    /// The share of its attempts that fail, of one that is passed over for that alone; else `None`.
    fn failing(&self, deployment: &Deployment) -> Option<f64>;
    /// Whether a condition holds for the request.
    fn holds(&self, condition: &Condition) -> bool;
    /// What the request has besides text, by the names of [`Deployment::takes`].
    fn content(&self) -> &[&'static str];
    /// Who asks, as a route may be sticky.
    fn unit(&self, sticky: Sticky) -> Option<&str>;
    /// The most that the request could cost there; `None` where nobody knows.
    fn cost(&self, deployment: &Deployment) -> Option<Money>;
    /// What the request will probably cost at most, for comparing places: the same output everywhere.
    fn price(&self, deployment: &Deployment) -> Option<Money>;
    /// Time to the first token, as seen lately; `None` where nothing was.
    fn first_token(&self, deployment: &Deployment) -> Option<Duration>;
    /// Requests under way there.
    fn in_flight(&self, deployment: &Deployment) -> u32;
    /// The share left of what its provider allows, from 0 to 1; `None` where it tells nothing.
    fn remaining(&self, deployment: &Deployment) -> Option<f64>;
}

/// A deployment in the order of a request.
#[derive(Copy, Clone, Debug)]
pub struct Ranked<'r> {
    /// Which.
    pub choice: &'r Choice,
    /// After which causes it is asked; `None` for a target.
    pub on: Option<Causes>,
    /// How it stood.
    pub stand: Stand,
    /// It mostly fails, and is asked all the same: half of the route is passed over for that already.
    pub kept: bool,
}

/// Why a deployment of a route is not asked.
#[derive(Clone, Debug, PartialEq)]
pub enum LeftOut {
    /// Its condition does not hold.
    Condition(Name),
    /// It does not take what the request has.
    Content(Vec<&'static str>),
    /// The request could cost more there than the route allows.
    Cost(Money, Money),
    /// It has lately been slower than the route allows.
    Slow(Duration, Duration),
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LeftOut::Condition(text) => write!(f, "`when = {text:?}` does not hold"),
            LeftOut::Content(kinds) => write!(f, "it does not take {}", kinds.join(", ")),
            LeftOut::Cost(could, most) => {
                let (could_be, currency) = (could.decimal(), could.currency);
                write!(f, "it could cost {could_be} {currency}, more than `max_cost` {}", most.decimal())
            }
            LeftOut::Slow(seen, most) => {
                write!(
                    f,
                    "its first token has lately taken {seen:.1?}, more than `max_first_token` {most:.1?}"
                )
            }
        }
    }
}

/// The order of a request.
#[derive(Clone, Debug)]
pub struct Order<'r> {
    /// Who is asked, the first first; none twice.
    pub ranked: SmallVec<[Ranked<'r>; 4]>,
    /// Who is not, and why.
    pub left_out: Vec<(&'r Choice, LeftOut)>,
}

impl Route {
    /// The order in which deployments are asked, none twice: a target that is to be tried again, then the other targets by the
    /// route's strategy, then the fallbacks as they are written; last of all, in the same order, what is passed over at
    /// present.
    pub fn order(&self, view: &impl View) -> Order<'_> {
        let mut left_out: Vec<(&Choice, LeftOut)> = Vec::new();
        let mut open: SmallVec<[Ranked<'_>; 4]> = SmallVec::new();
        let targets = self.targets.iter().map(|choice| (choice, None));
        let fallbacks = self.fallbacks.iter().map(|(choice, on)| (choice, Some(*on)));
        for (choice, on) in targets.chain(fallbacks) {
            let known = |earlier: &Ranked<'_>| earlier.choice.deployment.name == choice.deployment.name;
            if on.is_some() && open.iter().any(known) {
                continue;
            }
            match self.left_out(choice, view) {
                None => {
                    let stand = view.stand(&choice.deployment);
                    open.push(Ranked { choice, on, stand, kept: false });
                }
                Some(why) => left_out.push((choice, why)),
            }
        }
        if open.iter().any(|one| one.stand == Stand::Away) {
            ejection::keep_half(&mut open, view);
        }
        let fallbacks = open.iter().position(|one| one.on.is_some()).unwrap_or(open.len());
        let fallbacks: SmallVec<[Ranked<'_>; 4]> = open.drain(fallbacks..).collect();
        let mut ranked = self.ranked(open, view);
        ranked.extend(fallbacks);
        // Stable: what is full or passed over comes last, and all else as it was.
        ranked.sort_by_key(|one| Route::lateness(one.on, one.stand));
        Order { ranked, left_out }
    }

    /// How late something is asked: what is full after what is not, and what is passed over after that, but before fallbacks
    /// that are for other causes than those for which places are passed over.
    pub fn lateness(on: Option<Causes>, stand: Stand) -> u8 {
        match (on, stand) {
            (Some(on), _) if !on.has(Causes::ERROR) && !on.has(Causes::RATE_LIMIT) => 3,
            (_, Stand::Away) => 2,
            (_, Stand::Full) => 1,
            (_, Stand::Ready | Stand::Due) => 0,
        }
    }

    /// Whether places are to be measured for it.
    pub fn measures(&self) -> bool {
        let measured =
            matches!(self.strategy, Strategy::Fastest | Strategy::LeastBusy | Strategy::MostRemaining);
        measured || self.max_first_token.is_some()
    }

    /// The timeouts of an attempt on this provider: what the route says, else what the provider says, else
    /// the default.
    pub fn timeouts_on(&self, provider: &Provider) -> Timeouts {
        self.own_timeouts.over(provider.timeouts)
    }

    fn left_out(&self, choice: &Choice, view: &impl View) -> Option<LeftOut> {
        if let Some(when) = choice.when.as_ref().filter(|when| !view.holds(when)) {
            return Some(LeftOut::Condition(when.text().into()));
        }
        let lacking = choice.deployment.lacks(view.content());
        if !lacking.is_empty() {
            return Some(LeftOut::Content(lacking));
        }
        if let Some(most) = self.max_cost
            && let Some(could) = view.cost(&choice.deployment)
            && could.currency == most.currency
            && could.nano > most.nano
        {
            return Some(LeftOut::Cost(could, most));
        }
        if let Some(most) = self.max_first_token
            && let Some(seen) = view.first_token(&choice.deployment).filter(|seen| *seen > most)
        {
            return Some(LeftOut::Slow(seen, most));
        }
        None
    }

    fn ranked<'r>(
        &'r self,
        mut left: SmallVec<[Ranked<'r>; 4]>,
        view: &impl View,
    ) -> SmallVec<[Ranked<'r>; 4]> {
        let mut order: SmallVec<[Ranked<'r>; 4]> = SmallVec::new();
        if let Some(due) = left.iter().position(|one| one.stand == Stand::Due) {
            order.push(left.remove(due));
        }
        let before = order.len();
        let unit = self.sticky.and_then(|sticky| view.unit(sticky));
        for wanted in [Stand::Ready, Stand::Due, Stand::Full, Stand::Away] {
            match (self.strategy, unit) {
                (Strategy::Ordered, _) => {
                    order.extend(left.iter().filter(|one| one.stand == wanted).copied());
                }
                (_, Some(unit)) => {
                    let start = order.len();
                    order.extend(left.iter().filter(|one| one.stand == wanted).copied());
                    order[start..].sort_by(|one, other| {
                        self.score(unit, other.choice).total_cmp(&self.score(unit, one.choice))
                    });
                }
                (_, None) => {
                    while let Some(chosen) = by_weight(&left, wanted, view) {
                        order.push(left.remove(chosen));
                    }
                }
            }
        }
        self.by_measure(&mut order[before..], view);
        order
    }

    /// How much a unit is drawn to a target: whoever scores highest is first. When a target comes or goes, only those move
    /// that were or will be its own (rendezvous hashing with weights).
    fn score(&self, unit: &str, choice: &Choice) -> f64 {
        let salt = format!("{}/{}", self.name, choice.deployment.name);
        // In (0, 1): the logarithm is below zero.
        let drawn = bucket(&salt, unit).max(f64::MIN_POSITIVE);
        -choice.weight / drawn.ln()
    }

    /// Sorts by what the strategy measures; equals stay as chance or stickiness has put them.
    fn by_measure(&self, order: &mut [Ranked<'_>], view: &impl View) {
        type Key = (Stand, f64);
        let by = |order: &mut [Ranked<'_>], measure: &dyn Fn(&Choice) -> f64| {
            let key = |one: &Ranked<'_>| -> Key { (one.stand, measure(one.choice)) };
            order.sort_by(|one, other| compare(key(one), key(other)));
        };
        match self.strategy {
            Strategy::Weighted | Strategy::Ordered => {}
            Strategy::Cheapest => {
                let first = order.iter().find_map(|one| view.price(&one.choice.deployment));
                let currency = first.map(|cost| cost.currency);
                by(order, &|choice| match view.price(&choice.deployment) {
                    Some(cost) if Some(cost.currency) == currency => cost.nano as f64,
                    _ => f64::INFINITY,
                });
            }
            Strategy::LeastBusy => {
                by(order, &|choice| f64::from(view.in_flight(&choice.deployment)) / choice.weight);
            }
            Strategy::MostRemaining => {
                by(order, &|choice| -view.remaining(&choice.deployment).unwrap_or(1.0));
            }
            Strategy::Fastest => {
                // One request at a time finds out about a place of which nothing is known.
                let seconds = |choice: &Choice| match view.first_token(&choice.deployment) {
                    Some(seen) => seen.as_secs_f64(),
                    None if view.in_flight(&choice.deployment) == 0 => 0.0,
                    None => f64::INFINITY,
                };
                by(order, &seconds);
                let about = order.first().map_or(0.0, |best| seconds(best.choice) * ABOUT);
                let stand = order.first().map(|best| best.stand);
                let near = order
                    .iter()
                    .take_while(|one| Some(one.stand) == stand && seconds(one.choice) <= about)
                    .count();
                order[..near].sort_by(|one, other| {
                    let busy = |one: &Ranked<'_>| {
                        f64::from(view.in_flight(&one.choice.deployment)) / one.choice.weight
                    };
                    busy(one).total_cmp(&busy(other))
                });
            }
        }
    }

    /// What stood behind a deployment's place, in words, for whoever asks for an explanation.
    pub fn because(&self, one: &Ranked<'_>, view: &impl View) -> String {
        let deployment = &one.choice.deployment;
        let mut words = match (one.on, self.strategy) {
            (Some(on), _) => format!("fallback after {on}"),
            (None, Strategy::Weighted) if self.sticky.and_then(|sticky| view.unit(sticky)).is_some() => {
                format!("target with {:.0} % of all, the same for this one always", one.choice.weight * 100.0)
            }
            (None, Strategy::Weighted) => format!("target with {:.0} % of all", one.choice.weight * 100.0),
            (None, Strategy::Ordered) => "target, as written".to_owned(),
            (None, Strategy::Fastest) => match view.first_token(deployment) {
                Some(seen) => format!("target with a first token after {seen:.1?} lately"),
                None => "target not seen lately, so it is tried".to_owned(),
            },
            (None, Strategy::Cheapest) => match view.price(deployment) {
                Some(cost) => format!("target that costs about {} {}", cost.decimal(), cost.currency),
                None => "target whose price nobody knows".to_owned(),
            },
            (None, Strategy::LeastBusy) => {
                format!("target with {} requests under way", view.in_flight(deployment))
            }
            (None, Strategy::MostRemaining) => match view.remaining(deployment) {
                Some(share) => format!("target with {:.0} % left of what it allows", share * 100.0),
                None => "target that tells nothing of what it allows".to_owned(),
            },
        };
        if let Some(when) = &one.choice.when {
            words.push_str(&format!("; `when = {:?}` holds", when.text()));
        }
        match one.stand {
            Stand::Ready if one.kept => {
                words.push_str("; mostly fails, as does half of the route, so it is asked all the same");
            }
            Stand::Ready => {}
            Stand::Due => words.push_str("; was passed over, and is to be tried"),
            Stand::Full => words.push_str("; has as many under way as it bears"),
            Stand::Away => words.push_str("; is passed over while there is another"),
        }
        words
    }
}

fn compare(one: (Stand, f64), other: (Stand, f64)) -> Ordering {
    one.0.cmp(&other.0).then(one.1.total_cmp(&other.1))
}

/// One of those that stand as wanted, by their weights among themselves.
fn by_weight(left: &[Ranked<'_>], wanted: Stand, view: &impl View) -> Option<usize> {
    let fit = || left.iter().enumerate().filter(|(_, one)| one.stand == wanted);
    let last = fit().next_back()?.0;
    if fit().count() == 1 {
        return Some(last);
    }
    let sum: f64 = fit().map(|(_, one)| one.choice.weight).sum();
    let mut rest = view.draw() * sum;
    // Weights are rounded: a draw just below 1 may lie beyond their sum.
    let chosen = fit().find(|(_, one)| {
        rest -= one.choice.weight;
        rest < 0.0
    });
    Some(chosen.map_or(last, |(at, _)| at))
}
