//! One file per command: its options, what it does, how it prints.

pub(crate) mod apply;
pub(crate) mod backup;
pub(crate) mod budgets;
pub(crate) mod chat;
pub(crate) mod check;
pub(crate) mod doctor;
pub(crate) mod environments;
pub(crate) mod import;
pub(crate) mod keys;
pub(crate) mod logs;
pub(crate) mod migrate;
pub(crate) mod nodes;
pub(crate) mod providers;
pub(crate) mod releases;
pub(crate) mod restore;
pub(crate) mod routes;
pub(crate) mod schema;
pub(crate) mod serve;
pub(crate) mod usage;
pub(crate) mod users;
