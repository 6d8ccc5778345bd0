//! What stands in for the world in tests: scripted upstreams, a fault proxy, a load generator, and an oracle that
//! judges afterwards. Used as a library in tests and as the binary `fakes`; never part of the product.
//!
//! It imports nothing of ours: the oracle reads journals and tables by its own means, so that a mistake in the
//! ledger cannot hide itself.
//!
//! # Reading order
//! [`plan`] (how an answer is asked for), [`upstream`] (who answers), [`journal`] (what is written down),
//! [`vendor`] (vendors that refuse what
//! the real ones refuse), [`proxy`] (what goes wrong between), [`ports`] (where they listen), [`postgres`] and [`redis`] (servers
//! to stop), [`load`] (who asks), [`oracle`] (what must hold afterwards), [`figures`] (what a test passed with); then the
//! attacks: [`smuggle`] and [`h2`].
#![expect(
    clippy::disallowed_methods,
    reason = "a test tool with a runtime, a clock and a process of its own; the product's rules on them do not reach here"
)]

pub mod figures;
pub mod h2;
pub mod histogram;
pub mod journal;
pub mod load;
pub mod oracle;
pub mod plan;
pub mod ports;
pub mod postgres;
pub mod proxy;
pub mod random;
pub mod redis;
pub mod smuggle;
pub mod upstream;
pub mod vendor;
