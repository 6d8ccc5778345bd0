//! Passwords: what is taken, and what is kept of them.
//!
//! argon2id with 19 MiB, two passes and one lane (one of the sets of OWASP's Password Storage Cheat Sheet). A few at a time and a bounded number waiting, on threads beside those of the event loop: whoever asks
//! a thousand times at once cannot take a thousand times the memory. Whether there is a user or not, the same is reckoned.

use crate::ApiError;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Semaphore;

const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const SALT: usize = 16;
const HASH: usize = 32;
/// Reckoned at once.
const AT_ONCE: usize = 2;
/// Waiting for their turn.
const MOST_WAITING: usize = 64;
const SHORTEST: usize = 10;
const LONGEST: usize = 1024;

/// The commonest passwords that are long enough for the other rule. From public lists of leaked passwords.
const COMMON: &[&str] = &[
    "0123456789",
    "0987654321",
    "1029384756",
    "1122334455",
    "1111111111",
    "12345678900",
    "1234567890",
    "12345678910",
    "123456789a",
    "123456789q",
    "1234qwerasdf",
    "123qwe123qwe",
    "147258369a",
    "1q2w3e4r5t",
    "1q2w3e4r5t6y",
    "1qaz2wsx3edc",
    "abcdefghij",
    "abcd1234567",
    "administrator",
    "asdfghjkl1",
    "baseball123",
    "changeme123",
    "computer123",
    "dragon1234",
    "football123",
    "iloveyou12",
    "iloveyou123",
    "jordan1234",
    "letmein123",
    "letmein1234",
    "liverpool1",
    "manchester",
    "michael123",
    "monkey1234",
    "passw0rd123",
    "password01",
    "password10",
    "password11",
    "password12",
    "password123",
    "password1234",
    "password12345",
    "password!1",
    "princess123",
    "q1w2e3r4t5",
    "q1w2e3r4t5y6",
    "qazwsxedcrfv",
    "qwerty1234",
    "qwerty12345",
    "qwerty123456",
    "qwertyuiop",
    "qwertyuiop1",
    "qwertyuiop123",
    "sunshine123",
    "superman123",
    "tidegate123",
    "trustno1234",
    "unknown123",
    "welcome123",
    "welcome1234",
    "zaq12wsxcde3",
    "zxcvbnm123",
];

/// Refuses what would be guessed.
pub(crate) fn check(password: &str, email: &str) -> Result<(), ApiError> {
    let refuse = |why: &str| Err(ApiError::Invalid(format!("password: {why}")));
    let small = password.to_lowercase();
    if password.chars().count() < SHORTEST {
        return refuse("use at least 10 characters");
    }
    if password.len() > LONGEST {
        return refuse("use at most 1024 bytes");
    }
    let name = email.split('@').next().unwrap_or_default();
    if small == email || small == name || small.trim_matches(|c: char| !c.is_alphanumeric()) == email {
        return refuse("it is your e-mail");
    }
    let first = small.chars().next();
    if COMMON.contains(&small.as_str()) || small.chars().all(|c| Some(c) == first) {
        return refuse("it is one of the commonest, and would be guessed first");
    }
    Ok(())
}

/// Turns for those who reckon.
pub(crate) struct Hashing {
    turns: Semaphore,
    waiting: AtomicUsize,
}

impl Hashing {
    pub(crate) fn new() -> Self {
        Self { turns: Semaphore::new(AT_ONCE), waiting: AtomicUsize::new(0) }
    }

    /// What is kept of a new password.
    pub(crate) async fn hash(&self, password: &str) -> Result<String, ApiError> {
        let password = password.to_owned();
        self.in_turn(move || {
            let salt = runtime::random_bytes::<SALT>();
            let hash = reckon(&password, &salt, MEMORY_KIB, PASSES)?;
            Ok(format!("argon2id${MEMORY_KIB}${PASSES}${}${}", hex(&salt), hex(&hash)))
        })
        .await
    }

