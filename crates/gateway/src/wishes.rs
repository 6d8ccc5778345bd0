//! What a client asks of the gateway itself, by headers: a time limit of its own, strictness, what the cache shall do, and
//! that a request is carried out once.
//!
//! A value that cannot be read is refused and not passed over: whoever sends a limit relies on it.

use std::time::Duration;

use http::HeaderMap;
use http::header::HeaderName;

use policy::Name;

use crate::headers;
use crate::recall::Wish;
use crate::refusal::{Code, Refusal};

/// A client may ask for at most this much; more than the settings allow has no effect anyway.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Of an idempotency key, characters; as at Stripe.
const LONGEST_KEY: usize = 255;

/// The headers of one request, read.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Wishes {
    /// `x-tidegate-timeout`: for the whole request.
    pub(crate) timeout: Option<Duration>,
    /// `x-tidegate-strict`.
    pub(crate) strict: bool,
    /// `x-tidegate-cache`.
    pub(crate) cache: Wish,
    /// `idempotency-key`.
    pub(crate) idempotency: Option<Name>,
}

/// Reads them.
pub(crate) fn read(client: &HeaderMap) -> Result<Wishes, Box<Refusal>> {
    Ok(Wishes {
        timeout: one(client, &headers::TIMEOUT, "x-tidegate-timeout", TIMEOUT_FORM, timeout)?,
        strict: one(client, &headers::STRICT, "x-tidegate-strict", "`true` or `false`", flag)?
            .unwrap_or(false),
        cache: one(client, &headers::CACHE, "x-tidegate-cache", "`off` or `refresh`", cache)?
            .unwrap_or_default(),
        idempotency: one(client, &headers::IDEMPOTENCY_KEY, "idempotency-key", KEY_FORM, idempotency)?,
    })
}

const KEY_FORM: &str = "an idempotency key: 1 to 255 visible characters, such as a random UUID";

const TIMEOUT_FORM: &str =
    "a time from 1ms to 24h: seconds such as `30` or `2.5`, or with a unit, `1500ms`, `30s`, `2m`";

fn one<T>(
    client: &HeaderMap,
    name: &HeaderName,
    param: &'static str,
    form: &str,
    read: fn(&str) -> Option<T>,
) -> Result<Option<T>, Box<Refusal>> {
    let mut values = client.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let read = value.to_str().ok().and_then(|text| read(text.trim()));
    match (read, values.next()) {
        (Some(wish), None) => Ok(Some(wish)),
        (_, Some(_)) => {
            Err(Refusal::new(Code::InvalidRequest, format!("header `{name}` is given more than once"))
                .about(param))
        }
        (None, None) => {
            let given: String = value.as_bytes().escape_ascii().to_string().chars().take(40).collect();
            let message = format!("header `{name}`: `{given}` is not {form}");
            Err(Refusal::new(Code::InvalidRequest, message).about(param))
        }
    }
}

fn cache(text: &str) -> Option<Wish> {
    match text {
        "off" => Some(Wish::Off),
        "refresh" => Some(Wish::Refresh),
        _ => None,
    }
}

fn idempotency(text: &str) -> Option<Name> {
    (1..=LONGEST_KEY).contains(&text.len()).then(|| text.into())
}

fn flag(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        return Some(true);
    }
    text.eq_ignore_ascii_case("false").then_some(false)
}

