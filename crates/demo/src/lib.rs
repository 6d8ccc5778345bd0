//! The simulated provider: a small server on loopback
