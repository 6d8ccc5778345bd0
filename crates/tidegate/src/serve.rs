//! How the gateway is wired and kept: the only place that knows every crate.
//!
//! Reading order: `boot` (the story of a start), [`source`] (where the settings come from), [`engine`] (a document
//! becomes a numbered release and is published), `watch` (again, when the file changes), `keeper` (what waits for
//! the database), `nodes` (other gateways on it), [`last`] (what is remembered without it), `doors` (who may come in), `shelf` (what is kept of
//! answers, sealed by `seal`), `cluster` (what is shared with other nodes in Redis), `stop` (the end).

mod banner;
mod boot;
pub(crate) mod cluster;
mod discovery;
mod doors;
mod engine;
mod file_keys;
pub(crate) mod folder;
mod hosting;
mod keeper;
pub(crate) mod last;
mod live;
mod logging;
mod mail;
mod memory;
mod nodes;
mod room;
mod seal;
mod shelf;
pub(crate) mod source;
mod stop;
mod watch;

pub(crate) use boot::run;
