//! The keyring: rotation, revocation, counters that survive, allow-lists.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::money::Currency;
use crate::time::Moment;

fn record(number: u8) -> KeyRecord {
    KeyRecord {
        id: KeyId::new([number; 13]),
        name: "app".into(),
        environment: "dev".into(),
        hash: Some(KeyHash([number; 32])),
        previous: None,
        hint: String::new(),
        models: Vec::new(),
        limits: Limits::default()
            .with("requests_per_minute", 2)
            .with("tokens_per_minute", 10)
            .with("concurrency", 1),
        budgets: vec![BudgetRule::new(
            "monthly".into(),
            Money { currency: Currency::USD, nano: 1 },
            Window::Month,
        )],
        durable: false,
        created_at: Timestamp::from_micros(0),
        expires_at: None,
        revoked_at: None,
        origin: Origin::Live,
    }
}

fn with_models(models: &[&str]) -> KeyState {
    let models = models.iter().map(|model| (*model).to_owned()).collect();
    KeyState::new(KeyRecord { models, ..record(1) }, None)
}

#[test]
fn allow_lists() {
    assert!(with_models(&[]).may_use("anything"));
    assert!(with_models(&["chat", "*"]).may_use("anything/at/all"));
    let state = with_models(&["chat", "openai/*", "local/tiny", "openrouter/meta/x"]);
    for model in ["chat", "openai/gpt-5-mini", "openai/a/b", "local/tiny", "openrouter/meta/x"] {
        assert!(state.may_use(model), "{model}");
    }
    for model in
        ["cha", "chat2", "openai", "openai2/gpt", "local/other", "local/*", "openrouter/meta/y", "*", ""]
    {
        assert!(!state.may_use(model), "{model}");
    }
}

#[test]
fn rotation_keeps_the_old_secret_until_its_end() {
    let ring = Keyring::new();
    ring.upsert(record(1));
    let old = KeyHash([1; 32]);
    let until = Timestamp::from_micros(1_000);
    let rotated = KeyRecord {
        hash: Some(KeyHash([9; 32])),
        previous: Some(PreviousHash { hash: old, until }),
        ..record(1)
    };
    ring.upsert(rotated);
    let by_old = ring.find(&old).unwrap();
    assert_eq!(by_old.active(Timestamp::from_micros(999)), Ok(()));
    assert_eq!(by_old.active(until), Err(KeyRefusal::Expired));
    assert_eq!(ring.find(&KeyHash([9; 32])).unwrap().active(until), Ok(()));
    // Both count together.
    assert!(by_old.meters.buckets[0].1.admit(Moment::from_nanos(0)).is_ok());
    let by_new = ring.find(&KeyHash([9; 32])).unwrap();
    assert_eq!(by_new.meters.buckets[0].1.admit(Moment::from_nanos(0)).unwrap().remaining, 0);
    ring.upsert(KeyRecord { hash: Some(KeyHash([9; 32])), ..record(1) });
    assert!(ring.find(&old).is_none());
    assert_eq!(ring.len(), 1);
}

#[test]
fn counters_survive_an_update_unless_their_limit_changes() {
    let ring = Keyring::new();
    ring.upsert(record(1));
    let before = ring.get(&record(1).id).unwrap();
    let _permit = before.meters.permits.acquire().unwrap();
    before.meters.buckets[0].1.admit(Moment::from_nanos(0)).unwrap();
    before.meters.buckets[1].1.debit(Moment::from_nanos(0), 10).unwrap();

    let mut changed = record(1);
    changed.name = "renamed".into();
    changed.limits.set("tokens_per_minute", 20);
    ring.upsert(changed);
    let after = ring.find(&KeyHash([1; 32])).unwrap();
    assert_eq!(after.meters.buckets[0].1.admit(Moment::from_nanos(0)).unwrap().remaining, 0);
    assert!(after.meters.buckets[1].1.debit(Moment::from_nanos(0), 20).is_ok());
    assert!(after.meters.permits.acquire().is_none());
    assert_eq!(after.meters.permits.in_use(), 1);
}

#[test]
fn revoked_and_expired_keys_say_so() {
    let end = Some(Timestamp::from_micros(5));
    let state = KeyState::new(KeyRecord { expires_at: end, ..record(1) }, None);
    assert_eq!(state.active(Timestamp::from_micros(4)), Ok(()));
    assert_eq!(state.active(Timestamp::from_micros(5)), Err(KeyRefusal::Expired));
    let state = KeyState::new(KeyRecord { revoked_at: end, expires_at: end, ..record(1) }, None);
    assert_eq!(state.active(Timestamp::from_micros(6)), Err(KeyRefusal::Revoked));
}

#[test]
fn removing_one_key_leaves_the_others() {
    let ring = Keyring::new();
    for number in 0..=255 {
        ring.upsert(record(number));
    }
    assert_eq!(ring.len(), 256);
    // A second key takes over a hash: removing the first must not take it away.
    ring.upsert(KeyRecord { hash: Some(KeyHash([7; 32])), ..record(8) });
    ring.remove(&record(7).id);
    assert_eq!(ring.find(&KeyHash([7; 32])).unwrap().record.id, record(8).id);
    assert!(ring.find(&KeyHash([8; 32])).is_none());
    assert!(ring.get(&record(7).id).is_none());
    assert_eq!(ring.all().len(), 255);
    ring.upsert(KeyRecord { hash: None, ..record(3) });
    assert!(ring.find(&KeyHash([3; 32])).is_none());
    assert!(ring.get(&record(3).id).is_some());
}

#[test]
fn budgets_have_scopes() {
    let state = KeyState::new(record(1), None);
    let scope = state.budget_scope(&state.record.budgets[0]);
    assert_eq!(&*scope, format!("{}/monthly", state.record.id));
    assert!(Arc::ptr_eq(&scope, &state.budget_scope(&state.record.budgets[0])));
}

#[test]
fn records_read_back() {
    let full = KeyRecord {
        previous: Some(PreviousHash { hash: KeyHash([2; 32]), until: Timestamp::from_micros(1) }),
        ..record(1)
    };
    let json = serde_json::to_string(&full).unwrap();
    assert_eq!(serde_json::from_str::<KeyRecord>(&json).unwrap(), full);
}
