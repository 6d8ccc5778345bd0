//! The second factor: codes of six digits that change every thirty seconds (RFC 6238, SHA-1, as every authenticator app makes
//! them), and recovery codes for when the app is lost. Each works once.
//!
//! A sign-in with the right password gets a challenge instead of a session: a text of ours that says who it was, until when, and
//! fits the password they have now. Nothing is kept of it.

use super::secrets::hex;
use super::sign_in::enter;
use super::throttle::Counted;
use super::visitor::{Visitor, too_many};
use super::{sessions, vault};
use crate::caller::Caller;
use crate::read::Body;
use crate::{Admin, ApiError};
use aws_lc_rs::hmac;
use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use http::StatusCode;
use policy::{Pepper, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;
use store::{Store, UserRow};

/// Seconds of a step (RFC 6238, the default).
const STEP: u64 = 30;
/// A clock may be a step before or behind ours.
const DRIFT: u64 = 1;
const SECRET: usize = 20;
const RECOVERY_CODES: usize = 10;
const CHALLENGE_LASTS: Duration = Duration::from_secs(5 * 60);
const ISSUER: &str = "Tidegate";
/// RFC 4648.
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The code of a step.
pub(crate) fn code(secret: &[u8], step: u64) -> u32 {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let mac = hmac::sign(&key, &step.to_be_bytes());
    let mac = mac.as_ref();
    let at = usize::from(mac.last().copied().unwrap_or_default() & 15);
    let word = mac.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_be_bytes);
    (word & 0x7fff_ffff) % 1_000_000
}

/// The step that this code is of, among those around now.
fn step_of(secret: &[u8], brought: &str, now: Timestamp) -> Option<u64> {
    if brought.len() != 6 || !brought.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let brought: u32 = brought.parse().ok()?;
    let present = u64::try_from(now.as_seconds()).ok()? / STEP;
    (present.saturating_sub(DRIFT)..=present + DRIFT).find(|step| code(secret, *step) == brought)
}

fn base32(bytes: &[u8]) -> String {
    let bit = |at: usize| bytes.get(at / 8).is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1);
    let digits = (bytes.len() * 8).div_ceil(5);
    let value = |digit: usize| (0..5).fold(0, |value, at| value << 1 | usize::from(bit(digit * 5 + at)));
    (0..digits).map(|digit| char::from(BASE32[value(digit) & 31])).collect()
}

/// The body of whatever a code confirms.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Code {
    code: String,
}

/// The body of `POST /api/sign-in/totp`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Answered {
    challenge: String,
    code: String,
}

/// The body of `POST /api/totp/disable`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Confirmed {
    password: String,
}

/// `POST /api/totp`: a new secret, told once; it is asked for when a code of it was shown.
pub(crate) async fn enrol(
    State(admin): State<Admin>,
    caller: Caller,
    visitor: Visitor,
    Body(asked): Body<Confirmed>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let (_, user) = caller.person()?;
    sessions::confirm(&admin, &caller, &visitor, &asked.password).await?;
    if user.totp_since.is_some() {
        return Err(ApiError::Conflict("a second factor is set up already; take it away first".into()));
    }
    let secret = runtime::random_bytes::<SECRET>();
    let sealed = vault::seal(&admin.pepper, &user.id, &secret)?;
    admin.store.load()?.set_totp(&user.id, Some(sealed), None, 0, &[]).await?;
    let text = base32(&secret);
    // E-mails hold nothing that a URI would have to escape but these two.
    let account = user.email.replace('%', "%25").replace('?', "%3F").replace('#', "%23");
    let uri = format!(
        "otpauth://totp/{ISSUER}:{account}?secret={text}&issuer={ISSUER}&algorithm=SHA1&digits=6&period={STEP}"
    );
    Ok((StatusCode::CREATED, Json(json!({ "secret": text, "uri": uri }))))
}

