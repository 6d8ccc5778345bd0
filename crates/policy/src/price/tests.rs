//! Prices against a model in 128-bit integers, and the rules for what is unknown.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use proptest::prelude::*;

fn rate(text: &str) -> Option<Rate> {
    Some(Rate::parse(text).unwrap())
}

fn price(input: &str, output: &str) -> Price {
    let unknown = Price::unknown("test".into(), Currency::USD);
    Price { input: rate(input), output: rate(output), ..unknown }
}

fn used(input: u64, output: u64) -> Usage {
    Usage { input: Some(input), output: Some(output), ..Usage::default() }
}

fn nano(price: &Price, usage: &Usage) -> Option<i64> {
    price.cost(usage).map(|money| money.nano)
}

#[test]
fn tokens_by_the_million() {
    assert_eq!(price("0.10", "0.40").cost(&used(1_000, 500)).unwrap().to_string(), "0.0003 USD");
    assert_eq!(nano(&price("0.10", "0.40"), &used(0, 0)), Some(0));
    assert_eq!(Rate::parse("-1"), Err(MoneyError::NotDecimal));
}

#[test]
fn rounded_once_half_up() {
    let tiny = Price { input: Some(Rate(250_000)), output: Some(Rate(250_000)), ..price("0", "0") };
    assert_eq!(nano(&tiny, &used(1, 0)), Some(0));
    assert_eq!(nano(&tiny, &used(1, 1)), Some(1), "two quarters make a half, which rounds up");
    assert_eq!(nano(&tiny, &used(2, 3)), Some(1));
    assert_eq!(nano(&tiny, &used(3, 3)), Some(2));
}

#[test]
fn parts_are_priced_apart() {
    let full = Price {
        cached_input: rate("0.10"),
        cache_write: rate("1.25"),
        audio_input: rate("10"),
        reasoning: rate("5"),
        audio_output: rate("20"),
        ..price("1", "4")
    };
    let usage = Usage {
        cached_input: Some(100),
        cache_write: Some(10),
        audio_input: Some(1),
        reasoning: Some(30),
        audio_output: Some(2),
        ..used(1_000, 100)
    };
    // 889 plain + 100 cached + 10 written + 1 audio; 68 plain + 30 reasoning + 2 audio.
    let expected = 889 * 1_000 + 100 * 100 + 10 * 1_250 + 10_000 + 68 * 4_000 + 30 * 5_000 + 2 * 20_000;
    assert_eq!(nano(&full, &usage), Some(expected));
    // Without rates of their own the parts cost what the whole costs.
    assert_eq!(nano(&price("1", "4"), &usage), Some(1_000 * 1_000 + 100 * 4_000));
}

#[test]
fn a_cache_write_for_an_hour_has_a_rate_of_its_own() {
    // Claude Opus 4.5's rates: 5, 6.25 for five minutes, 10 for an hour, 0.50 read, 25 out (platform.claude.com, pricing).
    let opus = Price {
        cached_input: rate("0.50"),
        cache_write: rate("6.25"),
        cache_write_hour: rate("10"),
        ..price("5", "25")
    };
    let usage = Usage {
        cached_input: Some(1_800),
        cache_write: Some(248),
        cache_write_hour: Some(100),
        ..used(2_048 + 503, 503)
    };
    let expected = 503 * 5_000 + 1_800 * 500 + 148 * 6_250 + 100 * 10_000 + 503 * 25_000;
    assert_eq!(nano(&opus, &usage), Some(expected));
    // Without a rate of its own it costs what the others cost, and nothing is charged twice.
    let short = Price { cache_write_hour: None, ..opus.clone() };
    assert_eq!(nano(&short, &usage), Some(expected - 100 * 3_750));
    assert!(opus.upper_bound(1, 0).nano == 10_000);
    let tiered = Price {
        tiers: vec![Tier { above_input_tokens: 100, cache_write: rate("12.50"), ..Tier::default() }],
        ..opus
    };
    let written = Usage { cache_write: Some(1_000), cache_write_hour: Some(1_000), ..used(1_000, 0) };
    assert_eq!(nano(&tiered, &written), Some(1_000 * 20_000));
}

#[test]
fn parts_never_exceed_the_whole() {
    let cached = Price { cached_input: rate("0.10"), ..price("1", "4") };
    let usage = Usage { cached_input: Some(5_000), ..used(1_000, 0) };
    assert_eq!(nano(&cached, &usage), Some(100_000));
}

#[test]
fn unknown_is_not_zero() {
    let both = price("1", "4");
    assert_eq!(nano(&both, &Usage { output: None, ..used(1, 0) }), None);
    assert_eq!(nano(&both, &Usage { input: None, ..used(0, 1) }), None);
    let embedding = Price { output: None, ..price("0.02", "0") };
    assert_eq!(nano(&embedding, &Usage { output: None, ..used(1_000, 0) }), Some(20_000));
    assert_eq!(nano(&embedding, &used(1_000, 0)), Some(20_000));
    assert_eq!(nano(&embedding, &used(1_000, 1)), None, "output without a rate");
    let images = Price { per_image: rate("0.04"), ..Price::unknown("v".into(), Currency::USD) };
    assert_eq!(nano(&images, &Usage::default()), None);
    assert_eq!(nano(&images, &Usage { images: Some(2), ..Usage::default() }), Some(80_000_000));
    let seconds = Price { per_second: rate("0.04"), ..both };
    assert_eq!(nano(&seconds, &used(1, 1)), None);
    assert_eq!(nano(&Price::unknown("v".into(), Currency::USD), &used(1, 0)), None);
}

