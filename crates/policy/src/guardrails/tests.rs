//! Each detector against what it must find and what it must leave; the arithmetic against published examples.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::key;
use proptest::prelude::*;

fn pii(names: &[&str]) -> Detector {
    Detector::entities(true, names).unwrap()
}

fn masked(detector: &Detector, text: &str) -> String {
    detector.mask(text, &mut Found::default()).into_owned()
}

#[test]
fn numbers_need_their_checksum() {
    let all = pii(&[]);
    for (kind, good, bad) in [
        ("card", "4111 1111 1111 1111", "4111 1111 1111 1112"),
        ("card", "5555-5555-5555-4444", "5555-5555-5555-4445"),
        ("card", "378282246310005", "378282246310006"),
        ("iban", "DE89 3704 0044 0532 0130 00", "DE88 3704 0044 0532 0130 00"),
        ("iban", "gb82west12345698765432", "gb83west12345698765432"),
        ("us_ssn", "078-05-1120", "666-05-1120"),
        ("us_ssn", "219 09 9999", "219 00 9999"),
        ("cn_id", "11010519491231002X", "110105194912310021"),
        ("es_id", "12345678Z", "12345678A"),
        ("es_id", "X1234567L", "X1234567M"),
        ("it_id", "RSSMRA85T10A562S", "RSSMRA85T10A562T"),
        ("fr_id", "2 55 08 14 168 025 38", "2 55 08 14 168 025 39"),
        ("de_id", "86095742719", "86095742718"),
        ("pl_id", "44051401359", "44051401358"),
    ] {
        let only = pii(&[kind]);
        let told = format!("[{}]", kind.to_uppercase());
        for (before, after) in [("", ""), ("it is ", ", yes"), ("号码", "。"), ("(", ")")] {
            let text = format!("{before}{good}{after}");
            assert_eq!(masked(&only, &text), format!("{before}{told}{after}"), "{kind} {text}");
            assert!(!masked(&all, &text).contains(good), "{text}");
            let text = format!("{before}{bad}{after}");
            assert_eq!(masked(&only, &text), text, "{kind}");
        }
        // A part of something longer is something else.
        for text in [format!("7{good}"), format!("{good}7"), format!("a{good}")] {
            assert_eq!(masked(&only, &text), text, "{kind}");
        }
    }
}

#[test]
fn what_follows_a_number_does_not_hide_it() {
    assert_eq!(masked(&pii(&["card"]), "4111111111111111 123"), "[CARD] 123");
    assert_eq!(masked(&pii(&["card"]), "12 4111111111111111 12/29"), "12 [CARD] 12/29");
    assert_eq!(masked(&pii(&["iban"]), "DE89370400440532013000 BIC COBADEFF"), "[IBAN] BIC COBADEFF");
}

#[test]
fn addresses_and_telephones() {
    let all = pii(&["email", "phone"]);
    assert_eq!(masked(&all, "write to ann.o'neil+x@mail.example.co.uk."), "write to [EMAIL].");
    for phone in ["+49 30 901820", "+1 (415) 555-2671", "(415) 555-2671", "415-555-2671", "13912345678"] {
        assert_eq!(masked(&all, &format!("call {phone}!")), "call [PHONE]!");
    }
    for other in
        ["a@b", "@example.com", "1 + 2", "version 1.2.3", "2026-11-27", "12345678901", "3.14159265358979"]
    {
        assert_eq!(masked(&all, other), other);
    }
}