/// `POST /api/totp/confirm`: from now on it is asked for. Every other session ends; recovery codes are told once.
pub(crate) async fn confirm(
    State(admin): State<Admin>,
    caller: Caller,
    visitor: Visitor,
    Body(asked): Body<Code>,
) -> Result<Json<Value>, ApiError> {
    let (session, user) = caller.person()?;
    count(&admin, user, &visitor)?;
    let sealed = user.totp.as_ref().filter(|_| user.totp_since.is_none());
    let sealed = sealed.ok_or_else(|| {
        ApiError::Conflict("there is no second factor that waits; begin with `POST /api/totp`".into())
    })?;
    let secret = vault::open(&admin.pepper, &user.id, sealed)?;
    let now = admin.clock.now();
    let step = step_of(&secret, asked.code.trim(), now).ok_or(ApiError::WrongCode)?;
    let codes: Vec<String> = (0..RECOVERY_CODES).map(|_| recovery_code()).collect();
    let hashes: Vec<String> = codes.iter().map(|code| recovery_hash(&admin.pepper, &user.id, code)).collect();
    let store = admin.store.load()?;
    store.set_totp(&user.id, Some(sealed.clone()), Some(now), step, &hashes).await?;
    store.show_second(&user.id, &session.id).await?;
    tracing::info!(user = %user.id, "a second factor was set up");
    Ok(Json(json!({ "recovery_codes": codes })))
}

/// `POST /api/totp/disable`: with the password.
pub(crate) async fn disable(
    State(admin): State<Admin>,
    caller: Caller,
    visitor: Visitor,
    Body(asked): Body<Confirmed>,
) -> Result<Json<Value>, ApiError> {
    let (_, user) = caller.person()?;
    sessions::confirm(&admin, &caller, &visitor, &asked.password).await?;
    admin.store.load()?.set_totp(&user.id, None, None, user.totp_step, &[]).await?;
    tracing::info!(user = %user.id, "a second factor was taken away");
    Ok(Json(json!({ "changed": true })))
}

/// `POST /api/sign-in/totp`: the second step.
pub(crate) async fn sign_in(
    State(admin): State<Admin>,
    visitor: Visitor,
    Body(asked): Body<Answered>,
) -> Result<impl IntoResponse, ApiError> {
    let store = admin.store.load()?;
    let user = challenged(&admin, &store, &asked.challenge).await?;
    let counted = count(&admin, &user, &visitor)?;
    if !is_shown(&admin, &store, &user, asked.code.trim()).await? {
        tracing::info!(address = %visitor.address, "a second factor was refused");
        return Err(ApiError::WrongCode);
    }
    admin.identity.throttle.forgive(&counted);
    enter(&admin, &store, &visitor, &user, true).await
}

/// A million codes are few: they are counted like passwords, and apart from them.
fn count(admin: &Admin, user: &UserRow, visitor: &Visitor) -> Result<[Counted; 3], ApiError> {
    let counted = Counted::sign_in(&format!("second factor of {}", user.id), &visitor.address);
    admin.identity.throttle.take(&counted, admin.clock.moment()).map_err(too_many)?;
    Ok(counted)
}

/// Whether a code, or a recovery code, was shown that had not been shown before.
async fn is_shown(admin: &Admin, store: &Store, user: &UserRow, brought: &str) -> Result<bool, ApiError> {
    let Some(sealed) = &user.totp else { return Ok(false) };
    let secret = vault::open(&admin.pepper, &user.id, sealed)?;
    if let Some(step) = step_of(&secret, brought, admin.clock.now()) {
        return Ok(store.use_totp_step(&user.id, step).await?);
    }
    Ok(store.use_recovery(&user.id, &recovery_hash(&admin.pepper, &user.id, brought)).await?)
}

/// Fifty random bits, as people write them down.
fn recovery_code() -> String {
    let text = base32(&runtime::random_bytes::<7>()).to_lowercase();
    format!("{}-{}", text.get(..5).unwrap_or_default(), text.get(5..10).unwrap_or_default())
}

