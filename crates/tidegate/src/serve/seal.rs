//! Seals what is kept of stored responses, and of answers that nodes share: AES-256-GCM under a key of its own, derived from the
//! master key, with the row's identity as associated data. So whoever holds the database alone reads nothing, and a row that is moved to
//! another environment or id does not open.

use anyhow::{Context, anyhow, ensure};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hmac;

/// Sealed bytes begin with it, so that another way of sealing can be told apart.
const VERSION: u8 = 1;

/// The key.
pub(super) struct Seal(LessSafeKey);

impl Seal {
    /// Derived from the master key, for this one use.
    pub(super) fn derive(master: &[u8; 32]) -> anyhow::Result<Self> {
        Self::derived(master, b"tidegate stored responses, version 1")
    }

    /// The key of answers that nodes share.
    pub(super) fn of_answers(master: &[u8; 32]) -> anyhow::Result<Self> {
        Self::derived(master, b"tidegate shared answers, version 1")
    }

    fn derived(master: &[u8; 32], purpose: &[u8]) -> anyhow::Result<Self> {
        let derivation = hmac::Key::new(hmac::HMAC_SHA256, master);
        let key = hmac::sign(&derivation, purpose);
        let key = UnboundKey::new(&AES_256_GCM, key.as_ref())
            .map_err(|_| anyhow!("a key cannot be derived from the master key"))?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// Seals the content of a row.
    pub(super) fn seal(&self, environment: &str, id: &str, content: &[u8]) -> anyhow::Result<Vec<u8>> {
        // Random: the same would have to come twice under one key, which 2^32 responses make no likelier than 2^-32.
        let nonce: [u8; NONCE_LEN] = runtime::random_bytes();
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + content.len() + AES_256_GCM.tag_len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&nonce);
        let mut body = content.to_vec();
        let whose = identity(environment, id);
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(whose), &mut body)
            .map_err(|_| anyhow!("a response cannot be sealed"))?;
        sealed.append(&mut body);
        Ok(sealed)
    }

    /// Opens what [`Seal::seal`] sealed for the same row.
    pub(super) fn open(&self, environment: &str, id: &str, sealed: &[u8]) -> anyhow::Result<Vec<u8>> {
        let (version, rest) = sealed.split_first().context("it is empty")?;
        ensure!(*version == VERSION, "it is of another version of this program");
        let (nonce, body) = rest.split_at_checked(NONCE_LEN).context("it is cut short")?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| anyhow!("it is cut short"))?;
        let mut body = body.to_vec();
        let opened =
            self.0.open_in_place(nonce, Aad::from(identity(environment, id)), &mut body).map_err(|_| {
                anyhow!("it was sealed for another row or with another master key, or is damaged")
            })?;
        let length = opened.len();
        body.truncate(length);
        Ok(body)
    }
}

/// No two rows have the same: names hold no NUL.
fn identity(environment: &str, id: &str) -> Vec<u8> {
    [b"responses\0", environment.as_bytes(), b"\0", id.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn it_opens_for_its_own_row_and_key_alone() {
        let seal = Seal::derive(&[7; 32]).unwrap();
        let sealed = seal.seal("dev", "resp_1", b"a secret word").unwrap();
        assert!(!sealed.windows(6).any(|piece| piece == b"secret"));
        assert_eq!(seal.open("dev", "resp_1", &sealed).unwrap(), b"a secret word");
        assert!(seal.open("prod", "resp_1", &sealed).is_err());
        assert!(seal.open("dev", "resp_2", &sealed).is_err());
        assert!(Seal::derive(&[8; 32]).unwrap().open("dev", "resp_1", &sealed).is_err());
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert!(seal.open("dev", "resp_1", &damaged).is_err(), "{at}");
            assert!(seal.open("dev", "resp_1", &sealed[..at]).is_err(), "{at}");
        }
        assert_ne!(seal.seal("dev", "resp_1", b"x").unwrap(), seal.seal("dev", "resp_1", b"x").unwrap());
    }
}