#[test]
fn secrets_by_their_shapes() {
    let all = Detector::entities(false, &[]).unwrap();
    let own = key::mint([7; 24]);
    let own = own.expose();
    let pem = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow+/=\n-----END RSA PRIVATE KEY-----";
    let token = format!("ghp_{}", "a1B2".repeat(9));
    for (secret, kind) in [
        (own, "TIDEGATE_KEY"),
        ("sk-proj-abcdefghijklmnopqrstuvwx", "OPENAI_KEY"),
        ("AKIAIOSFODNN7EXAMPLE", "AWS_KEY"),
        (&token, "GITHUB_TOKEN"),
        ("xoxb-123456789012-abcdef", "SLACK_TOKEN"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl", "JWT"),
        (pem, "PRIVATE_KEY"),
        ("-----BEGIN PRIVATE KEY-----\\nMIIEow", "PRIVATE_KEY"),
    ] {
        assert_eq!(masked(&all, &format!("x {secret}")), format!("x [{kind}]"));
    }
    let mut wrong = own.to_owned();
    wrong.replace_range(5..6, if &own[5..6] == "a" { "b" } else { "a" });
    for other in [&*wrong, "sk-short", "AKIA", "-----BEGIN PUBLIC KEY-----\nMIIB"] {
        assert_eq!(masked(&all, other), other);
    }
}

#[test]
fn words_are_whole_and_of_any_case() {
    let words = Detector::words(["foo", "foo bar", "c++", "straße", "密码"]).unwrap();
    assert_eq!(masked(&words, "FOO BAR, foo, food, foo bars"), "[WORD], [WORD], food, [WORD] bars");
    assert_eq!(masked(&words, "C++ Straße 我的密码是"), "[WORD] [WORD] 我的[WORD]是");
    assert!(Detector::words(["a", " "]).is_err());
}

#[test]
fn patterns_that_cannot_be_are_said_so() {
    assert_eq!(Detector::regex("a(").unwrap_err(), "unclosed group");
    assert!(Detector::regex("(?:a{1000}){1000}").unwrap_err().contains("too large"));
    assert!(Detector::regex("a*").unwrap_err().contains("empty"));
    assert_eq!(
        Detector::entities(true, &["card", "emial"]).unwrap_err(),
        (1, "did you mean `email`?".into())
    );
    assert!(Detector::entities(false, &["email"]).unwrap_err().1.starts_with("one of tidegate_key"));
    let found = Detector::regex(r"ACME-\d+").unwrap();
    assert_eq!(masked(&found, "see ACME-12, ACME-x"), "see [PATTERN], ACME-x");
}

/// A long s and the sign of Kelvin are letters of the alphabet where case is folded by Unicode.
#[test]
fn letters_of_other_alphabets_begin_no_account() {
    for text in
        ["aſ12aaaaaaaaaaaaaaa", "aK12aaaaaaaaaaaaaaa", "DE89ſK0400440532013000 DE89370400440532013000"]
    {
        assert_eq!(masked(&pii(&["iban"]), text), text.replace("DE89370400440532013000", "[IBAN]"));
    }
}

#[test]
fn what_overlaps_is_one_place() {
    let mut found = Found::default();
    let text = "4111111111111111@example.com";
    assert_eq!(pii(&[]).mask(text, &mut found), "[EMAIL]");
    assert_eq!(found.told(), "email=1");
}

/// The shapes that look again after each that proved false; were that quadratic, this would not end while anybody waits.
#[test]
fn long_texts_of_near_misses_end() {
    for piece in [
        "4111 1111 1111 1112 ",
        "7",
        "a@",
        "DE88370400440532013000 ",
        "+1 ",
        "-----BEGIN PRIVATE KEY-----",
        "sk-",
    ] {
        let text = piece.repeat(200_000 / piece.len());
        let _ = (pii(&[]).find(&text), Detector::entities(false, &[]).unwrap().find(&text));
    }
}

/// What leaves of a text that comes in these pieces, and what was found.
fn sifted(guardrail: &Guardrail, pieces: &[&str]) -> (String, String) {
    let (mut sieve, mut out, mut found) = (guardrail.sieve().unwrap(), String::new(), Found::default());
    for piece in pieces {
        guardrail.sift(&mut sieve, piece, false, &mut out, &mut found);
    }
    guardrail.sift(&mut sieve, "", true, &mut out, &mut found);
    assert_eq!(sieve.held(), 0);
    (out, found.told())
}

fn rail(mut detector: Detector, window: Option<usize>) -> Guardrail {
    detector.begin().unwrap();
    Guardrail {
        name: "g".into(),
        action: Action::Mask,
        request: false,
        response: true,
        fail_open: false,
        window,
        fingerprint: "".into(),
        detector,
    }
}

/// The text in pieces of these lengths in characters, over and over.
fn cut<'t>(text: &'t str, lengths: &[usize]) -> Vec<&'t str> {
    let (mut pieces, mut rest) = (Vec::new(), text);
    for length in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let end = rest.char_indices().nth(*length).map_or(rest.len(), |(at, _)| at);
        pieces.push(&rest[..end]);
        rest = &rest[end..];
    }
    pieces
}

