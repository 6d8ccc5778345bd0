//! Thoughts and signatures of answers that call tools, remembered until their clients come back with the results.
//!
//! In memory and bounded: by age, by number and by weight, the oldest go first. Each belongs to the virtual key that
//! got the answer. Losing one costs a turn its thoughts and nothing else; several nodes each remember their own.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use policy::{KeyId, Moment};
use providers::blocks::Keepsake;

const OLDEST: Duration = Duration::from_secs(60 * 60);
const MOST: usize = 20_000;
/// All of them together, bytes.
const HEAVIEST: usize = 32 << 20;

type Name = (KeyId, String);

#[derive(Default)]
struct Shelf {
    by_call: HashMap<Name, Arc<Keepsake>>,
    /// The oldest first.
    order: VecDeque<(Moment, KeyId, Arc<Keepsake>)>,
    weight: usize,
}

/// All of them.
#[derive(Default)]
pub(crate) struct Keepsakes(Mutex<Shelf>);

impl Keepsakes {
    /// Remembers one.
    pub(crate) fn keep(&self, key: &KeyId, keepsake: Keepsake, now: Moment) {
        let keepsake = Arc::new(keepsake);
        let mut shelf = self.0.lock();
        for call in keepsake.calls() {
            shelf.by_call.insert((key.clone(), call.to_owned()), Arc::clone(&keepsake));
        }
        shelf.weight += keepsake.weight();
        shelf.order.push_back((now, key.clone(), keepsake));
        while let Some((at, ..)) = shelf.order.front() {
            let fits = shelf.order.len() <= MOST && shelf.weight <= HEAVIEST && now.since(*at) <= OLDEST;
            if fits {
                break;
            }
            shelf.forget_oldest();
        }
    }

    /// What belongs to a call of this key's.
    pub(crate) fn find(&self, key: &KeyId, call: &str) -> Option<Arc<Keepsake>> {
        let shelf = self.0.lock();
        if shelf.by_call.is_empty() {
            return None;
        }
        shelf.by_call.get(&(key.clone(), call.to_owned())).cloned()
    }
}

impl Shelf {
    fn forget_oldest(&mut self) {
        let Some((_, key, keepsake)) = self.order.pop_front() else { return };
        self.weight = self.weight.saturating_sub(keepsake.weight());
        for call in keepsake.calls() {
            let name = (key.clone(), call.to_owned());
            // A newer one may have the same id.
            if self.by_call.get(&name).is_some_and(|kept| Arc::ptr_eq(kept, &keepsake)) {
                self.by_call.remove(&name);
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use providers::blocks::{Answer, Choice, Issuer, Opaque, OpaqueKind, Part, ToolCall};
    use providers::dialects::Dialect;

    fn keepsake(call: &str) -> Keepsake {
        let issuer = Issuer { dialect: Dialect::Gemini, provider: "g".into() };
        let opaque = Some(Opaque { issuer, kind: OpaqueKind::ThoughtSignature, data: "s".into() });
        let call = Part::ToolCall(ToolCall { id: call.into(), opaque, ..ToolCall::default() });
        let choices = vec![Choice { parts: vec![call], ..Choice::default() }];
        Keepsake::of(&Answer { choices, ..Answer::default() }).unwrap()
    }

    #[test]
    fn each_belongs_to_its_key_and_grows_old() {
        let (kept, mine, other) = (Keepsakes::default(), KeyId("mine".into()), KeyId("other".into()));
        let start = Moment::from_nanos(1);
        kept.keep(&mine, keepsake("c1"), start);
        assert!(kept.find(&mine, "c1").is_some());
        assert!(kept.find(&other, "c1").is_none());
        kept.keep(&mine, keepsake("c2"), start.plus(OLDEST + Duration::from_secs(1)));
        assert!(kept.find(&mine, "c1").is_none());
        assert!(kept.find(&mine, "c2").is_some());
    }
}
