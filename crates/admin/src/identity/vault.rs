//! Seals the secrets of second factors: AES-256-GCM under a key of its own, derived from the master key, with the user's id as
//! associated data. So whoever holds the database alone makes no codes, and a secret that is moved to another user does not open.

use crate::ApiError;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use policy::Pepper;

/// Sealed bytes begin with it, so that another way of sealing can be told apart.
const VERSION: u8 = 1;
const PURPOSE: &str = "sealing of second factors";

fn key(pepper: &Pepper) -> Result<LessSafeKey, ApiError> {
    let key = pepper.sign(PURPOSE, b"version 1");
    UnboundKey::new(&AES_256_GCM, &key).map(LessSafeKey::new).map_err(|_| failed())
}

fn failed() -> ApiError {
    ApiError::Internal(
        "the secret of a second factor can be neither sealed nor opened: has the master key changed?".into(),
    )
}

fn whose(user: &str) -> Aad<Vec<u8>> {
    Aad::from([b"second factor\0", user.as_bytes()].concat())
}

/// Seals a secret for its user.
pub(crate) fn seal(pepper: &Pepper, user: &str, secret: &[u8]) -> Result<Vec<u8>, ApiError> {
    let nonce: [u8; NONCE_LEN] = runtime::random_bytes();
    let mut body = secret.to_vec();
    let sealing =
        key(pepper)?.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), whose(user), &mut body);
    sealing.map_err(|_| failed())?;
    Ok([&[VERSION], &nonce[..], &body].concat())
}

/// Opens what [`seal`] sealed for the same user.
pub(crate) fn open(pepper: &Pepper, user: &str, sealed: &[u8]) -> Result<Vec<u8>, ApiError> {
    let rest = sealed.strip_prefix(&[VERSION]).ok_or_else(failed)?;
    let (nonce, body) = rest.split_at_checked(NONCE_LEN).ok_or_else(failed)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| failed())?;
    let mut body = body.to_vec();
    let opened = key(pepper)?.open_in_place(nonce, whose(user), &mut body).map_err(|_| failed())?;
    Ok(opened.to_vec())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_secret_opens_for_its_user_and_key_alone() {
        let pepper = Pepper::derive(&[7; 32]);
        let sealed = seal(&pepper, "usr_1", b"a secret word").unwrap();
        assert!(!sealed.windows(6).any(|piece| piece == b"secret"));
        assert_eq!(open(&pepper, "usr_1", &sealed).unwrap(), b"a secret word");
        assert!(open(&pepper, "usr_2", &sealed).is_err());
        assert!(open(&Pepper::derive(&[8; 32]), "usr_1", &sealed).is_err());
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert!(
                open(&pepper, "usr_1", &damaged).is_err() && open(&pepper, "usr_1", &sealed[..at]).is_err()
            );
        }
        assert_ne!(seal(&pepper, "usr_1", b"x").unwrap(), seal(&pepper, "usr_1", b"x").unwrap());
    }
}