#[test]
fn only_what_could_begin_something_is_held() {
    let card = rail(pii(&["card"]), None);
    let (mut sieve, mut found) = (card.sieve().unwrap(), Found::default());
    let mut say = |text: &str, last: bool| {
        let mut out = String::new();
        card.sift(&mut sieve, text, last, &mut out, &mut found);
        out
    };
    assert_eq!(say("pay with ", false), "pay with ");
    assert_eq!(say("4111 1111", false), "");
    assert_eq!(say(" 1111 111", false), "");
    assert_eq!(say("1", false), "");
    assert_eq!(say(", or ", false), "[CARD], or ");
    assert_eq!(say("4111 1111 no", false), "4111 1111 no");
    assert_eq!(say(" 41", false), " ");
    assert_eq!(say("", true), "41");
    assert_eq!(found.told(), "card=1");
}

#[test]
fn a_pattern_without_an_end_is_looked_at_within_its_window() {
    let endless = rail(Detector::regex(r"ACME-[0-9]+").unwrap(), Some(64));
    let text = format!("see ACME-{}, and ACME-7.", "1".repeat(100));
    // What is longer than the window is masked as far as it was seen.
    let (out, found) = sifted(&endless, &cut(&text, &[1]));
    assert!(out.starts_with("see [PATTERN]1111") && out.ends_with(", and [PATTERN]."), "{out}");
    assert_eq!(found, "pattern=2");
    for lengths in [&[3usize][..], &[1000], &[7, 1, 90], &[64], &[65]] {
        assert_eq!(sifted(&endless, &cut(&text, lengths)).0, out, "{lengths:?}");
    }
    // What is not found by then goes on.
    let far = rail(Detector::regex("begin.*end").unwrap(), Some(64));
    let text = format!("begin{}end begin end", ".".repeat(200));
    assert_eq!(sifted(&far, &cut(&text, &[5])).0, format!("begin{}end [PATTERN]", ".".repeat(200)));
}

#[test]
fn a_private_key_in_a_stream_is_masked_whole() {
    let secrets = rail(Detector::entities(false, &[]).unwrap(), None);
    let key = format!(
        "-----BEGIN RSA PRIVATE KEY-----\n{}-----END RSA PRIVATE KEY-----",
        "MIIEowIBAAKCAQEA7bq\n".repeat(80)
    );
    for length in [1, 4, 50, 9_999] {
        let text = format!("here: {key}\nbye");
        assert_eq!(sifted(&secrets, &cut(&text, &[length])).0, "here: [PRIVATE_KEY]\nbye");
    }
}

/// What could begin a token everywhere and never is one: each byte is looked at so often, and not as often as the window has bytes.
#[test]
fn a_full_window_is_not_looked_at_for_each_character() {
    let secrets = rail(Detector::entities(false, &[]).unwrap(), None);
    for text in ["eyJ".repeat(80_000), "-----BEGIN PRIVATE KEY-----".repeat(4_000), "sk-".repeat(20_000)] {
        for length in [4_000, 240_000] {
            let (mut sieve, mut out, mut found) = (secrets.sieve().unwrap(), String::new(), Found::default());
            for piece in cut(&text, &[length]) {
                secrets.sift(&mut sieve, piece, false, &mut out, &mut found);
            }
            secrets.sift(&mut sieve, "", true, &mut out, &mut found);
            // In as many rounds as masking takes.
            let most = 20 * (MAX_ROUNDS + 1) * text.len();
            assert!(sieve.looked() < most, "{} of {}", sieve.looked(), text.len());
        }
    }
}