/// A decimal number of seconds, or of the unit behind it.
fn timeout(text: &str) -> Option<Duration> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let nanos_of_unit: u64 = match unit.trim_start() {
        "ms" => 1_000_000,
        "" | "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) {
        return None;
    }
    let scale = 10_u64.pow(u32::try_from(part.len()).ok()?);
    let part = u128::from(part.parse::<u64>().ok()?) * u128::from(nanos_of_unit) / u128::from(scale);
    let nanos = u128::from(whole.parse::<u64>().ok()?) * u128::from(nanos_of_unit) + part;
    let timeout = Duration::from_nanos(u64::try_from(nanos).ok()?);
    (Duration::from_millis(1)..=LONGEST).contains(&timeout).then_some(timeout)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn read_one(name: &HeaderName, values: &[&'static str]) -> Result<Wishes, Box<Refusal>> {
        let mut client = HeaderMap::new();
        for value in values {
            client.append(name.clone(), HeaderValue::from_static(value));
        }
        read(&client)
    }

    #[test]
    fn a_time_is_seconds_or_has_a_unit() {
        for (text, milliseconds) in [
            ("30", 30_000),
            ("2.5", 2_500),
            ("1500ms", 1_500),
            ("30s", 30_000),
            ("2m", 120_000),
            ("0.5 m", 30_000),
            ("0.001", 1),
            ("24h", 86_400_000),
        ] {
            let wishes = read_one(&headers::TIMEOUT, &[text]).unwrap();
            assert_eq!(wishes.timeout, Some(Duration::from_millis(milliseconds)), "{text}");
        }
        assert_eq!(read(&HeaderMap::new()).unwrap(), Wishes::default());
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_name() {
        for text in [
            "",
            "0",
            "0.0001",
            "-1",
            "soon",
            "30x",
            ".5",
            "5.",
            "1.2.3",
            "1e3",
            "25h",
            "99999999999999999999",
            "+1",
        ] {
            let refusal = read_one(&headers::TIMEOUT, &[text]).unwrap_err();
            assert_eq!(
                (refusal.code, refusal.param.as_deref()),
                (Code::InvalidRequest, Some("x-tidegate-timeout")),
                "{text}"
            );
            assert!(refusal.message.contains("x-tidegate-timeout"), "{}", refusal.message);
        }
        let twice = read_one(&headers::TIMEOUT, &["1", "2"]).unwrap_err();
        assert!(twice.message.contains("more than once"), "{}", twice.message);
    }

    #[test]
    fn the_cache_is_left_out_or_refreshed() {
        assert_eq!(read_one(&headers::CACHE, &["off"]).unwrap().cache, Wish::Off);
        assert_eq!(read_one(&headers::CACHE, &["refresh"]).unwrap().cache, Wish::Refresh);
        for values in [&["on"][..], &["off", "refresh"], &[""]] {
            let refusal = read_one(&headers::CACHE, values).unwrap_err();
            assert_eq!(refusal.param.as_deref(), Some("x-tidegate-cache"), "{values:?}");
        }
    }

    #[test]
    fn an_idempotency_key_is_any_short_text() {
        let key = |values: &[&'static str]| read_one(&headers::IDEMPOTENCY_KEY, values);
        assert_eq!(key(&[" a-1 "]).unwrap().idempotency.as_deref(), Some("a-1"));
        for values in [&[""][..], &["a", "a"]] {
            let refusal = key(values).unwrap_err();
            assert_eq!(refusal.param.as_deref(), Some("idempotency-key"), "{values:?}");
        }
        let mut client = HeaderMap::new();
        client.insert(headers::IDEMPOTENCY_KEY, HeaderValue::from_str(&"x".repeat(256)).unwrap());
        assert!(read(&client).is_err());
    }

    #[test]
    fn strictness_is_yes_or_no() {
        assert!(read_one(&headers::STRICT, &["true"]).unwrap().strict);
        assert!(read_one(&headers::STRICT, &["TRUE"]).unwrap().strict);
        assert!(!read_one(&headers::STRICT, &["false"]).unwrap().strict);
        let refusal = read_one(&headers::STRICT, &["maybe"]).unwrap_err();
        assert_eq!(refusal.param.as_deref(), Some("x-tidegate-strict"));
        assert!(
            refusal.message.contains("`x-tidegate-strict`: `maybe` is not `true` or `false`"),
            "{}",
            refusal.message
        );
    }
}
