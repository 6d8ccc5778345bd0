//! What a streamed answer cost. A stream's head is sent before the cost is known, so it is looked up in the
//! request log through the owner-only socket, where this host has one.

use crate::client::{Control, Door};
use crate::located::{Place, socket_in};
use std::time::Duration;

/// The record reaches the database a moment after the answer ends.
const TRIES: u32 = 12;
const PAUSE: Duration = Duration::from_millis(150);

/// What the log says of a request: its cost in the currency it was billed in, and its tokens, which an answer
/// that was stopped never told.
pub(super) struct Cost {
    pub(super) amount: String,
    pub(super) currency: String,
    pub(super) estimated: bool,
    pub(super) input_tokens: Option<u64>,
    pub(super) output_tokens: Option<u64>,
}

impl Cost {
    pub(super) fn spoken(&self) -> String {
        let mark = if self.estimated { "about " } else { "" };
        format!("cost {mark}{} {}", self.amount, self.currency)
    }
}

/// The cost of a request, if the gateway that answered it is on this host and priced it.
pub(super) async fn find(place: &Place, door: &Door, request_id: &str) -> Option<Cost> {
    let socket = socket_in(&place.data_dir().ok()?);
    if !socket.exists() {
        return None;
    }
    let control = Control::of(place).ok()?;
    let here = matches!(door, Door::Plain { host, .. } if host == "localhost" || host.starts_with("127.") || host == "::1");
    for _ in 0..if here { TRIES } else { 1 } {
        let answer = control.get("/api/logs", &[("request_id", Some(request_id.to_owned()))]).await.ok()?;
        if let Some(log) = answer["logs"].get(0) {
            let amount = log["cost"].as_str()?.to_owned();
            let currency = log["currency"].as_str()?.to_owned();
            let tokens = |field: &str| log[field].as_u64();
            return Some(Cost {
                amount,
                currency,
                estimated: log["estimated"] == true,
                input_tokens: tokens("input_tokens"),
                output_tokens: tokens("output_tokens"),
            });
        }
        tokio::time::sleep(PAUSE).await;
    }
    None
}
