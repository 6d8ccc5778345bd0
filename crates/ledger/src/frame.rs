//! Frames: how a record is found again in a damaged file.
//!
//! `magic u16 · kind u8 · version u8 · length u32 · crc32 u32 · payload`, little endian; the checksum covers
//! kind, version, length and payload. The magic's bytes occur in no UTF-8 text, so a prompt kept in a body can
//! never look like a frame. After damage the reader goes on at the next magic whose checksum holds, so one bad
//! sector costs the records in it and no others.

/// First bytes of a frame. `0xF7` and `0xFB` start no UTF-8 sequence and continue none.
pub(crate) const MAGIC: [u8; 2] = [0xF7, 0xFB];
/// Bytes before the payload.
pub(crate) const HEADER: usize = 12;
/// Longest payload. Bounds what a damaged length can make the reader hold.
pub(crate) const MAX_PAYLOAD: usize = 64 << 20;
/// The version that this build writes.
pub(crate) const VERSION: u8 = 1;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Intent = 1,
    Mark = 2,
    Terminal = 3,
    Request = 4,
    Checkpoint = 5,
}

impl Kind {
    /// `None` for a kind or version of a later build: skipped and counted.
    pub(crate) fn known(kind: u8, version: u8) -> Option<Self> {
        if version != VERSION {
            return None;
        }
        [Self::Intent, Self::Mark, Self::Terminal, Self::Request, Self::Checkpoint]
            .into_iter()
            .find(|known| *known as u8 == kind)
    }
}

/// Appends a frame to `buffer`; `payload` appends its bytes. On an error nothing stays in the buffer.
pub(crate) fn append<E>(
    buffer: &mut Vec<u8>,
    kind: Kind,
    payload: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    let start = buffer.len();
    // Zeros until the payload is whole: a half-built frame is never taken for one.
    buffer.extend_from_slice(&[0; HEADER]);
    if let Err(error) = payload(buffer) {
        buffer.truncate(start);
        return Err(error);
    }
    let length = u32::try_from(buffer.len() - start - HEADER).unwrap_or(u32::MAX);
    let frame = &mut buffer[start..];
    frame[2] = kind as u8;
    frame[3] = VERSION;
    frame[4..8].copy_from_slice(&length.to_le_bytes());
    let crc = checksum(frame);
    frame[8..12].copy_from_slice(&crc.to_le_bytes());
    frame[..2].copy_from_slice(&MAGIC);
    Ok(())
}

/// `frame` = header and payload, exactly.
fn checksum(frame: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&frame[2..8]);
    hasher.update(&frame[HEADER..]);
    hasher.finalize()
}

/// What lies at the start of a window.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// A whole frame of `length` bytes; its payload starts at [`HEADER`].
    Frame { kind: u8, version: u8, length: usize },
    /// That many bytes are no frame.
    Damage(usize),
    /// The window must reach that many bytes before one can say.
    Need(usize),
    /// The window is empty and nothing follows.
    End,
}

/// Looks at the start of `window`; `last` = nothing follows it.
pub(crate) fn look(window: &[u8], last: bool) -> Look {
    if window.is_empty() && last {
        return Look::End;
    }
    if window.len() < HEADER {
        return if last {
            Look::Damage(resync(window, usize::from(starts(window)), last))
        } else {
            Look::Need(HEADER)
        };
    }
    if window[..2] != MAGIC {
        return Look::Damage(resync(window, 0, last));
    }
    let declared = u32::from_le_bytes([window[4], window[5], window[6], window[7]]) as usize;
    if declared > MAX_PAYLOAD {
        return Look::Damage(resync(window, 1, last));
    }
    let length = HEADER + declared;
    if window.len() < length {
        return if last { Look::Damage(resync(window, 1, last)) } else { Look::Need(length) };
    }
    let crc = u32::from_le_bytes([window[8], window[9], window[10], window[11]]);
    if checksum(&window[..length]) != crc {
        return Look::Damage(resync(window, 1, last));
    }
    Look::Frame { kind: window[2], version: window[3], length }
}

fn starts(window: &[u8]) -> bool {
    window.first() == Some(&MAGIC[0])
}

/// Where the next frame may start, at or after `from`; the window's end when nowhere in it.
fn resync(window: &[u8], from: usize, last: bool) -> usize {
    let mut at = from;
    while let Some(found) = window.get(at..).and_then(|rest| memchr::memchr(MAGIC[0], rest)) {
        at += found;
        match window.get(at + 1) {
            Some(next) if *next == MAGIC[1] => return at,
            // The magic may be cut by the window's edge.
            None if !last && at > 0 => return at,
            _ => at += 1,
        }
    }
    window.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(kind: Kind, payload: &[u8]) -> Vec<u8> {
        let mut buffer = Vec::new();
        let done: Result<(), ()> = append(&mut buffer, kind, |out| {
            out.extend_from_slice(payload);
            Ok(())
        });
        assert_eq!(done, Ok(()));
        buffer
    }

    #[test]
    fn a_frame_is_found_as_written() {
        let bytes = framed(Kind::Mark, b"hello");
        assert_eq!(look(&bytes, true), Look::Frame { kind: 2, version: 1, length: HEADER + 5 });
        assert_eq!(look(&bytes[..14], false), Look::Need(HEADER + 5));
        assert_eq!(look(&bytes[..14], true), Look::Damage(14));
        assert_eq!(look(&[], true), Look::End);
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let bytes = framed(Kind::Mark, b"hello");
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(look(&damaged, true), Look::Damage(_)), "bit {bit}");
        }
    }

    #[test]
    fn a_failed_payload_leaves_nothing() {
        let mut buffer = framed(Kind::Mark, b"first");
        let before = buffer.clone();
        let done = append(&mut buffer, Kind::Mark, |out| {
            out.extend_from_slice(b"half");
            Err("no")
        });
        assert_eq!(done, Err("no"));
        assert_eq!(buffer, before);
    }

    #[test]
    fn damage_ends_at_the_next_magic() {
        let mut bytes = vec![0, 1, MAGIC[0], 7];
        let garbage = bytes.len();
        bytes.extend(framed(Kind::Mark, b"x"));
        assert_eq!(look(&bytes, true), Look::Damage(garbage));
        // A magic cut by the edge is kept for the next look.
        assert_eq!(
            look(&[0; 12].iter().copied().chain([MAGIC[0]]).collect::<Vec<_>>(), false),
            Look::Damage(12)
        );
        assert_eq!(
            look(&[0; 12].iter().copied().chain([MAGIC[0]]).collect::<Vec<_>>(), true),
            Look::Damage(13)
        );
    }
}