#[test]
fn the_highest_tier_reached_wins() {
    let tier = |above, input, output| Tier {
        above_input_tokens: above,
        input: rate(input),
        output: rate(output),
        ..Tier::default()
    };
    let tiered = Price {
        tiers: vec![tier(200_000, "2", "8"), tier(400_000, "3", "9"), tier(50, "1", "5")],
        ..price("1", "4")
    };
    assert_eq!(nano(&tiered, &used(50, 1)), Some(50_000 + 4_000));
    assert_eq!(nano(&tiered, &used(51, 1)), Some(51_000 + 5_000));
    assert_eq!(nano(&tiered, &used(200_001, 1)), Some(400_002_000 + 8_000));
    assert_eq!(nano(&tiered, &used(400_001, 1)), Some(1_200_003_000 + 9_000));
    assert_eq!(tiered.upper_bound(50, 1).nano, 54_000, "a tier out of reach is not reserved for");
    assert_eq!(tiered.upper_bound(300_000, 1).nano, 600_000_000 + 8_000);
}

#[test]
fn requests_have_a_price_too() {
    let flat = Price { per_request: rate("0.005"), ..price("1", "1") };
    assert_eq!(nano(&flat, &used(0, 0)), Some(5_000_000));
    assert_eq!(flat.upper_bound(0, 0).nano, 5_000_000);
}

fn rates() -> impl Strategy<Value = Option<Rate>> {
    proptest::option::of((0i64..2_000_000_000_000).prop_map(Rate))
}

fn counts() -> impl Strategy<Value = Option<u64>> {
    proptest::option::of(0u64..3_000_000)
}

prop_compose! {
    fn prices()(
        base in [rates(), rates(), rates(), rates(), rates(), rates(), rates()],
        request in rates(),
        tiers in proptest::collection::vec((0u64..3_000_000, [rates(), rates(), rates(), rates()]), 0..3),
    ) -> Price {
        let [input, output, cached_input, cache_write, reasoning, audio_input, audio_output] = base;
        let tiers = tiers.into_iter().map(|(above_input_tokens, [input, output, cached_input, cache_write])| {
            Tier { above_input_tokens, input, output, cached_input, cache_write }
        });
        Price {
            input, output, cached_input, cache_write, reasoning, audio_input, audio_output,
            per_request: request, tiers: tiers.collect(), ..Price::unknown("p".into(), Currency::CNY)
        }
    }
}

prop_compose! {
    fn usages()(counts in [counts(), counts(), counts(), counts(), counts(), counts(), counts()]) -> Usage {
        let [input, cached_input, cache_write, output, reasoning, audio_input, audio_output] = counts;
        Usage { input, cached_input, cache_write, output, reasoning, audio_input, audio_output, ..Usage::default() }
    }
}

/// The same in the plainest words: one token after the other would be slow, one kind after the other is not.
fn model(price: &Price, usage: &Usage) -> Option<i64> {
    let token_rates = [price.input, price.output, price.cached_input, price.cache_write, price.reasoning];
    let others = [price.audio_input, price.audio_output];
    if price.tiers.is_empty()
        && token_rates.iter().chain(&others).all(Option::is_none)
        && price.per_request.is_some()
    {
        return price.per_request.map(|rate| rate.0);
    }
    let input = usage.input.unwrap_or(0);
    let mut tiers = price.tiers.clone();
    tiers.retain(|tier| tier.above_input_tokens < input);
    tiers.sort_by_key(|tier| tier.above_input_tokens);
    // Of equal tiers the last is taken, as in the code.
    let tier = tiers.last().copied().unwrap_or_default();
    let base_input = tier.input.or(price.input);
    let base_output = tier.output.or(price.output);
    let sides = [
        (
            usage.input,
            base_input,
            vec![
                (usage.cached_input, tier.cached_input.or(price.cached_input)),
                (usage.cache_write, tier.cache_write.or(price.cache_write)),
                (usage.audio_input, price.audio_input),
            ],
        ),
        (
            usage.output,
            base_output,
            vec![(usage.audio_output, price.audio_output), (usage.reasoning, price.reasoning)],
        ),
    ];
    let mut sum = i128::from(price.per_request.map_or(0, |rate| rate.0)) * 1_000_000;
    for (whole, base, kinds) in sides {
        if whole.is_none() && (base.is_some() || kinds.iter().any(|(_, rate)| rate.is_some())) {
            return None;
        }
        let mut left = i128::from(whole.unwrap_or(0));
        for (count, own) in kinds {
            let count = i128::from(count.unwrap_or(0)).min(left);
            left -= count;
            if count > 0 {
                sum += count * i128::from(own.or(base)?.0);
            }
        }
        if left > 0 {
            sum += left * i128::from(base?.0);
        }
    }
    let (whole, rest) = (sum / 1_000_000, sum % 1_000_000);
    i64::try_from(whole + i128::from(rest >= 500_000)).ok()
}

proptest! {
    #[test]
    fn cost_agrees_with_the_model(price in prices(), usage in usages()) {
        prop_assert_eq!(nano(&price, &usage), model(&price, &usage));
    }

    #[test]
    fn no_cost_exceeds_the_upper_bound(price in prices(), usage in usages(), more in 0u64..1_000) {
        if let Some(cost) = price.cost(&usage) {
            let bound = price.upper_bound(usage.input.unwrap_or(0) + more, usage.output.unwrap_or(0) + more);
            prop_assert!(cost.nano <= bound.nano);
        }
    }

    #[test]
    fn nothing_overflows(mut price in prices(), input: u64, output: u64, dear in 0i64..=i64::MAX) {
        price.input = Some(Rate(dear));
        price.per_request = Some(Rate(dear));
        let usage = Usage { input: Some(input), output: Some(output), ..Usage::default() };
        let _ = (price.cost(&usage), price.upper_bound(input, output));
    }
}
