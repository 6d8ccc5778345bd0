//! In which order a route asks its deployments.

use super::*;
use crate::money::{Currency, Money};
use crate::route::Causes;
use crate::route::{Condition, Stand, Sticky, View};
use std::cell::Cell;

/// What a route is told, by a test.
struct Seen<'s> {
    draw: f64,
    draws: Cell<u32>,
    stand: &'s dyn Fn(&Deployment) -> Stand,
    failing: &'s dyn Fn(&Deployment) -> Option<f64>,
    holds: bool,
    content: Vec<&'static str>,
    unit: Option<String>,
    cost: &'s dyn Fn(&Deployment) -> Option<Money>,
    first: &'s dyn Fn(&Deployment) -> Option<Duration>,
    busy: &'s dyn Fn(&Deployment) -> u32,
    remaining: &'s dyn Fn(&Deployment) -> Option<f64>,
}

impl Default for Seen<'_> {
    fn default() -> Self {
        Seen {
            draw: 0.0,
            draws: Cell::new(0),
            stand: &|_| Stand::Ready,
            failing: &|_| None,
            holds: true,
            content: Vec::new(),
            unit: None,
            cost: &|_| None,
            first: &|_| None,
            busy: &|_| 0,
            remaining: &|_| None,
        }
    }
}

impl View for Seen<'_> {
    fn draw(&self) -> f64 {
        self.draws.set(self.draws.get() + 1);
        self.draw
    }

    fn stand(&self, deployment: &Deployment) -> Stand {
        (self.stand)(deployment)
    }

    fn failing(&self, deployment: &Deployment) -> Option<f64> {
        (self.failing)(deployment)
    }

    fn holds(&self, _: &Condition) -> bool {
        self.holds
    }

    fn content(&self) -> &[&'static str] {
        &self.content
    }

    fn unit(&self, _: Sticky) -> Option<&str> {
        self.unit.as_deref()
    }

    fn cost(&self, deployment: &Deployment) -> Option<Money> {
        (self.cost)(deployment)
    }

    fn price(&self, deployment: &Deployment) -> Option<Money> {
        (self.cost)(deployment)
    }

    fn first_token(&self, deployment: &Deployment) -> Option<Duration> {
        (self.first)(deployment)
    }

    fn in_flight(&self, deployment: &Deployment) -> u32 {
        (self.busy)(deployment)
    }

    fn remaining(&self, deployment: &Deployment) -> Option<f64> {
        (self.remaining)(deployment)
    }
}

fn names_of(route: &Route, seen: &Seen<'_>) -> Vec<String> {
    route.order(seen).ranked.iter().map(|one| one.choice.deployment.name.to_string()).collect()
}

