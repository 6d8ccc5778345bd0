//! Counts of every vendor, and floats there and back: what an index is built of must not differ by a bit.

#![expect(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;

use super::floats::{packed, unpacked};
use super::*;

#[test]
fn counts_are_found_by_whichever_names_and_zero_is_one() {
    let of = |text: &str| counted(text.as_bytes());
    assert_eq!(of(r#"{"usage":{"prompt_tokens":5,"total_tokens":5}}"#).tokens, Some(5));
    assert_eq!(of(r#"{"usage":{"total_tokens":7}}"#).tokens, Some(7));
    assert_eq!(of(r#"{"usageMetadata":{"promptTokenCount":0}}"#).tokens, Some(0));
    let cohere = r#"{"meta":{"billed_units":{"input_tokens":3.0,"image_tokens":2,"search_units":1.0}}}"#;
    assert_eq!(of(cohere), Counted { tokens: Some(5), search_units: Some(1) });
    let reranked = r#"{"meta":{"billed_units":{"search_units":1},"tokens":{"input_tokens":90}}}"#;
    assert_eq!(of(reranked), Counted { tokens: Some(90), search_units: Some(1) });
    for nothing in ["{}", "[]", r#"{"usage":null,"meta":{}}"#, r#"{"usage":{"prompt_tokens":-1}}"#] {
        assert_eq!(of(nothing), Counted::default(), "{nothing}");
    }
    assert_eq!(Counted::default().usage(), None);
}

#[test]
fn floats_are_exact_both_ways() {
    // 1.0, -0.0 and the smallest float above zero, written by hand.
    assert_eq!(packed("[1.0, -0.0, 1e-45]").unwrap(), "AACAPwAAAIABAAAA");
    assert_eq!(unpacked("AACAPwAAAIABAAAA").unwrap(), "[1.0,-0.0,1e-45]");
    // Half way between two floats as a 64-bit number, above it as a text.
    assert_eq!(packed("[1.00000005960464477539062500001]"), packed("[1.00000011920929]"));
    for none in ["{}", "[\"a\"]", "[null]", "[[1]]"] {
        assert_eq!(packed(none), None, "{none}");
    }
    // No base64, no whole float, not a number.
    for none in ["?", "AAAA", "AADAfw=="] {
        assert_eq!(unpacked(none), None, "{none}");
    }
    assert_eq!((packed("[]").as_deref(), unpacked("").as_deref()), (Some(""), Some("[]")));
}

proptest! {
    #[test]
    fn every_float_comes_back_bit_by_bit(bits in proptest::collection::vec(any::<u32>(), 0..40)) {
        let floats: Vec<f32> = bits.iter().map(|bits| f32::from_bits(*bits)).filter(|f| f.is_finite()).collect();
        let text = serde_json::to_string(&floats).unwrap();
        let base64 = packed(&text).unwrap();
        let back: Vec<f32> = serde_json::from_str(&unpacked(&base64).unwrap()).unwrap();
        let bits = |floats: &[f32]| floats.iter().map(|f| f.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(&back), bits(&floats));
        prop_assert_eq!(packed(&unpacked(&base64).unwrap()).unwrap(), base64);
    }
}
