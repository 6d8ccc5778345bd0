//! Gzip by hand: real bodies in stored blocks, and bombs. A compressor would be a dependency for two tests.

use bytes::{BufMut, Bytes, BytesMut};

const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// A valid gzip file of `plain`, not made smaller.
pub(super) fn stored(plain: &[u8]) -> Bytes {
    let mut out = BytesMut::from(&HEADER[..]);
    let mut chunks = plain.chunks(0xffff).peekable();
    if chunks.peek().is_none() {
        out.put_slice(&[1, 0, 0, 0xff, 0xff]);
    }
    while let Some(chunk) = chunks.next() {
        let length = u16::try_from(chunk.len()).unwrap_or(u16::MAX);
        out.put_u8(u8::from(chunks.peek().is_none()));
        out.put_u16_le(length);
        out.put_u16_le(!length);
        out.put_slice(chunk);
    }
    out.put_u32_le(crc32fast::hash(plain));
    out.put_u32_le(u32::try_from(plain.len() & 0xffff_ffff).unwrap_or(0));
    out.freeze()
}

/// How many bytes eight matches of [`bomb`] unpack to, out of 13 bytes.
const PERIOD: u64 = 8 * 258;

/// A gzip file that unpacks to about `mebibytes` MiB of spaces, without its last check sum: whoever waits for that
/// has unpacked too much already.
pub(super) fn bomb(mebibytes: u64) -> Bytes {
    let mut bits = Bits::default();
    // One last block with fixed codes; a space to begin with.
    bits.push(1, 1);
    bits.push(0b01, 2);
    bits.code(0x30 + u32::from(b' '), 8);
    // Bring the stream to a byte border, so that the rest repeats; then eight matches are 13 whole bytes.
    while bits.count % 8 != 0 {
        bits.matched();
    }
    let mut unit = Bits::default();
    (0..8).for_each(|_| unit.matched());
    let times = (mebibytes << 20).div_ceil(PERIOD);
    let mut out = BytesMut::from(&HEADER[..]);
    out.put_slice(&bits.bytes);
    (0..times).for_each(|_| out.put_slice(&unit.bytes));
    out.freeze()
}

/// Deflate's bit order: values from the low bit, codes from the high bit.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    count: usize,
}

impl Bits {
    fn push(&mut self, value: u32, width: u32) {
        (0..width).for_each(|place| self.bit(value >> place & 1 == 1));
    }

    fn code(&mut self, value: u32, width: u32) {
        (0..width).rev().for_each(|place| self.bit(value >> place & 1 == 1));
    }

    /// "Repeat the byte before 258 times": length code 285 (8 bits), distance code 0 (5 bits).
    fn matched(&mut self) {
        self.code(0b1100_0101, 8);
        self.code(0, 5);
    }

    fn bit(&mut self, set: bool) {
        if self.count.is_multiple_of(8) {
            self.bytes.push(0);
        }
        if let Some(last) = self.bytes.last_mut() {
            *last |= u8::from(set) << (self.count % 8);
        }
        self.count += 1;
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    /// The system's own gzip as the judge.
    fn unpack(packed: &[u8]) -> (Vec<u8>, bool) {
        let mut gzip = Command::new("gzip")
            .arg("-dc")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = gzip.stdin.take().unwrap();
        let packed = packed.to_vec();
        let writer = std::thread::spawn(move || stdin.write_all(&packed));
        let output = gzip.wait_with_output().unwrap();
        let _ = writer.join().unwrap();
        (output.stdout, output.status.success())
    }

    #[test]
    fn stored_unpacks() {
        let plain: Vec<u8> = (0..200_000_u32).map(|number| number.to_le_bytes()[0]).collect();
        assert_eq!(unpack(&stored(&plain)), (plain, true));
        assert_eq!(unpack(&stored(b"")), (Vec::new(), true));
    }

    #[test]
    fn a_bomb_unpacks_to_its_size() {
        let packed = bomb(2);
        assert!(packed.len() < 14_000);
        let (plain, _) = unpack(&packed);
        assert!(plain.len() > 1_900_000 && plain.iter().all(|byte| *byte == b' '), "{}", plain.len());
    }
}
