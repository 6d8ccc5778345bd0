//! Virtual keys: how they are made, checked for form, and hashed.
//!
//! Form: `tg-`, 32 characters of base 62 (190 bits), 6 characters of base 62 that are the CRC-32 of all
//! before. The checksum is no secret: it lets the gateway refuse a typing error or a scanner's guess before
//! any look-up, and lets secret scanners recognise a leaked key with certainty.
//!
//! Kept is only an HMAC-SHA-256 under a pepper derived from the master key, so a stolen database neither
//! shows keys nor lets one be tested. A slow password hash would add nothing: there is nothing to guess.

use hmac::{Hmac, Mac};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::Sha256;
use std::fmt;

const PREFIX: &[u8; 3] = b"tg-";
const RANDOM: usize = 32;
const CHECK: usize = 6;
const CHECKED: usize = PREFIX.len() + RANDOM;

/// Bytes of a whole key.
pub const KEY_LENGTH: usize = CHECKED + CHECK;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A secret text: a virtual key, a provider's credential. It has no `Display`, and `Debug` shows nothing.
#[derive(Clone)]
pub struct Secret(Box<str>);

impl Secret {
    /// Takes the text.
    pub fn new(text: String) -> Secret {
        Secret(text.into_boxed_str())
    }

    /// The text itself. Every call of this is a place where a secret leaves: keep them few.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Makes a key from 24 random bytes, which must come from the operating system.
pub fn mint(random: [u8; 24]) -> Secret {
    let mut number = random;
    let mut text = String::with_capacity(KEY_LENGTH);
    text.push_str("tg-");
    for _ in 0..RANDOM {
        // Long division of the 192-bit number by 62: what is left over is the next character. The few bits
        // above 62^32 are dropped, which costs less than a tenth of a bit.
        let mut rest = 0u32;
        for byte in &mut number {
            let value = rest << 8 | u32::from(*byte);
            *byte = (value / 62) as u8;
            rest = value % 62;
        }
        text.push(char::from(BASE62[rest as usize]));
    }
    let check = checksum(text.as_bytes());
    text.extend(check.iter().map(|digit| char::from(*digit)));
    Secret::new(text)
}

fn checksum(checked: &[u8]) -> [u8; CHECK] {
    let mut crc = crc32fast::hash(checked);
    let mut digits = [b'0'; CHECK];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[(crc % 62) as usize];
        crc /= 62;
    }
    digits
}

/// A key that is well formed. Whether it exists is for the keyring to say.
#[derive(Copy, Clone)]
pub struct Presented<'a>(&'a [u8; KEY_LENGTH]);

impl fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Presented(…)")
    }
}

/// Why a text cannot be a virtual key.
#[derive(Copy, Clone, Eq, PartialEq, Debug, thiserror::Error)]
pub enum KeyFormatError {
    /// Not 41 characters.
    #[error("a virtual key has 41 characters")]
    Length,
    /// Another maker's key.
    #[error("a virtual key begins with `tg-`")]
    Prefix,
    /// A character that is neither letter nor digit.
    #[error("a virtual key has only letters and digits after `tg-`")]
    Alphabet,
    /// Mistyped or cut.
    #[error("the last 6 characters of the virtual key do not match the rest: it is mistyped or cut")]
    Checksum,
}

/// Checks length, prefix, alphabet and checksum. Tolerates nothing else: no spaces, no quotes.
/// Takes the same bounded time for whatever is presented, allocates nothing.
pub fn parse(presented: &[u8]) -> Result<Presented<'_>, KeyFormatError> {
    let key: &[u8; KEY_LENGTH] = presented.try_into().map_err(|_| KeyFormatError::Length)?;
    if &key[..PREFIX.len()] != PREFIX {
        return Err(KeyFormatError::Prefix);
    }
    if !key[PREFIX.len()..].iter().all(u8::is_ascii_alphanumeric) {
        return Err(KeyFormatError::Alphabet);
    }
    if checksum(&key[..CHECKED]) != key[CHECKED..] {
        return Err(KeyFormatError::Checksum);
    }
    Ok(Presented(key))
}