#[test]
fn words_that_are_too_many_for_a_search_are_held_by_their_length() {
    let all: Vec<String> = (0..60).map(|n| format!("wört{n}{}", "x".repeat(180))).collect();
    let words = rail(Detector::words(all.iter().map(String::as_str)).unwrap(), None);
    let text = format!("one {} two {} {}", all[17], &all[18][..100], all[59]);
    for length in [1, 30, 10_000] {
        let wanted = format!("one [WORD] two {} [WORD]", &all[18][..100]);
        assert_eq!(sifted(&words, &cut(&text, &[length])).0, wanted);
    }
}

fn texts() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just("4111 1111 1111 1111".to_owned()),
        Just("4111111111111111".to_owned()),
        Just("ann@example.com".to_owned()),
        Just("+49 30 901820".to_owned()),
        Just("(415) 555-2671".to_owned()),
        Just("078-05-1120".to_owned()),
        Just("DE89370400440532013000".to_owned()),
        Just("RSSMRA85T10A562S".to_owned()),
        Just("foo bar".to_owned()),
        Just("food".to_owned()),
        Just("ACME-12".to_owned()),
        Just("密码".to_owned()),
        Just("AKIAIOSFODNN7EXAMPLE".to_owned()),
        Just(" ".to_owned()),
        "[0-9a-zé ,.@+-]{0,12}",
    ];
    prop::collection::vec(word, 0..10).prop_map(|words| words.concat())
}

proptest! {
    /// However a text is cut, the same leaves of it, and it is what is masked of the whole.
    #[test]
    fn pieces_make_no_difference(text in texts(), lengths in prop::collection::vec(1usize..24, 1..6)) {
        for (detector, window) in [
            (pii(&[]), None),
            (Detector::entities(false, &["aws_key", "openai_key", "github_token"]).unwrap(), None),
            (Detector::words(["foo", "foo bar", "bar", "密码", "straße"]).unwrap(), None),
            (Detector::regex(r"ACME-\d{2,5}|(?i)\bfoo\b|@e$").unwrap(), None),
            (Detector::regex(r"(?m)^[a-z]{1,3}\b|o{2}d?").unwrap(), None),
        ] {
            let rail = rail(detector, window);
            let mut found = Found::default();
            let whole = rail.detector.mask(&text, &mut found).into_owned();
            let (out, told) = sifted(&rail, &cut(&text, &lengths));
            prop_assert_eq!(&out, &whole, "{:?} {:?}", rail.detector, lengths);
            prop_assert_eq!(told.split(' ').count(), found.told().split(' ').count());
            prop_assert_eq!(sifted(&rail, &[&text]).0, whole);
        }
    }

    /// The same where a window is too short for what is looked for.
    #[test]
    fn nor_at_the_edge_of_a_window(text in texts(), lengths in prop::collection::vec(1usize..40, 1..6)) {
        for pattern in [r"[0-9 ]+1", "4.*x", "[a-z]+@[a-z.]+", "(?s)f.*"] {
            let rail = rail(Detector::regex(pattern).unwrap(), Some(64));
            let long = format!("{text} {text}{text}");
            let one = sifted(&rail, &cut(&long, &[1]));
            prop_assert_eq!(&sifted(&rail, &cut(&long, &lengths)), &one, "{}", pattern);
            prop_assert_eq!(&sifted(&rail, &[&long]), &one, "{}", pattern);
        }
    }

    #[test]
    fn masking_leaves_nothing_to_mask(
        parts in prop::collection::vec(prop_oneof![
            Just("4111 1111 1111 1111".to_owned()), Just("ann@example.com".to_owned()), Just("+49 30 901820".to_owned()),
            Just("078-05-1120".to_owned()), Just("DE89370400440532013000".to_owned()), "[0-9a-zé ,.@+-]{0,12}", Just("密码".to_owned()),
        ], 0..8),
    ) {
        let all = pii(&[]);
        let once = masked(&all, &parts.concat());
        prop_assert!(all.find(&once).is_empty(), "{once}");
    }
}
