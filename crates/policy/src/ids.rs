//! Typed identifiers. They are not strings, so that one can never be handed over for another.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::time::Timestamp;

/// A shared, immutable name. Clones cost one counter, so names travel with every request.
pub type Name = Arc<str>;

/// Things by their names, looked up for every call. Not for names that whoever calls may add: the hash is made to be quick,
/// and not to withstand somebody who looks for names that meet.
pub type NameMap<T> = HashMap<Name, T, foldhash::fast::RandomState>;

/// Why a text is not an identifier.
#[derive(Copy, Clone, Eq, PartialEq, Debug, thiserror::Error)]
pub enum IdError {
    /// Not a hyphenated UUID.
    #[error("a request id is a UUID, such as 0193526e-3f00-7000-8000-000000000000")]
    Request,
    /// Not `key_` and 20 characters.
    #[error("a key id is `key_` and 20 lower-case letters and digits")]
    Key,
}

/// The identity of one request: a UUID of version 7 (RFC 9562), so that ids sort by time.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct RequestId([u8; 16]);

impl RequestId {
    /// 48 bits of milliseconds, 12 of the millisecond's fraction (RFC 9562 §6.2, method 3: requests of one
    /// millisecond sort by time too) and 62 of the given random bits.
    pub fn v7(now: Timestamp, random: [u8; 10]) -> RequestId {
        let mut id = [0; 16];
        id[..6].copy_from_slice(&now.as_millis().to_be_bytes()[2..]);
        id[6..].copy_from_slice(&random);
        let fraction = now.as_micros().rem_euclid(1000) * 4096 / 1000;
        let [.., high, low] = fraction.to_be_bytes();
        id[6] = 0x70 | high;
        id[7] = low;
        id[8] = 0x80 | (id[8] & 0x3f);
        RequestId(id)
    }

    /// Any 16 bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> RequestId {
        RequestId(bytes)
    }

    /// The 16 bytes, as databases keep them.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The bytes as two numbers of eight bytes that are never reckoned with: what is written is the same 16 bytes, and it
    /// is written and read at once instead of byte by byte.
    fn halves(&self) -> (f64, f64) {
        let bits = u128::from_le_bytes(self.0);
        (f64::from_bits(bits as u64), f64::from_bits((bits >> 64) as u64))
    }

    fn from_halves((low, high): (f64, f64)) -> RequestId {
        RequestId((u128::from(high.to_bits()) << 64 | u128::from(low.to_bits())).to_le_bytes())
    }

    /// As text, in ASCII: `0193526e-3f00-7000-8000-000000000000`.
    pub fn hyphenated(&self) -> [u8; 36] {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b'-'; 36];
        let mut at = 0;
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                at += 1;
            }
            text[at] = HEX[usize::from(byte >> 4)];
            text[at + 1] = HEX[usize::from(byte & 15)];
            at += 2;
        }
        text
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.hyphenated()).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RequestId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let text: &[u8; 36] = text.as_bytes().try_into().map_err(|_| IdError::Request)?;
        let mut id = [0; 16];
        let mut at = 0;
        for (index, byte) in id.iter_mut().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                if text[at] != b'-' {
                    return Err(IdError::Request);
                }
                at += 1;
            }
            let digit = |c: u8| char::from(c).to_digit(16).ok_or(IdError::Request);
            *byte = (digit(text[at])? * 16 + digit(text[at + 1])?) as u8;
            at += 2;
        }
        Ok(RequestId(id))
    }
}

impl Serialize for RequestId {
    /// Hyphenated where people read it (JSON), 16 bytes where they do not (the spool).
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.halves().serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for RequestId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
        } else {
            <(f64, f64)>::deserialize(deserializer).map(RequestId::from_halves)
        }
    }
}

/// The identity of a virtual key, which outlives its secret, its name and its limits: `key_` and 20
/// characters of base 32 (100 bits).
#[derive(Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(pub Name);

/// Digits and letters without the four that are mistaken for others (i, l, o, u).
const BASE32: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

impl KeyId {
    /// From 13 random bytes, of which 100 bits are used.
    pub fn new(random: [u8; 13]) -> KeyId {
        let bits = random.iter().fold(0u128, |bits, byte| bits << 8 | u128::from(*byte));
        let mut text = String::with_capacity(24);
        text.push_str("key_");
        for place in (0..20).rev() {
            text.push(char::from(BASE32[(bits >> (place * 5)) as usize & 31]));
        }
        KeyId(text.into())
    }

    /// The id of a key that a settings file declares: the same at every start, also before the store is
    /// reachable, so that its spending is always found under one name.
    pub fn of_file_key(environment: &str, name: &str) -> KeyId {
        let mut digest = Sha256::new();
        for part in ["tidegate key of a file", environment, name] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        let mut random = [0; 13];
        random.copy_from_slice(&digest.finalize()[..13]);
        KeyId::new(random)
    }

    /// The text: `key_…`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for KeyId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let digits = text.strip_prefix("key_").ok_or(IdError::Key)?;
        if digits.len() != 20 || !digits.bytes().all(|digit| BASE32.contains(&digit)) {
            return Err(IdError::Key);
        }
        Ok(KeyId(text.into()))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn request_ids_are_version_7_and_sort_by_time() {
        let id = RequestId::v7(Timestamp::from_micros(1_700_000_000_123_456), [0xff; 10]);
        assert_eq!(id.to_string(), "018bcfe5-687b-774b-bfff-ffffffffffff");
        let later = RequestId::v7(Timestamp::from_micros(1_700_000_000_124_456), [0; 10]);
        assert!(later > id);
    }

    #[test]
    fn key_ids() {
        let id = KeyId::new([0xff; 13]);
        assert_eq!(id.as_str(), "key_zzzzzzzzzzzzzzzzzzzz");
        assert_eq!(id.as_str().parse::<KeyId>(), Ok(id));
        assert_eq!("key_zzz".parse::<KeyId>(), Err(IdError::Key));
        assert_eq!(KeyId::of_file_key("dev", "app"), KeyId::of_file_key("dev", "app"));
        assert_ne!(KeyId::of_file_key("dev", "app"), KeyId::of_file_key("deva", "pp"));
    }

    proptest! {
        #[test]
        fn request_ids_read_back(bytes: [u8; 16]) {
            let id = RequestId::from_bytes(bytes);
            prop_assert_eq!(id.to_string().parse::<RequestId>(), Ok(id));
            let json = serde_json::to_string(&id).unwrap();
            prop_assert_eq!(serde_json::from_str::<RequestId>(&json).unwrap(), id);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,40}") {
            let _ = text.parse::<RequestId>();
            let _ = text.parse::<KeyId>();
        }
    }
}
