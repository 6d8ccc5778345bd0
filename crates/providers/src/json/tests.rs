//! The scanner against `serde_json`, and what only we promise: depth, spans, linear time.

#![expect(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;

use super::*;
use crate::steps;

/// `serde_json` walking without building: the same grammar, by another hand.
fn accepted_by_serde(text: &[u8]) -> bool {
    serde_json::from_slice::<&serde_json::value::RawValue>(text).is_ok()
}

#[test]
fn refuses_what_rfc_8259_refuses() {
    for (text, offset, kind) in [
        ("", 0, JsonErrorKind::UnexpectedEnd),
        ("  ", 2, JsonErrorKind::UnexpectedEnd),
        ("{", 1, JsonErrorKind::UnexpectedEnd),
        ("[1,]", 3, JsonErrorKind::UnexpectedCharacter),
        ("{\"a\":1,}", 7, JsonErrorKind::UnexpectedCharacter),
        ("{\"a\" 1}", 5, JsonErrorKind::UnexpectedCharacter),
        ("{a:1}", 1, JsonErrorKind::UnexpectedCharacter),
        ("[1 2]", 3, JsonErrorKind::UnexpectedCharacter),
        ("[1}", 2, JsonErrorKind::UnexpectedCharacter),
        ("01", 1, JsonErrorKind::InvalidNumber),
        ("1.", 2, JsonErrorKind::UnexpectedEnd),
        ("[1.]", 3, JsonErrorKind::InvalidNumber),
        ("[-]", 2, JsonErrorKind::InvalidNumber),
        ("+1", 0, JsonErrorKind::UnexpectedCharacter),
        ("[1e]", 3, JsonErrorKind::InvalidNumber),
        ("tru", 3, JsonErrorKind::UnexpectedEnd),
        ("nul1", 3, JsonErrorKind::UnexpectedCharacter),
        ("NaN", 0, JsonErrorKind::UnexpectedCharacter),
        ("{} x", 3, JsonErrorKind::TrailingText),
        ("\"a\nb\"", 2, JsonErrorKind::ControlCharacter),
        ("\"\\x\"", 2, JsonErrorKind::InvalidEscape),
        ("\"\\u12g4\"", 5, JsonErrorKind::InvalidEscape),
        ("\"\\u12", 5, JsonErrorKind::UnexpectedEnd),
        ("\"abc", 4, JsonErrorKind::UnexpectedEnd),
        ("// no", 0, JsonErrorKind::UnexpectedCharacter),
        ("\u{feff}{}", 0, JsonErrorKind::UnexpectedCharacter),
    ] {
        assert_eq!(validate(text.as_bytes()), Err(JsonError { offset, kind }), "{text}");
        assert!(!accepted_by_serde(text.as_bytes()), "{text}");
    }
    let invalid = validate(b"\"a\xff\"").unwrap_err();
    assert_eq!((invalid.offset, invalid.kind), (2, JsonErrorKind::InvalidUtf8));
}

#[test]
fn accepts_odd_but_valid_text() {
    for text in
        ["1e400", "-0", "9007199254740993", " [ ] ", "\"\\ud800\"", "\"\u{7f}\"", "{\"\":{}}", "[[],{}]"]
    {
        assert_eq!(validate(text.as_bytes()), Ok(()), "{text}");
    }
}

#[test]
fn depth_is_bounded_and_deep_text_is_cheap() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(validate(nested(MAX_DEPTH).as_bytes()), Ok(()));
    let error = validate(nested(MAX_DEPTH + 1).as_bytes()).unwrap_err();
    assert_eq!((error.kind, error.offset), (JsonErrorKind::TooDeep, MAX_DEPTH));
    let mixed = format!("{}1{}", "{\"a\":[".repeat(64), "]}".repeat(64));
    assert_eq!(validate(mixed.as_bytes()), Ok(()));
}

