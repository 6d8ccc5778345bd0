//! The oracle's own price arithmetic, written from the definition and not from the product's code: tokens × rate for
//! each kind of token, summed, divided once by a million, rounded half up.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::journal::Tokens;

/// Prices by deployment name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Prices(BTreeMap<String, Rates>);

/// Rates in nano units of the currency for a million tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rates {
    /// ISO 4217.
    pub currency: String,
    /// Input tokens that are not cached.
    pub input: i64,
    /// Output tokens that are not reasoning.
    pub output: i64,
    /// Cached input tokens; absent: as `input`.
    #[serde(default)]
    pub cached_input: Option<i64>,
    /// Reasoning tokens; absent: as `output`.
    #[serde(default)]
    pub reasoning: Option<i64>,
}

impl Prices {
    /// Adds a price.
    #[must_use]
    pub fn with(mut self, model: &str, rates: Rates) -> Self {
        self.0.insert(model.to_owned(), rates);
        self
    }

    /// The price of a deployment.
    #[must_use]
    pub fn of(&self, model: &str) -> Option<&Rates> {
        self.0.get(model)
    }
}

impl Rates {
    /// Rates in USD for a million tokens, as the settings write them (`"0.10"`). `None` if one is not a decimal number of at
    /// most 9 places.
    #[must_use]
    pub fn usd(input: &str, output: &str) -> Option<Self> {
        let (input, output) = (nano(input)?, nano(output)?);
        Some(Self { currency: "USD".to_owned(), input, output, cached_input: None, reasoning: None })
    }

    /// What tokens cost, in nano units.
    #[must_use]
    pub fn cost(&self, tokens: &Tokens) -> i64 {
        let cached = tokens.cached_input.min(tokens.input);
        let reasoning = tokens.reasoning.min(tokens.output);
        let sum = i128::from(tokens.input - cached) * i128::from(self.input)
            + i128::from(cached) * i128::from(self.cached_input.unwrap_or(self.input))
            + i128::from(tokens.output - reasoning) * i128::from(self.output)
            + i128::from(reasoning) * i128::from(self.reasoning.unwrap_or(self.output));
        i64::try_from((sum + 500_000).div_euclid(1_000_000)).unwrap_or(i64::MAX)
    }
}

/// A decimal number in nano units.
fn nano(decimal: &str) -> Option<i64> {
    let (whole, part) = decimal.split_once('.').unwrap_or((decimal, ""));
    if part.len() > 9 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part: i64 = format!("{part:0<9}").parse().ok()?;
    whole.parse::<u32>().ok().map(|whole| i64::from(whole) * 1_000_000_000 + part)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn costs() {
        let rates = Rates::usd("0.10", "0.40").unwrap();
        let tokens = |input, output| Tokens { input, output, ..Tokens::default() };
        assert_eq!(rates.cost(&tokens(1_000_000, 0)), 100_000_000);
        assert_eq!(rates.cost(&tokens(10, 5)), 3_000);
        assert_eq!(Rates { input: 1, ..rates.clone() }.cost(&tokens(499_999, 0)), 0);
        assert_eq!(Rates { input: 1, ..rates.clone() }.cost(&tokens(500_000, 0)), 1);
        let rates = Rates { cached_input: Some(10_000_000), reasoning: Some(800_000_000), ..rates };
        let tokens = Tokens { input: 100, cached_input: 60, output: 10, reasoning: 4 };
        assert_eq!(rates.cost(&tokens), 4_000 + 600 + 2_400 + 3_200);
        assert_eq!(Rates::usd("0.0000000001", "1"), None);
        assert_eq!(Rates::usd("x", "1"), None);
    }
}
