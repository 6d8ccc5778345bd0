//! Whole-system tests: the real binary, real databases, scripted upstreams.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod backup;
mod books;
mod budgets;
mod cage;
mod client;
mod commands;
mod crash;
mod credentials;
mod detours;
mod failpoints;
mod faults;
mod guardrails;
mod hostile;
mod identity;
mod idle;
mod kills;
mod limits;
mod memory;
mod migrate;
mod operate;
mod outage;
mod overload;
mod raw;
mod realtime;
mod recall;
mod redis;
mod releases;
mod routes;
mod sharing;
mod stand;
mod steering;
mod stored;
mod tenants;
mod vendors;
mod way;
mod wishes;
