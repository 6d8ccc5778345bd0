//! The envelope of a backup: a stream that is sealed piece by piece with AES-256-GCM, so that neither writing nor reading it needs
//! more memory than one piece.
//!
//! Each file has a key of its own, derived from the master key and the file's random id. A piece is sealed with its number as nonce,
//! and with the file's id, its number and whether it is the last as associated data: a file that was cut, extended, put in another
//! order or mixed from two does not open. A check value in the head tells a wrong master key from damage.

use anyhow::{Context, bail, ensure};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use std::io::{self, ErrorKind, Read, Write};

const MAGIC: &[u8; 16] = b"tidegate backup\n";
const VERSION: u8 = 1;
const ID: usize = 32;
const CHECK: usize = 16;
const TAG: usize = 16;
/// What is sealed at a time.
const PIECE: usize = 256 << 10;
/// Flag and length before each piece.
const HEAD: usize = 5;

/// The key of one file, and where in it we are.
struct Key {
    key: LessSafeKey,
    id: [u8; ID],
    number: u64,
}

impl Key {
    fn derive(master: &[u8; 32], id: [u8; ID]) -> anyhow::Result<Self> {
        let key = digest(master, b"tidegate backup, version 1", &id);
        let key = UnboundKey::new(&AES_256_GCM, key.as_ref())
            .map_err(|_| anyhow::anyhow!("a key cannot be derived from the master key"))?;
        Ok(Self { key: LessSafeKey::new(key), id, number: 0 })
    }

    /// Of the next piece. A number never comes twice under one key: the id is random, and so the key is new for each file.
    fn next(&mut self, last: bool) -> (Nonce, Aad<Vec<u8>>) {
        let number = self.number.to_be_bytes();
        self.number += 1;
        let mut nonce = [0; NONCE_LEN];
        nonce[NONCE_LEN - number.len()..].copy_from_slice(&number);
        let about = [&MAGIC[..], &[VERSION], &self.id, &number, &[u8::from(last)]].concat();
        (Nonce::assume_unique_for_key(nonce), Aad::from(about))
    }
}

fn digest(master: &[u8; 32], purpose: &[u8], id: &[u8]) -> hmac::Tag {
    let key = hmac::Key::new(hmac::HMAC_SHA256, master);
    hmac::sign(&key, &[purpose, b"\0", id].concat())
}

fn check_of(master: &[u8; 32], id: &[u8]) -> [u8; CHECK] {
    let mut check = [0; CHECK];
    check.copy_from_slice(&digest(master, b"tidegate backup, which master key", id).as_ref()[..CHECK]);
    check
}

/// Seals what is written to it.
pub(super) struct Sealer<W> {
    out: W,
    key: Key,
    piece: Vec<u8>,
}

impl<W: Write> Sealer<W> {
    /// Begins a file.
    pub(super) fn begin(mut out: W, master: &[u8; 32]) -> anyhow::Result<Self> {
        let id: [u8; ID] = runtime::random_bytes();
        out.write_all(&[&MAGIC[..], &[VERSION], &id, &check_of(master, &id)].concat())?;
        Ok(Self { out, key: Key::derive(master, id)?, piece: Vec::with_capacity(PIECE + TAG) })
    }

    /// Seals what is left, as the last piece.
    pub(super) fn end(mut self) -> io::Result<W> {
        self.put(true)?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn put(&mut self, last: bool) -> io::Result<()> {
        let (nonce, about) = self.key.next(last);
        self.key
            .key
            .seal_in_place_append_tag(nonce, about, &mut self.piece)
            .map_err(|_| io::Error::other("a piece cannot be sealed"))?;
        let length = u32::try_from(self.piece.len()).map_err(io::Error::other)?;
        self.out.write_all(&[u8::from(last)])?;
        self.out.write_all(&length.to_be_bytes())?;
        self.out.write_all(&self.piece)?;
        self.piece.clear();
        Ok(())
    }
}

impl<W: Write> Write for Sealer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.piece.len() == PIECE {
            self.put(false)?;
        }
        let taken = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    /// A piece is written when it is full; what is not full waits for the end.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Gives what was sealed, piece by piece, each only after it has been proved.
pub(super) struct Opener<R> {
    from: R,
    key: Key,
    piece: Vec<u8>,
    read: usize,
    ended: bool,
}

impl<R: Read> Opener<R> {
    /// Reads the head. Says what is wrong with the file in words.
    pub(super) fn begin(mut from: R, master: &[u8; 32]) -> anyhow::Result<Self> {
        let mut head = [0; MAGIC.len() + 1 + ID + CHECK];
        if let Err(error) = from.read_exact(&mut head) {
            ensure!(error.kind() == ErrorKind::UnexpectedEof, error);
            bail!("it is no backup of Tidegate, or was cut");
        }
        let (magic, rest) = head.split_at(MAGIC.len());
        ensure!(magic == MAGIC, "it is no backup of Tidegate");
        let (version, rest) = rest.split_at(1);
        ensure!(version == [VERSION], "it was written by another version of this program");
        let (id, check) = rest.split_at(ID);
        let id: [u8; ID] = id.try_into().context("its head is damaged")?;
        ensure!(
            check == check_of(master, &id),
            "it was sealed with another master key: put the `master.key` of the gateway that it is of into the data folder"
        );
        let key = Key::derive(master, id)?;
        Ok(Self { from, key, piece: Vec::new(), read: 0, ended: false })
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut head = [0; HEAD];
        self.exact(&mut head)?;
        let last = match head[0] {
            0 => false,
            1 => true,
            _ => return Err(self.damaged()),
        };
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if !(TAG..=PIECE + TAG).contains(&length) {
            return Err(self.damaged());
        }
        let mut piece = std::mem::take(&mut self.piece);
        piece.resize(length, 0);
        self.exact(&mut piece)?;
        let damaged = self.damaged();
        let (nonce, about) = self.key.next(last);
        let opened = self.key.key.open_in_place(nonce, about, &mut piece).map_err(|_| damaged)?.len();
        piece.truncate(opened);
        (self.piece, self.read, self.ended) = (piece, 0, last);
        if last && self.from.read(&mut [0])? != 0 {
            return Err(invalid("something follows its end: it was changed"));
        }
        Ok(())
    }

