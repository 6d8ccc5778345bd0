//! The database as a thing that may not be there.
//!
//! The gateway boots and serves without its database. So nobody holds a `Store`; they hold this, ask it
//! each time, and get either a store or a reason that a person can read.

use crate::ApiError;
use arc_swap::ArcSwap;
use std::sync::Arc;
use store::Store;

/// A shared slot for the store; cheap to clone.
#[derive(Clone)]
pub struct StoreHandle {
    slot: Arc<ArcSwap<Slot>>,
}

struct Slot {
    store: Option<Store>,
    reason: String,
}

impl StoreHandle {
    /// A handle without a store yet; `reason` says why, as in "connecting to PostgreSQL".
    pub fn away(reason: &str) -> Self {
        let slot = Slot { store: None, reason: reason.to_owned() };
        Self { slot: Arc::new(ArcSwap::from_pointee(slot)) }
    }

    /// The store is there from now on.
    pub fn set(&self, store: Store) {
        self.slot.store(Arc::new(Slot { store: Some(store), reason: String::new() }));
    }

    /// The store cannot be reached, for this reason; it may come back.
    pub fn set_away(&self, reason: &str) {
        self.slot.store(Arc::new(Slot { store: None, reason: reason.to_owned() }));
    }

    /// The store, if it is there.
    pub fn find(&self) -> Option<Store> {
        self.slot.load().store.clone()
    }

    /// Why the store is away; empty when it is there.
    pub fn reason(&self) -> String {
        self.slot.load().reason.clone()
    }

    /// The store, or the error that a caller of the API gets.
    pub fn load(&self) -> Result<Store, ApiError> {
        self.find().ok_or_else(|| ApiError::StoreAway(self.reason()))
    }
}
