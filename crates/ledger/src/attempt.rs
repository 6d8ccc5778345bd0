//! One attempt at a provider: it ends exactly once, whatever happens.

use std::sync::Arc;

use policy::{Money, RequestId, Timestamp};

use crate::budgets::{Reservation, Spent};
use crate::error::SpoolUnavailable;
use crate::records::{Labels, Settlement};

/// An attempt in flight. Ends by `settle`, by `fail`, or by being dropped; each writes its terminal entry.
pub struct Attempt;

#[expect(missing_docs, clippy::unimplemented, clippy::missing_errors_doc, unused_variables, reason = "shape first")]
impl Attempt {
    pub fn request_id(&self) -> RequestId {
        unimplemented!()
    }
    pub fn attempt_no(&self) -> u16 {
        unimplemented!()
    }
    pub fn labels(&self) -> &Arc<Labels> {
        unimplemented!()
    }
    pub fn progress(&mut self, output_tokens: u64, now: Timestamp) {
        unimplemented!()
    }
    pub fn extend(&mut self, amount: Money, now: Timestamp) -> Result<(), Spent> {
        unimplemented!()
    }
    pub fn settle(self, settlement: Settlement) -> Result<(), SpoolUnavailable> {
        unimplemented!()
    }
    pub fn fail(self, settlement: Settlement) -> (Reservation, Result<(), SpoolUnavailable>) {
        unimplemented!()
    }
}