    fn exact(&mut self, into: &mut [u8]) -> io::Result<()> {
        self.from.read_exact(into).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => invalid("it is cut short: its end is missing"),
            _ => error,
        })
    }

    fn damaged(&self) -> io::Error {
        invalid(&format!("it is damaged, or was changed: piece {} does not open", self.key.number + 1))
    }
}

impl<R: Read> Read for Opener<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.read == self.piece.len() {
            if self.ended {
                return Ok(0);
            }
            self.fill()?;
        }
        let given = into.len().min(self.piece.len() - self.read);
        into[..given].copy_from_slice(&self.piece[self.read..self.read + given]);
        self.read += given;
        Ok(given)
    }
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const MASTER: [u8; 32] = [7; 32];
    const START: usize = MAGIC.len() + 1 + ID + CHECK;

    fn sealed(content: &[u8]) -> Vec<u8> {
        let mut sealer = Sealer::begin(Vec::new(), &MASTER).unwrap();
        sealer.write_all(content).unwrap();
        sealer.end().unwrap()
    }

    fn opened(file: &[u8]) -> Result<Vec<u8>, String> {
        let mut content = Vec::new();
        let mut opener = Opener::begin(file, &MASTER).map_err(|error| error.to_string())?;
        opener.read_to_end(&mut content).map_err(|error| error.to_string())?;
        Ok(content)
    }

    #[test]
    fn what_was_sealed_opens_whatever_its_length() {
        for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE] {
            let content: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            assert_eq!(opened(&sealed(&content)).unwrap(), content, "{length}");
        }
        let file = sealed(b"a secret word");
        assert!(!file.windows(6).any(|piece| piece == b"secret"));
        assert_ne!(sealed(b"same"), sealed(b"same"));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let file = sealed(b"what was spent");
        for at in 0..file.len() {
            for bit in 0..8 {
                let mut flipped = file.clone();
                flipped[at] ^= 1 << bit;
                assert!(opened(&flipped).is_err(), "byte {at}, bit {bit}");
            }
            assert!(opened(&file[..at]).is_err(), "cut at {at}");
        }
        assert!(opened(&[&file[..], b"x"].concat()).unwrap_err().contains("follows its end"));
    }

    #[test]
    fn pieces_keep_their_order_their_file_and_their_end() {
        let content = vec![1; 2 * PIECE + 10];
        let (file, other) = (sealed(&content), sealed(&content));
        let piece = HEAD + PIECE + TAG;
        let (head, one, two, end) = (
            &file[..START],
            &file[START..][..piece],
            &file[START + piece..][..piece],
            &file[START + 2 * piece..],
        );
        assert_eq!(opened(&[head, one, two, end].concat()).unwrap(), content);
        assert!(opened(&[head, two, one, end].concat()).is_err(), "another order");
        assert!(opened(&[head, one, end].concat()).is_err(), "one left out");
        assert!(opened(&[head, one, one, two, end].concat()).is_err(), "one twice");
        assert!(opened(&[head, one, two].concat()).unwrap_err().contains("cut short"));
        assert!(
            opened(&[head, &other[START..][..piece], two, end].concat()).is_err(),
            "a piece of another file"
        );
        let mut early = [head, one].concat();
        early[START] = 1;
        assert!(opened(&early).is_err(), "a piece that says it is the last");
    }

    #[test]
    fn another_master_key_is_told_from_damage() {
        let file = sealed(b"x");
        let told = Opener::begin(&file[..], &[8; 32]).err().unwrap().to_string();
        assert!(told.contains("another master key"), "{told}");
        assert!(opened(b"SQLite format 3").unwrap_err().contains("no backup"));
        let mut newer = file;
        newer[MAGIC.len()] = 2;
        assert!(opened(&newer).unwrap_err().contains("another version"));
    }
}