#[test]
fn gives_spans_of_members_in_order_with_duplicates() {
    let text = br#" { "a" : 1.0 , "b":{"a":[2]},"\u0061" :"x\"y", "c":null } "#;
    let object = top_level(text).unwrap();
    let values: Vec<_> =
        object.fields.iter().map(|field| std::str::from_utf8(field.value.of(text)).unwrap()).collect();
    assert_eq!(values, ["1.0", r#"{"a":[2]}"#, r#""x\"y""#, "null"]);
    assert_eq!(object.fields.iter().filter(|field| field.key_is(text, "a")).count(), 2);
    assert_eq!(object.value(text, "a"), Some(&br#""x\"y""#[..]));
    assert_eq!(object.value(text, "c"), None);
    assert!(object.find(text, "c").is_some());
    assert_eq!(top_level(b" [1]").unwrap_err(), JsonError { offset: 1, kind: JsonErrorKind::NotAnObject });
}

#[test]
fn keys_are_compared_unescaped() {
    for (raw, wanted, same) in [
        (&br"mod\u0065l"[..], "model", true),
        (br"mod\u0065", "model", false),
        (br"\ud83d\ude00", "\u{1f600}", true),
        (br"\ud83d", "\u{1f600}", false),
        (br"\ud83dx", "\u{fffd}x", true),
        (br"a\/b\n", "a/b\n", true),
    ] {
        assert_eq!(text::unescaped_eq(raw, wanted), same, "{wanted}");
    }
}

#[test]
fn the_end_of_a_string_is_found_at_every_distance() {
    for length in 0..200 {
        for special in [b'"', b'\\', 0x1f, b'\n', 0] {
            let mut bytes = vec![b'x'; length];
            bytes.push(special);
            bytes.extend_from_slice(b"\xff\x80 tail \"\\");
            assert_eq!(text::find_special(&bytes, 0), length);
        }
        let high = vec![0x9f; length];
        assert_eq!(text::find_special(&high, 0), length);
    }
}

#[test]
fn work_is_linear_in_length_whatever_the_shape() {
    let shapes: [fn(usize) -> String; 6] = [
        |n| format!("\"{}\"", "a".repeat(n)),
        |n| format!("\"{}\"", "\\\"".repeat(n / 2)),
        |n| format!("[{}1]", "1,".repeat(n / 2)),
        |n| format!("{{{}\"a\":1}}", "\"a\":1,".repeat(n / 6)),
        |n| format!("[{}]", " ".repeat(n)),
        |n| format!("\"{}", "a".repeat(n)),
    ];
    for shape in shapes {
        let (small, large) = (shape(2_000), shape(32_000));
        let work = |text: &str| steps::measured(|| drop(top_level(text.as_bytes())));
        assert!(work(&large) <= 17 * work(&small) + 200, "{}", &small[..20]);
        assert!(work(&large) <= 3 * large.len() as u64, "{}", &small[..20]);
    }
}

fn json_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,5})?([eE][+-]?[0-9]{1,4})?",
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        "\"(\\\\u[0-9a-fA-F]{4}|\\\\n|\\\\\\\\|[a-z ]|é|你){0,40}\"",
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(|items| format!("[{}]", items.join(" , "))),
            prop::collection::vec(("[a-c]{0,3}", inner), 0..6).prop_map(|members| {
                let members: Vec<_> =
                    members.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
                format!("{{{}}}", members.join(",\n"))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn agrees_with_serde_on_valid_text(text in json_text()) {
        prop_assert_eq!(validate(text.as_bytes()), Ok(()));
        prop_assert!(accepted_by_serde(text.as_bytes()));
    }

    #[test]
    fn agrees_with_serde_on_mutated_text(
        text in json_text(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..4),
    ) {
        let mut bytes = text.into_bytes();
        for (place, byte, how) in edits {
            let at = place.index(bytes.len().max(1)).min(bytes.len());
            let byte = if byte < 128 { b"{}[]\",:\\0e-.u "[usize::from(byte) % 14] } else { byte };
            match how {
                0 if at < bytes.len() => { bytes.remove(at); }
                1 if at < bytes.len() => bytes[at] = byte,
                _ => bytes.insert(at, byte),
            }
        }
        prop_assert_eq!(validate(&bytes).is_ok(), accepted_by_serde(&bytes));
    }

    #[test]
    fn agrees_with_serde_on_arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        prop_assert_eq!(validate(&bytes).is_ok(), accepted_by_serde(&bytes));
    }

    #[test]
    fn what_is_encoded_decodes(text in any::<String>()) {
        let mut out = Vec::new();
        text::encode(&text, &mut out);
        prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text.clone());
        prop_assert_eq!(text::decode(&out).unwrap(), text);
    }

    #[test]
    fn unescaping_agrees_with_serde(text in any::<String>(), escape_all in any::<bool>()) {
        let quoted = if escape_all {
            let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
            format!("\"{units}\"")
        } else {
            serde_json::to_string(&text).unwrap()
        };
        prop_assert!(text::unescaped_eq(&quoted.as_bytes()[1..quoted.len() - 1], &text));
    }
}