#[test]
fn routes_choose_by_weight_and_fall_back_once() {
    let environment = dev(&format!(
        "{LOCAL}[routes.chat]\ntargets = [{{ model = \"local/tiny\", weight = 3 }}, {{ model = \"demo/echo\", weight = 1 \
         }}, {{ model = \"demo/slow\", weight = 0 }}]\nfallbacks = [\"demo/echo\", \"demo/fast\", \"demo/echo\"]\n\
         timeouts = {{ idle = \"7s\" }}\n[routes.echo]\ntargets = [\"demo/story\"]\n"
    ));
    let chat = route(&environment, "chat");
    let order = |draw, stand: &dyn Fn(&Deployment) -> Stand| {
        let seen = Seen { draw, stand, ..Seen::default() };
        names_of(&chat, &seen)
    };
    let names = |draw| order(draw, &|_| Stand::Ready);
    assert_eq!(names(0.0), ["local/tiny", "demo/echo", "demo/fast"]);
    assert_eq!(names(0.7499), ["local/tiny", "demo/echo", "demo/fast"]);
    assert_eq!(
        names(0.75),
        ["demo/echo", "local/tiny", "demo/fast"],
        "a target that was not chosen comes before the fallbacks"
    );
    assert_eq!(names(0.999_999_999_999), ["demo/echo", "local/tiny", "demo/fast"]);
    let but = |name: &'static str, stand| {
        move |one: &Deployment| if &*one.name == name { stand } else { Stand::Ready }
    };
    assert_eq!(order(0.0, &but("local/tiny", Stand::Away)), ["demo/echo", "demo/fast", "local/tiny"]);
    assert_eq!(order(0.9, &but("local/tiny", Stand::Due)), ["local/tiny", "demo/echo", "demo/fast"]);
    assert_eq!(order(0.0, &but("demo/fast", Stand::Due)), ["local/tiny", "demo/echo", "demo/fast"]);
    assert_eq!(order(0.0, &|_| Stand::Away), ["local/tiny", "demo/echo", "demo/fast"]);
    assert_eq!(order(0.0, &but("local/tiny", Stand::Full)), ["demo/echo", "demo/fast", "local/tiny"]);
    let full_and_away = |one: &Deployment| match &*one.name {
        "local/tiny" => Stand::Away,
        "demo/echo" => Stand::Full,
        _ => Stand::Ready,
    };
    assert_eq!(order(0.0, &full_and_away), ["demo/fast", "demo/echo", "local/tiny"]);
    assert_eq!((chat.timeouts.idle, chat.timeouts.connect), (Duration::from_secs(7), Duration::from_secs(5)));
    assert_eq!(
        &*route(&environment, "echo").targets[0].deployment.name,
        "demo/story",
        "a route hides a bare name"
    );
    let entry = environment.models().find(|entry| &*entry.id == "chat").unwrap();
    assert!(entry.route && !entry.simulated && entry.context.is_none(), "nobody knows local/tiny");
}

#[test]
fn a_route_overrides_the_timeouts_of_a_provider() {
    let environment =
        dev("[providers.p]\nbase_url = \"http://h\"\ntimeouts = { connect = \"1s\", idle = \"2s\" }\n\
         [routes.r]\ntargets = [\"p/m\"]\ntimeouts = { idle = \"9s\" }\n");
    let timeouts = route(&environment, "r").timeouts_on(environment.provider("p").unwrap());
    assert_eq!((timeouts.connect, timeouts.idle), (Duration::from_secs(1), Duration::from_secs(9)));
    assert_eq!(timeouts.total, Duration::from_secs(3_600));
}

#[test]
fn a_route_has_its_own_word_on_the_cache() {
    let minutes = |count: u64| Some(Duration::from_secs(60 * count));
    for (wide, own, (environment_ttl, route_ttl)) in [
        ("", "", (None, None)),
        ("cache = { enabled = true }\n", "", (minutes(5), minutes(5))),
        ("cache = { ttl = \"10m\" }\n", "", (minutes(10), minutes(10))),
        ("cache = { enabled = true, ttl = \"10m\" }\n", "cache = { enabled = false }\n", (minutes(10), None)),
        (
            "cache = { enabled = true, ttl = \"10m\" }\n",
            "cache = { ttl = \"1m\" }\n",
            (minutes(10), minutes(1)),
        ),
        ("cache = { enabled = false, ttl = \"10m\" }\n", "cache = { enabled = true }\n", (None, minutes(10))),
        ("cache = { enabled = false }\n", "cache = { ttl = \"1m\" }\n", (None, None)),
        ("", "cache = {}\n", (None, minutes(5))),
    ] {
        let environment = dev(&format!("{wide}[routes.r]\ntargets = [\"demo/echo\"]\n{own}"));
        assert_eq!(environment.cache, environment_ttl, "{wide}{own}");
        assert_eq!(route(&environment, "r").cache, route_ttl, "{wide}{own}");
    }
}

fn money(nano: i64) -> Option<Money> {
    Some(Money { currency: Currency::USD, nano })
}

const THREE: &str = "[providers.p]\nbase_url = \"http://h\"\nmodels = [\"a\", \"b\", \"c\"]\n";

fn three(route: &str) -> Route {
    let environment = dev(&format!("{THREE}[routes.r]\ntargets = [\"p/a\", \"p/b\", \"p/c\"]\n{route}\n"));
    (*super::route(&environment, "r")).clone()
}