/// What is kept of a key.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd)]
pub struct KeyHash(pub [u8; 32]);

impl KeyHash {
    /// 64 lower-case hexadecimal digits.
    pub fn hex(&self) -> String {
        self.0.iter().fold(String::with_capacity(64), |mut text, byte| {
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
            }
            text
        })
    }

    /// Reads 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<KeyHash> {
        let digits: &[u8; 64] = text.as_bytes().try_into().ok()?;
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |c: u8| char::from(c).to_digit(16);
            *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
        }
        Some(KeyHash(hash))
    }
}

impl std::hash::Hash for KeyHash {
    /// The bytes are already as random as can be, so eight of them are hash enough.
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        let mut eight = [0; 8];
        eight.copy_from_slice(&self.0[8..16]);
        state.write_u64(u64::from_le_bytes(eight));
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyHash({}…)", &self.hex()[..8])
    }
}

impl Serialize for KeyHash {
    /// Hexadecimal where people read it, 32 bytes where they do not.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&self.hex())
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for KeyHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            KeyHash::from_hex(&text).ok_or_else(|| de::Error::custom("a key hash is 64 hexadecimal digits"))
        } else {
            <[u8; 32]>::deserialize(deserializer).map(KeyHash)
        }
    }
}

/// The key of the keyed hash. Made once per process: both halves of the HMAC's key schedule are kept, so
/// hashing a presented key costs two blocks of SHA-256.
#[derive(Clone)]
pub struct Pepper(Hmac<Sha256>);

impl Pepper {
    /// Derives the pepper from the master key, for this one use.
    pub fn derive(master: &[u8; 32]) -> Pepper {
        let mut derivation = keyed(master);
        derivation.update(b"tidegate virtual key pepper, version 1");
        let pepper: [u8; 32] = derivation.finalize().into_bytes().into();
        Pepper(keyed(&pepper))
    }

    /// The hash under which the keyring knows this key.
    pub fn hash(&self, key: &Presented<'_>) -> KeyHash {
        let mut mac = self.0.clone();
        mac.update(key.0);
        KeyHash(mac.finalize().into_bytes().into())
    }

    /// A signature of ours on a text that is told to a client and comes back. `purpose` keeps one use from another.
    pub fn sign(&self, purpose: &str, text: &[u8]) -> [u8; 32] {
        self.signing(purpose, text).finalize().into_bytes().into()
    }

    /// Whether [`Pepper::sign`] made this signature. Takes the same time for every wrong one.
    pub fn is_signed(&self, purpose: &str, text: &[u8], signature: &[u8; 32]) -> bool {
        self.signing(purpose, text).verify_slice(signature).is_ok()
    }

    fn signing(&self, purpose: &str, text: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        // No key and no other digest of ours begins like this.
        mac.update(b"signature\0");
        mac.update(purpose.as_bytes());
        mac.update(b"\0");
        mac.update(text);
        mac
    }

    /// A keyed digest of any text, for noticing that a secret changed without keeping it.
    pub(crate) fn fingerprint(&self, text: &[u8]) -> [u8; 32] {
        let mut mac = self.0.clone();
        mac.update(b"fingerprint\0");
        mac.update(text);
        mac.finalize().into_bytes().into()
    }
}

#[expect(clippy::expect_used, reason = "an HMAC takes a key of any length")]
fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("an HMAC takes a key of any length")
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pepper(…)")
    }
}