fn recovery_hash(pepper: &Pepper, user: &str, code: &str) -> String {
    let plain: String = code.chars().filter(char::is_ascii_alphanumeric).collect();
    hex(&pepper.sign("recovery code", format!("{user}\0{}", plain.to_lowercase()).as_bytes()))
}

const FOR_CHALLENGE: &str = "challenge of a second factor";

/// What is signed: who, until when, and the password of now.
fn signed(user: &UserRow, ends: i64) -> Vec<u8> {
    format!("{}\0{ends}\0{}", user.id, user.password).into_bytes()
}

/// A challenge for whoever showed the right password.
pub(crate) fn challenge(admin: &Admin, user: &UserRow) -> Value {
    let ends = admin.clock.now().plus(CHALLENGE_LASTS);
    let micros = ends.as_micros();
    let signature = hex(&admin.pepper.sign(FOR_CHALLENGE, &signed(user, micros)));
    json!({ "mfa_required": true, "challenge": format!("{}.{micros}.{signature}", user.id), "expires_at": ends.to_string() })
}

async fn challenged(admin: &Admin, store: &Store, challenge: &str) -> Result<UserRow, ApiError> {
    let over = || {
        ApiError::Refused(
            "challenge_over",
            "this sign-in took too long; begin again with the password".into(),
        )
    };
    let mut parts = challenge.splitn(3, '.');
    let (Some(id), Some(ends), Some(signature)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(over());
    };
    let ends: i64 = ends.parse().map_err(|_| over())?;
    let signature = super::secrets::bytes_of(signature).ok_or_else(over)?;
    if Timestamp::from_micros(ends) <= admin.clock.now() {
        return Err(over());
    }
    let user = store.find_user_by_id(id).await?.ok_or_else(over)?;
    if !admin.pepper.is_signed(FOR_CHALLENGE, &signed(&user, ends), &signature) || user.totp_since.is_none() {
        return Err(over());
    }
    Ok(user)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238, appendix B (SHA-1): the last six of its eight digits.
    #[test]
    fn codes_are_those_of_the_standard() {
        let secret = b"12345678901234567890";
        for (seconds, expected) in [
            (59, 287_082),
            (1_111_111_109, 81_804),
            (1_111_111_111, 50_471),
            (1_234_567_890, 5_924),
            (2_000_000_000, 279_037),
            (20_000_000_000, 353_130),
        ] {
            assert_eq!(code(secret, seconds / STEP), expected, "{seconds}");
        }
    }

    #[test]
    fn a_clock_may_be_a_step_off_and_no_more() {
        let secret = b"12345678901234567890";
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        let shown = format!("{:06}", code(secret, 100));
        for (seconds, found) in
            [(2969, None), (2970, Some(100)), (3000, Some(100)), (3059, Some(100)), (3060, None)]
        {
            assert_eq!(step_of(secret, &shown, at(seconds)), found, "{seconds}");
        }
        for odd in ["", "12345", "1234567", "12345a", "+12345", "１２３４５６"] {
            assert_eq!(step_of(secret, odd, at(3000)), None, "{odd}");
        }
    }

    /// RFC 4648, section 10.
    #[test]
    fn base32_is_that_of_the_standard() {
        for (bytes, text) in [
            ("", ""),
            ("f", "MY"),
            ("fo", "MZXQ"),
            ("foo", "MZXW6"),
            ("foob", "MZXW6YQ"),
            ("foobar", "MZXW6YTBOI"),
        ] {
            assert_eq!(base32(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn recovery_codes_are_read_as_people_write_them() {
        let pepper = Pepper::derive(&[1; 32]);
        let code = recovery_code();
        assert!(code.len() == 11 && code.as_bytes()[5] == b'-', "{code}");
        let hash = recovery_hash(&pepper, "usr", &code);
        assert_eq!(hash, recovery_hash(&pepper, "usr", &code.to_uppercase().replace('-', " ")));
        assert_ne!(hash, recovery_hash(&pepper, "other", &code));
    }
}