/// A figure for each of `p/a`, `p/b`, `p/c`.
fn of<T: Copy>(deployment: &Deployment, figures: [T; 3]) -> T {
    figures[usize::from(deployment.name.as_bytes()[2] - b'a')]
}

#[test]
fn strategies_order_by_what_they_measure() {
    let ordered = three("strategy = \"ordered\"");
    assert_eq!(names_of(&ordered, &Seen { draw: 0.99, ..Seen::default() }), ["p/a", "p/b", "p/c"]);
    let cheapest = three("strategy = \"cheapest\"");
    let cost = |one: &Deployment| of(one, [money(5), None, money(3)]);
    assert_eq!(names_of(&cheapest, &Seen { cost: &cost, ..Seen::default() }), ["p/c", "p/a", "p/b"]);
    let yuan = Some(Money { currency: "CNY".parse().unwrap(), nano: 1 });
    let cost = |one: &Deployment| of(one, [money(5), yuan, money(3)]);
    assert_eq!(names_of(&cheapest, &Seen { cost: &cost, ..Seen::default() })[0], "p/c", "not comparable");
    let busy = |one: &Deployment| of(one, [2, 0, 1]);
    let least = three("strategy = \"least_busy\"");
    assert_eq!(names_of(&least, &Seen { busy: &busy, ..Seen::default() }), ["p/b", "p/c", "p/a"]);
    let remaining = |one: &Deployment| of(one, [Some(0.2), Some(0.9), Some(0.5)]);
    let most = three("strategy = \"most_remaining\"");
    assert_eq!(names_of(&most, &Seen { remaining: &remaining, ..Seen::default() }), ["p/b", "p/c", "p/a"]);
    let fastest = three("strategy = \"fastest\"");
    let seconds =
        |figures: [Option<f64>; 3]| move |one: &Deployment| of(one, figures).map(Duration::from_secs_f64);
    let first = seconds([Some(1.0), Some(0.3), Some(2.0)]);
    assert_eq!(names_of(&fastest, &Seen { first: &first, ..Seen::default() }), ["p/b", "p/a", "p/c"]);
    let first = seconds([Some(1.0), Some(0.3), None]);
    let seen = Seen { first: &first, ..Seen::default() };
    assert_eq!(names_of(&fastest, &seen), ["p/c", "p/b", "p/a"], "of which nothing is known is tried");
    let busy = |one: &Deployment| of(one, [0, 0, 1]);
    let seen = Seen { first: &first, busy: &busy, ..Seen::default() };
    assert_eq!(names_of(&fastest, &seen), ["p/b", "p/a", "p/c"], "and by one request alone");
    let first = seconds([Some(0.35), Some(0.3), Some(0.5)]);
    let busy = |one: &Deployment| of(one, [1, 5, 0]);
    let seen = Seen { first: &first, busy: &busy, ..Seen::default() };
    assert_eq!(names_of(&fastest, &seen), ["p/a", "p/b", "p/c"], "of those about as fast the less busy");
}

#[test]
fn what_is_sticky_stays_and_moves_only_with_its_own_target() {
    let route = three("sticky = \"end_user\"");
    let first = |route: &Route, unit: String| {
        names_of(route, &Seen { unit: Some(unit), draw: 0.5, ..Seen::default() }).remove(0)
    };
    let before: Vec<_> = (0..3_000).map(|user| first(&route, format!("u{user}"))).collect();
    for name in ["p/a", "p/b", "p/c"] {
        let share = before.iter().filter(|first| *first == name).count();
        assert!((850..1_150).contains(&share), "{name}: {share}");
    }
    let mut fewer = route.clone();
    fewer.targets.remove(2);
    for (user, before) in before.iter().enumerate().filter(|(_, before)| *before != "p/c") {
        assert_eq!(first(&fewer, format!("u{user}")), *before, "whose target stays, stays");
    }
    let mut seen = Seen { unit: Some("u1".to_owned()), ..Seen::default() };
    let always = names_of(&route, &seen);
    let away = |one: &Deployment| if *one.name == *always[0] { Stand::Away } else { Stand::Ready };
    seen.stand = &away;
    assert_eq!(
        names_of(&route, &seen),
        [&*always[1], &*always[2], &*always[0]],
        "while it is away, the next"
    );
    assert_eq!(seen.draws.get(), 0, "no chance in it");
}

