//! The fields of `[server] overload`.

use super::{CALLS, Field, SIZE, Shape, TIMEOUT, field};

pub(super) static OVERLOAD: &[Field] = &[
    field("max_in_flight", CALLS, "Calls under way at once, of all providers. Default: no cap."),
    field(
        "queue",
        Shape::Integer { least: 0, most: 1_000_000 },
        "Calls that may wait, in each queue. Default: 1024.",
    ),
    field("queue_bytes", Shape::Text(&SIZE), "Bytes of their bodies. Default: 64MiB."),
    field("queue_wait", Shape::Text(&TIMEOUT), "How long a call may wait for its turns. Default: 5s."),
];