    /// Whether it is the password of which this was kept. Of nobody it is not, after the same work.
    pub(crate) async fn is_right(&self, password: &str, kept: Option<&str>) -> Result<bool, ApiError> {
        let (password, kept) = (password.to_owned(), kept.map(str::to_owned));
        self.in_turn(move || {
            let Some(kept) = kept else {
                reckon(&password, &[0; SALT], MEMORY_KIB, PASSES)?;
                return Ok(false);
            };
            let (memory, passes, salt, hash) =
                parts(&kept).ok_or_else(|| ApiError::Internal("a password cannot be read".into()))?;
            let made = reckon(&password, &salt, memory, passes)?;
            Ok(same(&made, &hash))
        })
        .await
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        reckoning: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let waiting = Waiting::new(&self.waiting)?;
        let turn = self.turns.acquire().await.map_err(|_| ApiError::Busy)?;
        drop(waiting);
        let done = tokio::task::spawn_blocking(reckoning).await;
        drop(turn);
        done.map_err(|_| ApiError::Internal("a password could not be looked at".into()))?
    }
}

/// A place among those who wait.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Result<Self, ApiError> {
        let place = Self(count);
        if count.fetch_add(1, Ordering::AcqRel) >= MOST_WAITING { Err(ApiError::Busy) } else { Ok(place) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn reckon(password: &str, salt: &[u8], memory: u32, passes: u32) -> Result<[u8; HASH], ApiError> {
    let odd =
        |error: argon2::Error| ApiError::Internal(format!("a password could not be looked at: {error}"));
    let params = Params::new(memory, passes, 1, Some(HASH)).map_err(odd)?;
    let mut blocks = vec![Block::default(); params.block_count()];
    let mut hash = [0; HASH];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(password.as_bytes(), salt, &mut hash, &mut blocks)
        .map_err(odd)?;
    Ok(hash)
}

fn hex(bytes: &[u8]) -> String {
    super::secrets::hex(bytes)
}

fn parts(kept: &str) -> Option<(u32, u32, Vec<u8>, Vec<u8>)> {
    let mut parts = kept.split('$');
    if parts.next()? != "argon2id" {
        return None;
    }
    let (memory, passes) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let (salt, hash) = (unhex(parts.next()?)?, unhex(parts.next()?)?);
    (memory <= 1 << 20 && passes <= 100).then_some((memory, passes, salt, hash))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = (0..text.len()).step_by(2);
    pairs.map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

/// Looks at every byte, however many differ.
fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |seen, (a, b)| seen | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn what_would_be_guessed_is_refused() {
        for bad in [
            "",
            "short",
            "Password123",
            "aaaaaaaaaaaa",
            "ann.somebody@example.com",
            "ANN.SOMEBODY",
            "qwertyuiop",
        ] {
            assert!(check(bad, "ann.somebody@example.com").is_err(), "{bad}");
        }
        assert!(check(&"é".repeat(600), "a@b.c").is_err(), "too long");
        check("a quiet harbour", "ann.somebody@example.com").unwrap();
        check("安静的港湾和一艘小船啊", "a@b.c").unwrap();
    }

    #[test]
    fn every_common_password_is_long_enough_to_be_needed() {
        for common in COMMON {
            assert!(common.len() >= SHORTEST && common.to_lowercase() == **common, "{common}");
        }
    }

    #[tokio::test]
    async fn a_password_is_known_again_and_no_other() {
        let hashing = Hashing::new();
        let kept = hashing.hash("a quiet harbour").await.unwrap();
        assert!(kept.starts_with("argon2id$19456$2$") && !kept.contains("quiet"), "{kept}");
        assert_ne!(kept, hashing.hash("a quiet harbour").await.unwrap(), "salted");
        assert!(hashing.is_right("a quiet harbour", Some(&kept)).await.unwrap());
        assert!(!hashing.is_right("a quiet harbor", Some(&kept)).await.unwrap());
        assert!(!hashing.is_right("a quiet harbour", None).await.unwrap());
        assert!(hashing.is_right("x", Some("argon2id$x")).await.is_err());
    }

    #[test]
    fn parameters_are_read_back() {
        assert_eq!(parts("argon2id$8$1$00ff$01").unwrap(), (8, 1, vec![0, 255], vec![1]));
        for bad in
            ["", "argon2i$8$1$00$01", "argon2id$8$1$0$01", "argon2id$99999999$1$00$01", "argon2id$8$1$00"]
        {
            assert!(parts(bad).is_none(), "{bad}");
        }
    }
}
