//! Money in integers: a currency and a count of nano-units (1 unit = 1,000,000,000 nano).
//!
//! Why not floats or decimals: a budget is a sum of millions of tiny charges, and must be equal to the sum
//! of its entries to the last digit, in every database and on every machine. A nano-unit is a thousandth
//! of the price of one token at one unit per million; an `i64` of them reaches nine thousand million units.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;

/// Nano-units in one unit of a currency.
pub const NANO: i64 = 1_000_000_000;

/// An ISO 4217 code, upper case.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Currency([u8; 3]);

impl Currency {
    /// US dollar.
    pub const USD: Currency = Currency(*b"USD");
    /// Chinese yuan.
    pub const CNY: Currency = Currency(*b"CNY");
    /// Euro.
    pub const EUR: Currency = Currency(*b"EUR");

    /// The three letters.
    pub fn as_str(&self) -> &str {
        // Only upper-case ASCII letters get in, so the bytes are always UTF-8.
        std::str::from_utf8(&self.0).unwrap_or("XXX")
    }
}

impl FromStr for Currency {
    type Err = MoneyError;
    fn from_str(text: &str) -> Result<Self, MoneyError> {
        match text.as_bytes() {
            [a, b, c] if [a, b, c].iter().all(|l| l.is_ascii_uppercase()) => Ok(Currency([*a, *b, *c])),
            _ => Err(MoneyError::Currency),
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Letters;
        impl de::Visitor<'_> for Letters {
            type Value = Currency;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("three upper-case letters (ISO 4217)")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Currency, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Letters)
    }
}

/// Why a text is not money.
#[derive(Copy, Clone, Eq, PartialEq, Debug, thiserror::Error)]
pub enum MoneyError {
    /// Not three upper-case letters.
    #[error("a currency is three upper-case letters (ISO 4217), such as USD")]
    Currency,
    /// Not `digits` or `digits.digits`.
    #[error("an amount is written in plain digits, such as 25.00")]
    NotDecimal,
    /// More than nine decimals: nothing is ever rounded in silence.
    #[error("an amount has at most 9 decimals")]
    TooPrecise,
    /// Beyond what 64 bits of nano-units hold.
    #[error("an amount is at most 9223372036.854775807")]
    TooLarge,
}

/// An amount in one currency. Amounts of two currencies are never added or compared.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug, Serialize, Deserialize)]
pub struct Money {
    /// The currency that `nano` counts.
    pub currency: Currency,
    /// Nano-units: 1 unit = 1,000,000,000.
    pub nano: i64,
}

impl Money {
    /// No money, in `currency`.
    pub const fn zero(currency: Currency) -> Self {
        Money { currency, nano: 0 }
    }

    /// Reads a plain decimal (`25`, `25.00`, `-0.000000001`) exactly; refuses more than nine decimals.
    pub fn parse(decimal: &str, currency: Currency) -> Result<Money, MoneyError> {
        Ok(Money { currency, nano: parse_nano(decimal)? })
    }

    /// The sum; `None` for two currencies or an overflow.
    pub fn checked_add(self, other: Money) -> Option<Money> {
        if self.currency != other.currency {
            return None;
        }
        Some(Money { currency: self.currency, nano: self.nano.checked_add(other.nano)? })
    }

    /// The amount alone: at least two decimals, further ones only where they are not zero (`0.000123`).
    pub fn decimal(&self) -> String {
        let sign = if self.nano < 0 { "-" } else { "" };
        let (whole, part) = (self.nano.unsigned_abs() / NANO as u64, self.nano.unsigned_abs() % NANO as u64);
        let mut digits = itoa::Buffer::new();
        // With a one before it the part keeps its leading zeros.
        let part = &digits.format(NANO as u64 + part)[1..];
        let shortest = part.len() - 7;
        let part = &part[..shortest.max(part.trim_end_matches('0').len())];
        let mut whole_digits = itoa::Buffer::new();
        [sign, whole_digits.format(whole), ".", part].concat()
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.decimal(), self.currency)
    }
}

/// Reads a plain decimal into billionths. Shared with prices, which are decimals of a currency as well.
pub(crate) fn parse_nano(decimal: &str) -> Result<i64, MoneyError> {
    let (negative, digits) = match decimal.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, decimal),
    };
    let (whole, part) = match digits.split_once('.') {
        Some((whole, part)) if !part.is_empty() => (whole, part),
        Some(_) => return Err(MoneyError::NotDecimal),
        None => (digits, ""),
    };
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !plain(whole) || !plain(part) {
        return Err(MoneyError::NotDecimal);
    }
    if part.len() > 9 {
        return Err(MoneyError::TooPrecise);
    }
    let mut nano: i128 = 0;
    let padding = std::iter::repeat_n(b'0', 9 - part.len());
    for digit in whole.bytes().chain(part.bytes()).chain(padding) {
        nano = nano * 10 + i128::from(digit - b'0');
        if nano > i128::from(u64::MAX) {
            return Err(MoneyError::TooLarge);
        }
    }
    i64::try_from(if negative { -nano } else { nano }).map_err(|_| MoneyError::TooLarge)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decimals_are_exact() {
        let usd = |text: &str| Money::parse(text, Currency::USD);
        assert_eq!(usd("25.00").unwrap().nano, 25_000_000_000);
        assert_eq!(usd("0.000000001").unwrap().nano, 1);
        assert_eq!(usd("-0.5").unwrap().nano, -500_000_000);
        assert_eq!(usd("9223372036.854775807").unwrap().nano, i64::MAX);
        assert_eq!(usd("-9223372036.854775808").unwrap().nano, i64::MIN);
        assert_eq!(usd("0.0000000001"), Err(MoneyError::TooPrecise));
        assert_eq!(usd("9223372036.854775808"), Err(MoneyError::TooLarge));
        assert_eq!(usd(&"9".repeat(5000)), Err(MoneyError::TooLarge));
        for bad in ["", "-", ".5", "5.", "1e3", "+1", "1,000", " 1", "--1", "1.-5", "٣"] {
            assert_eq!(usd(bad), Err(MoneyError::NotDecimal), "{bad}");
        }
    }

    #[test]
    fn display_keeps_two_decimals_and_what_is_not_zero() {
        let show = |nano| Money { currency: Currency::USD, nano }.to_string();
        assert_eq!(show(0), "0.00 USD");
        assert_eq!(show(123_000), "0.000123 USD");
        assert_eq!(show(25 * NANO), "25.00 USD");
        assert_eq!(show(-1_500_000_000), "-1.50 USD");
        assert_eq!(show(1), "0.000000001 USD");
        assert_eq!(show(i64::MIN), "-9223372036.854775808 USD");
    }

    #[test]
    fn currencies_do_not_mix() {
        assert_eq!(Money::zero(Currency::USD).checked_add(Money::zero(Currency::CNY)), None);
        assert!("usd".parse::<Currency>().is_err());
        assert!("USDT".parse::<Currency>().is_err());
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(nano: i64) {
            let money = Money { currency: Currency::EUR, nano };
            prop_assert_eq!(Money::parse(&money.decimal(), Currency::EUR), Ok(money));
            let json = serde_json::to_string(&money).unwrap();
            prop_assert_eq!(serde_json::from_str::<Money>(&json).unwrap(), money);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,40}") {
            if let Ok(money) = Money::parse(&text, Currency::USD) {
                // Whatever is accepted means the same as the decimal says.
                let whole: f64 = text.parse().unwrap();
                prop_assert!((whole - money.nano as f64 / 1e9).abs() <= whole.abs() * 1e-9 + 1e-9);
            }
        }
    }
}