/// What a list shows of a key: `tg-Ab…xY9z`.
pub fn hint(secret: &Secret) -> String {
    let text = secret.expose();
    match (text.get(..5), text.len().checked_sub(4).and_then(|from| text.get(from..))) {
        (Some(head), Some(tail)) if text.len() >= 20 => format!("{head}…{tail}"),
        _ => "…".to_owned(),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_minted_key_is_well_formed() {
        let key = mint([0; 24]);
        assert_eq!(&key.expose()[..35], "tg-00000000000000000000000000000000");
        assert_eq!(key.expose().len(), KEY_LENGTH);
        assert!(parse(key.expose().as_bytes()).is_ok());
        assert!(!format!("{key:?}").contains("tg-"));
    }

    #[test]
    fn errors_say_what_is_wrong() {
        let good = mint([7; 24]).expose().to_owned();
        let why = |text: &str| parse(text.as_bytes()).unwrap_err();
        assert_eq!(why(""), KeyFormatError::Length);
        assert_eq!(why(&format!(" {good}")), KeyFormatError::Length);
        assert_eq!(why(&good.replacen("tg-", "sk-", 1)), KeyFormatError::Prefix);
        assert_eq!(why(&good.replacen("tg-", "TG-", 1)), KeyFormatError::Prefix);
        assert_eq!(why(&format!("{}-", &good[..40])), KeyFormatError::Alphabet);
        let other = if good.ends_with('0') { '1' } else { '0' };
        assert_eq!(why(&format!("{}{other}", &good[..40])), KeyFormatError::Checksum);
    }

    #[test]
    fn the_pepper_decides_the_hash() {
        let key = mint([1; 24]);
        let presented = parse(key.expose().as_bytes()).unwrap();
        let (one, two) = (Pepper::derive(&[1; 32]), Pepper::derive(&[2; 32]));
        assert_eq!(one.hash(&presented), Pepper::derive(&[1; 32]).hash(&presented));
        assert_ne!(one.hash(&presented), two.hash(&presented));
        let hash = one.hash(&presented);
        assert_eq!(KeyHash::from_hex(&hash.hex()), Some(hash));
        assert_eq!(serde_json::from_str::<KeyHash>(&serde_json::to_string(&hash).unwrap()).unwrap(), hash);
    }

    /// A known answer, so that keys survive every change of the code: HMAC-SHA-256 of the key under
    /// HMAC-SHA-256 of the derivation text under the master key (computed with Python's hmac module).
    #[test]
    fn the_hash_never_changes() {
        let key = mint([0; 24]);
        let hash = Pepper::derive(&[0; 32]).hash(&parse(key.expose().as_bytes()).unwrap());
        assert_eq!(key.expose(), KNOWN_KEY);
        assert_eq!(hash.hex(), KNOWN_HASH);
    }
    const KNOWN_KEY: &str = "tg-000000000000000000000000000000003e0STz";
    const KNOWN_HASH: &str = "1ad15c25ed0d687a4c6845191fec38e7cd29030c703bed3a1cfeae7b60f13979";

    #[test]
    fn hints_show_little() {
        let key = mint([9; 24]);
        let shown = hint(&key);
        assert_eq!(shown.chars().count(), 10);
        assert!(key.expose().starts_with(&shown[..5]));
        assert_eq!(hint(&Secret::new("short".to_owned())), "…");
        assert_eq!(hint(&Secret::new("ééééééééééééééé".to_owned())), "…");
    }

    proptest! {
        #[test]
        fn every_mint_parses_and_every_damage_is_seen(random: [u8; 24], at in 0usize..KEY_LENGTH, to: u8) {
            let key = mint(random);
            let mut damaged = key.expose().as_bytes().to_vec();
            prop_assert!(parse(&damaged).is_ok());
            if damaged[at] != to {
                damaged[at] = to;
                // CRC-32 finds every change of one byte.
                prop_assert!(parse(&damaged).is_err());
            }
        }

        #[test]
        fn any_bytes_are_refused_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(parse(&bytes).is_err());
        }

        #[test]
        fn swapped_neighbours_are_seen(random: [u8; 24], at in 3usize..KEY_LENGTH - 1) {
            let mut key = mint(random).expose().as_bytes().to_vec();
            if key[at] != key[at + 1] {
                key.swap(at, at + 1);
                prop_assert!(parse(&key).is_err());
            }
        }
    }
}