#[test]
fn conditions_content_and_ceilings_leave_places_out() {
    let environment = dev(&format!(
        "{THREE}[models.\"p/b\"]\ntakes = [\"text\", \"tools\"]\n[routes.r]\nmax_cost = \"0.50\"\nmax_first_token = \
         \"2s\"\ntargets = [{{ model = \"p/a\", when = \"tokens > 100\" }}, \"p/b\"]\nfallbacks = [{{ model = \"p/c\", on = \
         [\"timeout\", \"budget\"], set = {{ temperature = 0.5, stop = [\"x\"] }} }}]\n"
    ));
    let route = route(&environment, "r");
    let all = Seen::default();
    assert_eq!(names_of(&route, &all), ["p/a", "p/b", "p/c"]);
    let on = route.order(&all).ranked[2].on.unwrap();
    assert!(on.has(Causes::TIMEOUT) && on.has(Causes::BUDGET) && !on.has(Causes::ERROR));
    let set = route.fallbacks[0].0.set.clone().unwrap();
    assert_eq!(
        set.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>(),
        ["temperature=0.5", "stop=[\"x\"]"]
    );
    let seen = Seen { holds: false, content: vec!["image"], ..Seen::default() };
    assert_eq!(names_of(&route, &seen), ["p/c"]);
    let why: Vec<_> = route.order(&seen).left_out.iter().map(|(_, why)| why.to_string()).collect();
    assert_eq!(why, ["`when = \"tokens > 100\"` does not hold", "it does not take image"]);
    let cost = |one: &Deployment| of(one, [money(500_000_001), money(500_000_000), None]);
    let first = |one: &Deployment| of(one, [None, Some(Duration::from_secs(3)), None]);
    let seen = Seen { cost: &cost, first: &first, ..Seen::default() };
    assert_eq!(names_of(&route, &seen), ["p/c"], "whose price nobody knows");
    let why: Vec<_> = route.order(&seen).left_out.iter().map(|(_, why)| why.to_string()).collect();
    assert!(why[0].contains("it could cost 0.500000001 USD, more than `max_cost` 0.50"), "{why:?}");
    assert!(why[1].contains("3.0s, more than `max_first_token` 2.0s"), "{why:?}");
}

#[test]
fn no_more_than_half_is_passed_over_for_failing() {
    let environment = dev(
        "[routes.chat]\nstrategy = \"ordered\"\ntargets = [\"demo/echo\", \"demo/fast\", \"demo/slow\"]\n\
                           fallbacks = [{ model = \"demo/story\", on = [\"content_policy\"] }]\n",
    );
    let chat = route(&environment, "chat");
    let share = |one: &Deployment| match &*one.name {
        "demo/echo" => Some(0.9),
        "demo/fast" => Some(0.8),
        "demo/slow" => Some(0.6),
        _ => None,
    };
    let all_away = |one: &Deployment| if &*one.name == "demo/story" { Stand::Ready } else { Stand::Away };
    // Of three one may be passed over, the worst; the fallback is there for something else.
    let seen = Seen { stand: &all_away, failing: &share, ..Seen::default() };
    assert_eq!(names_of(&chat, &seen), ["demo/fast", "demo/slow", "demo/echo", "demo/story"]);
    let order = chat.order(&seen);
    let kept: Vec<_> = order.ranked.iter().map(|one| (one.kept, one.stand)).collect();
    assert_eq!(
        kept,
        [(true, Stand::Ready), (true, Stand::Ready), (false, Stand::Away), (false, Stand::Ready)]
    );
    assert!(
        chat.because(&order.ranked[0], &seen).contains("mostly fails"),
        "{}",
        chat.because(&order.ranked[0], &seen)
    );
    // Whoever is passed over for another reason is, however many that are.
    let seen = Seen { stand: &all_away, ..Seen::default() };
    assert!(chat.order(&seen).ranked.iter().all(|one| !one.kept));
}
