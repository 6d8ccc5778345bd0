//! Who is counted, and what follows from it.

use std::time::Duration;

use policy::{Discovered, Pepper, Secret, SecretRef, Secrets, Target, Timestamp};

use super::*;

/// The secret of a variable is its name.
struct Named;

impl Secrets for Named {
    fn read(&self, reference: &SecretRef) -> Result<Secret, String> {
        Ok(Secret::new(reference.to_string()))
    }
}

/// The deployment `p/m` of a provider with these settings.
fn deployment(settings: &str) -> Option<Arc<Deployment>> {
    let text = format!("[providers.p]\nbase_url = \"http://127.0.0.1:1/v1\"\nmodels = [\"m\"]\n{settings}\n");
    let (document, _) = policy::settings::parse(&text, "t.toml").ok()?;
    let (pepper, found, now) = (Pepper::derive(&[0; 32]), Discovered::default(), Timestamp::from_micros(1));
    let compiled = policy::compile(&document, 1, &Named, &pepper, &found, now).ok()?;
    match compiled.snapshot.environments["dev"].resolve("p/m") {
        Ok(Target::Deployment(deployment)) => Some(deployment),
        _ => None,
    }
}

fn at(milliseconds: u64) -> Moment {
    Moment::from_nanos(milliseconds * 1_000_000)
}

fn of(deployment: &Deployment) -> At<'_> {
    At { deployment, by: &deployment.provider }
}

#[test]
fn a_place_is_counted_from_its_first_refusal_on() {
    let Some(deployment) = deployment("adaptive = \"aimd\"") else { unreachable!() };
    let (paces, place) = (Paces::default(), of(&deployment));
    assert!(paces.begin(place, || unreachable!("no clock is asked")).is_none());
    assert!(!paces.is_full(place));
    paces.refused(place, None, 6, at(0));
    // One that departed before it was counted says nothing new.
    paces.refused(place, None, 1, at(1));
    let calls: Vec<_> = (0..3).filter_map(|n| paces.begin(place, || at(n))).collect();
    assert_eq!((calls.len(), paces.is_full(place)), (3, true), "half of six");
    let lessons: Vec<_> = calls.iter().map(Paced::lesson).collect();
    drop(calls);
    assert!(!paces.is_full(place));
    for lesson in &lessons {
        paces.refused(place, Some(lesson), 1, at(10));
    }
    let shown = paces.of_provider(&deployment.provider);
    assert_eq!(shown, [Bearing { name: "p/m".into(), credential: None, limit: 1, under_way: 0 }]);
    assert_eq!(paces.least().into_iter().next(), Some((("p".into(), "".into()), 1)));
    paces.sweep(at(599_999));
    assert!(!paces.of_provider(&deployment.provider).is_empty());
    drop(lessons);
    paces.sweep(at(600_010));
    assert!(paces.of_provider(&deployment.provider).is_empty(), "forgotten");
    assert!(paces.begin(place, || at(0)).is_none());
}

#[test]
fn each_credential_bears_what_it_bears() {
    let several =
        "adaptive = \"aimd\"\ncredentials.a.credential = \"env:A\"\ncredentials.b.credential = \"env:B\"";
    let Some(deployment) = deployment(several) else { unreachable!() };
    let paces = Paces::default();
    let other = At { deployment: &deployment, by: &deployment.provider.others[0] };
    paces.refused(other, None, 1, at(0));
    let held = paces.begin(other, || at(1));
    assert!(held.is_some() && paces.is_full(other) && !paces.is_full(of(&deployment)));
    assert_eq!(paces.of_provider(&deployment.provider)[0].credential.as_deref(), Some("b"));
}

#[test]
fn a_server_of_ones_own_is_watched_only_where_that_is_switched_on() {
    let off = deployment("");
    let gradient = deployment("adaptive = \"gradient\"");
    let (Some(off), Some(gradient)) = (off, gradient) else { unreachable!() };
    let paces = Paces::default();
    paces.refused(of(&off), None, 8, at(0));
    assert!(paces.begin(of(&off), || unreachable!("no clock is asked")).is_none());
    let calls: Vec<_> = (0..4).filter_map(|_| paces.begin(of(&gradient), || at(0))).collect();
    assert!(paces.is_full(of(&gradient)), "few, until more is known");
    let lessons: Vec<_> = calls.iter().map(Paced::lesson).collect();
    for n in 0..20 {
        lessons[n % 4].answered(true, at(2_000));
    }
    assert!(!paces.is_full(of(&gradient)), "they came as usual");
    drop((calls, lessons));
    paces.sweep(at(2_000).plus(Duration::from_secs(601)));
    assert!(paces.of_provider(&gradient.provider).is_empty(), "nobody calls it any more");
}
