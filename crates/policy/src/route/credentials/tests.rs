//! Which credential comes first.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::snapshot::{Auth, Dialect, Origin, Timeouts};

/// A provider with credentials `c0`, `c1`, … of these weights.
fn provider(weights: &[f64]) -> Arc<Provider> {
    let one = |(number, weight): (usize, &f64)| Provider {
        name: "p".into(),
        vendor: "custom".into(),
        dialect: Dialect::OpenAi,
        origin: Origin { tls: false, host: "127.0.0.1".into(), port: 1 },
        base_path: "/v1".into(),
        credential: Some(crate::key::Secret::new(format!("secret-{number}"))),
        credential_name: Some(format!("c{number}").into()),
        weight: *weight,
        others: Box::default(),
        auth: Auth::Bearer,
        also: Vec::new(),
        responses: None,
        rerank: None,
        embed: None,
        api_version: None,
        quirks: Vec::new(),
        exceptions: Vec::new(),
        abort_stops_billing: true,
        stream_usage: true,
        ca: None,
        max_concurrency: None,
        may_be_private: true,
        timeouts: Timeouts::default(),
        headers: Vec::new(),
        max_connections: 1,
        adaptive: crate::adaptive::Adaptive::Off,
        discover: false,
        simulated: false,
    };
    let mut all = weights.iter().enumerate().map(one);
    let first = all.next().unwrap();
    Arc::new(Provider { others: all.map(Arc::new).collect(), ..first })
}

fn names(turns: &[Turn<'_>]) -> Vec<String> {
    turns.iter().map(|(provider, _)| provider.credential_name.as_deref().unwrap_or("-").to_owned()).collect()
}

/// Chance that a test can repeat.
fn chance(seed: u32) -> f64 {
    bucket("chance", &seed.to_string())
}

#[test]
fn calls_are_spread_by_weight() {
    let provider = provider(&[3.0, 1.0, 0.0]);
    let seed = std::cell::Cell::new(0);
    let mut firsts = [0u32; 3];
    for _ in 0..4_000 {
        let draw = || {
            seed.set(seed.get() + 1);
            chance(seed.get())
        };
        let order = names(&provider.turns(|_| Stand::Ready, None, draw));
        assert_eq!(order.len(), 3);
        assert_eq!(order[2], "c2", "a weight of 0 comes last");
        firsts[order[0][1..].parse::<usize>().unwrap()] += 1;
    }
    assert!((2_850..3_150).contains(&firsts[0]), "{firsts:?}");
    assert_eq!(firsts[2], 0);
}

#[test]
fn who_has_a_name_keeps_a_credential_while_it_is_well() {
    let provider = provider(&[1.0, 1.0, 1.0]);
    let ready = |_: &Provider| Stand::Ready;
    let mut firsts = std::collections::BTreeMap::<String, u32>::new();
    for user in 0..300 {
        let user = format!("user-{user}");
        let order = |stand: &dyn Fn(&Provider) -> Stand| {
            names(&provider.turns(stand, Some(&user), || unreachable!("nothing is left to chance")))
        };
        let usual = order(&ready);
        assert_eq!(order(&ready), usual);
        *firsts.entry(usual[0].clone()).or_default() += 1;
        // While its own is away it has the next, and then its own again.
        let away = |one: &Provider| {
            if one.credential_name.as_deref() == Some(&*usual[0]) { Stand::Away } else { Stand::Ready }
        };
        assert_eq!(order(&away), [usual[1].clone(), usual[2].clone(), usual[0].clone()]);
    }
    assert!(firsts.len() == 3 && firsts.values().all(|count| *count > 60), "{firsts:?}");
}

#[test]
fn one_that_is_due_is_tried_and_one_that_is_away_comes_last() {
    let provider = provider(&[1.0, 1.0, 1.0, 1.0]);
    let stands = |wanted: [Stand; 4]| {
        let turns = provider.turns(
            |one| {
                let name = one.credential_name.as_deref().unwrap();
                wanted[name[1..].parse::<usize>().unwrap()]
            },
            Some("user"),
            || 0.5,
        );
        turns.iter().map(|(_, stand)| *stand).collect::<Vec<_>>()
    };
    use Stand::{Away, Due, Full, Ready};
    assert_eq!(stands([Away, Full, Due, Ready]), [Due, Ready, Full, Away]);
    assert_eq!(stands([Away, Ready, Due, Ready]), [Due, Ready, Ready, Away]);
    assert_eq!(stands([Away, Away, Away, Away]), [Away; 4], "still there to be tried");
    assert_eq!(stands([Due, Due, Ready, Away]), [Due, Ready, Due, Away], "one try at a time");
}

#[test]
fn one_alone_is_one_alone() {
    let one = provider(&[1.0]);
    assert_eq!(names(&one.turns(|_| Stand::Away, Some("user"), || 0.0)), ["c0"]);
}
