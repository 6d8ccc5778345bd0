//! Finds the blank lines that end events, across chunks of any size.

use memchr::memchr2;

use crate::steps;

/// Where an event ends in the chunk that was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Boundary {
    /// One past its last byte.
    pub(crate) end: usize,
    /// It is only the LF that belongs to the event before.
    pub(crate) continues: bool,
}

/// What must be remembered between bytes: two bits.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lines {
    /// Bytes of the current line have been seen.
    in_line: bool,
    /// A CR was the last byte seen: an LF now belongs to it.
    after_cr: bool,
    /// That CR ended an event.
    ended_event: bool,
}

impl Lines {
    /// Looks at `bytes`, which follow directly what was looked at before, up to and with the first
    /// blank line. Without one, all of `bytes` has been looked at.
    #[inline]
    pub(crate) fn boundary(&mut self, bytes: &[u8]) -> Option<Boundary> {
        if bytes.is_empty() {
            return None;
        }
        let mut at = 0;
        if std::mem::take(&mut self.after_cr) && bytes.first() == Some(&b'\n') {
            at = 1;
            if std::mem::take(&mut self.ended_event) {
                return Some(Boundary { end: 1, continues: true });
            }
        }
        self.ended_event = false;
        while let Some(length) = memchr2(b'\n', b'\r', &bytes[at..]) {
            steps::count(length + 1);
            let ending = at + length;
            let blank = length == 0 && !self.in_line;
            self.in_line = false;
            at = ending + 1;
            if bytes[ending] == b'\r' {
                match bytes.get(at) {
                    Some(b'\n') => at += 1,
                    Some(_) => {}
                    None => {
                        self.after_cr = true;
                        self.ended_event = blank;
                    }
                }
            }
            if blank {
                return Some(Boundary { end: at, continues: false });
            }
        }
        steps::count(bytes.len() - at);
        self.in_line |= at < bytes.len();
        None
    }
}
