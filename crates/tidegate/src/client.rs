//! How commands reach a running gateway, and how `doctor` and discovery reach providers.
//!
//! A small HTTP/1.1 client of our own over hyper: one connection per request, every wait bounded. The data
//! plane has its own pool; this one serves people, not traffic.

pub(crate) mod connect;
pub(crate) mod control;
pub(crate) mod socket;

pub(crate) use connect::{Door, send};
pub(crate) use control::{Control, escape};
