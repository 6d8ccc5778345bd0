//! `[server] overload`.

use super::Node;
use super::value;
use crate::settings::Overload;

/// What it says, else what holds where it says nothing.
pub(super) fn read(server: &Node<'_, '_>) -> Overload {
    let base = Overload::default();
    let Some(node) = server.table("overload") else { return base };
    let count = |name| node.count(name).and_then(|count| u32::try_from(count).ok());
    Overload {
        max_in_flight: count("max_in_flight"),
        queue: count("queue").unwrap_or(base.queue),
        queue_bytes: node.read("queue_bytes", value::size).unwrap_or(base.queue_bytes),
        queue_wait: node.duration("queue_wait").unwrap_or(base.queue_wait),
    }
}
