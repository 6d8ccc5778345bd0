//! Google's array in place of events: its items, as they come.

use bytes::{Bytes, BytesMut};
use providers::sse::Event;

/// The items of an array that comes in pieces, each with what stands before it, as an event.
#[derive(Default)]
pub(super) struct Items {
    carry: BytesMut,
    /// One went on.
    pub(super) begun: bool,
}

impl Items {
    /// An item of somebody else as the next one, with what ends the array.
    pub(super) fn follow(&self, item: &[u8]) -> Bytes {
        let Some(start) = memchr::memchr(b'{', item) else { return Bytes::copy_from_slice(item) };
        let before: &[u8] = if self.begun { b",\r\n" } else { b"[" };
        [before, &item[start..]].concat().into()
    }

    /// Each item as soon as it is whole; what follows the last goes with it.
    pub(super) fn split(&mut self, piece: &[u8]) -> Vec<Event> {
        self.carry.extend_from_slice(piece);
        let mut events = Vec::new();
        while let Some((start, end)) = item(&self.carry) {
            let raw = self.carry.split_to(end).freeze();
            let data = raw.slice(start..);
            events.push(Event { raw, data, ..Event::default() });
        }
        // The writer gives whole items, and the bracket that ends them.
        if !self.carry.is_empty() {
            let raw = self.carry.split().freeze();
            events.push(Event { raw, comment_only: true, ..Event::default() });
        }
        events
    }
}

/// Where the first object begins and ends.
fn item(bytes: &[u8]) -> Option<(usize, usize)> {
    let start = memchr::memchr(b'{', bytes)?;
    let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
    for (at, byte) in bytes.iter().enumerate().skip(start) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' if !quoted => depth += 1,
            b'}' if !quoted => {
                depth -= 1;
                if depth == 0 {
                    return Some((start, at + 1));
                }
            }
            _ => {}
        }
    }
    None
}
