//! Kinds, pictures, and the errors of the weights against counts of the real tokenizers.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::media::{Pictures, Rule, Size, picture_size, seconds};
use super::*;
use crate::request::{Operation, read};
use proptest::prelude::*;

fn counted(text: &str) -> Counts {
    let mut counts = Counts::default();
    let json = serde_json::to_string(text).unwrap_or_default();
    counts.add(&json.as_bytes()[1..json.len() - 1]);
    counts
}

/// Texts and their exact counts by the real tokenizers (the packages named in `docs/token-estimates.md`, 2026-11), in the
/// order of the families.
const EXACT: [(&str, [u64; 9]); 9] = [
    (
        "The committee postponed its decision until the harbour report had been translated and checked twice.",
        [16, 16, 17, 25, 16, 16, 16, 16, 16],
    ),
    (
        "fn main() {\n    let total: u64 = (1..=10).filter(|n| n % 2 == 0).sum();\n    println!(\"{total}\");\n}",
        [37, 37, 45, 49, 42, 37, 39, 38, 40],
    ),
    (
        "{\"user\":{\"id\":40217,\"name\":\"Ines\",\"tags\":[\"new\",\"beta\"],\"active\":true}}",
        [24, 23, 27, 35, 27, 23, 26, 25, 28],
    ),
    ("请把会议改到下周三上午十点，并通知所有参加的人。", [17, 23, 25, 24, 18, 18, 16, 16, 20]),
    ("明日の会議は午後三時からです。資料を事前に送ってください。", [20, 25, 25, 24, 15, 20, 20, 20, 20]),
    ("내일 회의는 오후 세 시에 시작합니다. 자료를 미리 보내 주세요.", [19, 27, 37, 36, 22, 20, 22, 22, 18]),
    (
        "Завтрашнее совещание переносится на три часа дня, документы пришлите заранее.",
        [21, 36, 30, 30, 20, 26, 27, 26, 27],
    ),
    (
        "سيبدأ الاجتماع غدًا في الساعة الثالثة بعد الظهر، أرسلوا الوثائق مسبقًا.",
        [22, 57, 52, 52, 27, 27, 24, 27, 18],
    ),
    (
        "Die Besprechung beginnt morgen um fünfzehn Uhr; bitte schicken Sie die Unterlagen vorab.",
        [21, 26, 33, 46, 18, 26, 25, 26, 21],
    ),
];

#[test]
fn estimates_stay_within_their_error_of_exact_counts() {
    for (place, family) in Family::all().filter(|family| *family != Family::Other).enumerate() {
        let mut sums = (0, 0);
        for (text, exact) in EXACT {
            let (estimate, exact) = (family.weigh(&counted(text)), exact[place]);
            sums = (sums.0 + estimate, sums.1 + exact);
            // Single short texts: the pages' error bars are for texts of a kilobyte.
            assert!(
                estimate.abs_diff(exact) * 100 <= exact * 40,
                "{}: {estimate} for {exact}: {text}",
                family.name()
            );
        }
        assert!(sums.0.abs_diff(sums.1) * 100 <= sums.1 * 12, "{}: {sums:?}", family.name());
    }
}

#[test]
fn models_find_their_family() {
    for (model, family) in [
        ("gpt-5-mini", Family::O200k),
        ("openai/gpt-4o", Family::O200k),
        ("gpt-4.1", Family::O200k),
        ("o4-mini", Family::O200k),
        ("openai/gpt-oss-120b", Family::O200k),
        ("gpt-4", Family::Cl100k),
        ("gpt-4-turbo", Family::Cl100k),
        ("gpt-3.5-turbo", Family::Cl100k),
        ("text-embedding-3-small", Family::Cl100k),
        ("claude-3-5-sonnet-20241022", Family::Claude),
        ("claude-opus-4-20250514", Family::Claude),
        ("claude-sonnet-4-5-20250929", Family::Claude),
        ("claude-haiku-4-5", Family::Claude),
        ("anthropic/claude-opus-4.6", Family::Claude),
        ("claude-opus-4-7", Family::Claude47),
        ("claude-opus-4.8", Family::Claude47),
        ("claude-sonnet-5-5", Family::Claude47),
        ("claude-fable-5", Family::Claude47),
        ("gemini-3-flash", Family::Gemini),
        ("meta-llama/Llama-3.3-70B-Instruct", Family::Llama3),
        ("Qwen/Qwen3-235B-A22B", Family::Qwen),
        ("deepseek-chat", Family::DeepSeek),
        ("mistral-large-latest", Family::Mistral),
        ("glm-5", Family::Other),
        ("kimi-k3", Family::Other),
        ("", Family::Other),
    ] {
        assert_eq!(Family::of(model), family, "{model}");
    }
}

#[test]
fn escapes_count_as_what_they_stand_for() {
    let both = |escaped: &str, plain: &str| {
        let (mut left, mut right) = (Counts::default(), Counts::default());
        left.add(escaped.as_bytes());
        right.add(plain.as_bytes());
        assert_eq!(left, right, "{escaped}");
    };
    both(r"\u4f60\u597d, \u0443\u0440\u0430!", "你好, ура!");
}

const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAABQAAAALQCAYAAADPfd1W";
const GIF: &str = "R0lGODlhkAEsAfAAAP///wAAACwAAAAA";

#[test]
fn pictures_tell_their_size_in_their_heads() {
    let size = |width, height| Some(Size { width, height });
    assert_eq!(picture_size(PNG.as_bytes()), size(1280, 720));
    assert_eq!(picture_size(format!("data:image/png;base64,{PNG}").as_bytes()), size(1280, 720));
    assert_eq!(picture_size(GIF.as_bytes()), size(400, 300));
    for (bytes, wanted) in [
        (&b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00\xff\xc0\x00\x11\x08\x04\x38\x07\x80\x03"[..], size(1920, 1080)),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", None),
        (b"\xff\xd8\xff\xd9", None),
        (b"RIFF\x00\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x00\x00\x00\x00\x1f\x03\x00\x57\x02\x00", size(800, 600)),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 \x00\x00\x00\x00\x00\x00\x00\x9d\x01\x2a\x20\x03\x58\x02", size(800, 600)),
        (b"RIFF\x00\x00\x00\x00WEBPVP8L\x00\x00\x00\x00\x2f\x1f\xc3\x95\x00", size(800, 600)),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR\x00\x00\x00\x00\x00\x00\x00\x01", None),
        (b"not a picture at all, just bytes", None),
    ] {
        assert_eq!(picture_size(encoded(bytes).as_bytes()), wanted, "{bytes:?}");
    }
}

fn encoded(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let group =
            chunk.iter().enumerate().fold(0u32, |sum, (n, byte)| sum | u32::from(*byte) << (16 - 8 * n));
        for n in 0..4 {
            let six = ALPHABET[(group >> (18 - 6 * n)) as usize & 63];
            out.push(if n <= chunk.len() { char::from(six) } else { '=' });
        }
    }
    out
}

#[test]
fn pictures_cost_what_the_vendors_pages_say() {
    let size = |width, height| Size { width, height };
    for (rule, size, tokens) in [
        // The examples on the vendors' own pages.
        (Rule::Tiles, size(1024, 1024), 765),
        (Rule::Tiles, size(2048, 4096), 1105),
        (Rule::Area, size(200, 200), 54),
        (Rule::Area, size(1000, 1000), 1334),
        (Rule::Area, size(4000, 3000), 1600),
        (Rule::Crops, size(384, 384), 258),
        (Rule::Crops, size(960, 540), 516),
        // By the rule.
        (Rule::LargeArea, size(8000, 8000), 4784),
        (Rule::Grid, size(1, 1), 6),
        (Rule::Grid, size(280, 280), 102),
        (Rule::Grid, size(u32::MAX, u32::MAX), 1282),
    ] {
        assert_eq!(rule.tokens(size), tokens, "{rule:?} {size:?}");
    }
    let mut pictures = Pictures::default();
    pictures.add(Some(size(1024, 1024)));
    pictures.add(None);
    assert_eq!(pictures.tokens(Rule::Tiles), 765 + u64::from(media::UNKNOWN_PICTURE));
}

#[test]
fn sound_lasts_as_long_as_its_head_says() {
    let head = b"RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x80\x3e\x00\x00\x00\x7d\x00\x00\x02\x00\x10\x00";
    let mut wav = head.to_vec();
    wav.resize(32_000 * 10, 0);
    assert_eq!(seconds(encoded(&wav).as_bytes()), 10);
    assert_eq!(seconds(&[b'A'; 64_000]), 6);
    assert_eq!(seconds(b""), 1);
}

#[test]
fn a_picture_is_weighed_by_the_model_that_will_see_it() {
    let body = format!(
        r#"{{"model":"m","messages":[{{"role":"user","content":[{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{PNG}"}}}}]}}]}}"#
    );
    let asked = read(Operation::Chat, body.as_bytes()).unwrap();
    assert_eq!(asked.weight.estimate("gpt-4o"), 85 + 170 * 6 + 4 + 3);
    let claude = asked.weight.estimate("claude-sonnet-4-5");
    assert!((1229..1250).contains(&claude), "{claude}");
    assert!(asked.bound_for("gpt-4o-mini") >= 48_169 && asked.bound_for("gpt-4o") < 30_000);
}

#[test]
fn tools_are_weighed_with_what_is_written_around_them() {
    let body = br#"{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"hi"}],
        "tools":[{"name":"now","description":"Tells the time.","input_schema":{"type":"object","properties":{}}}]}"#;
    let asked = read(Operation::Messages, body).unwrap();
    let estimate = asked.weight.estimate("claude-sonnet-4-5");
    assert!((346..420).contains(&estimate), "{estimate}");
    assert!(asked.input_bound > 530 + 100, "{}", asked.input_bound);
    let own = br#"{"model":"m","messages":[],"tools":[{"type":"bash_20250124","name":"bash"}]}"#;
    assert!(read(Operation::Messages, own).unwrap().input_bound > 2_048 + 1_024);
}

#[test]
fn ids_and_signatures_are_no_text() {
    let blob = "QUJD".repeat(2_000);
    let body = format!(
        r#"{{"model":"m","max_tokens":5,"messages":[{{"role":"assistant","content":[{{"type":"thinking","thinking":"","signature":"{blob}"}}]}}]}}"#
    );
    let asked = read(Operation::Messages, body.as_bytes()).unwrap();
    assert!(asked.input_estimate < 20, "{}", asked.input_estimate);
    assert!(asked.input_bound > 8_000);
}

#[test]
fn documents_are_bounded_by_their_length() {
    let pdf = encoded(&[b"%PDF-1.7 ".to_vec(), vec![b'x'; 300_000]].concat());
    let body = format!(
        r#"{{"model":"m","max_tokens":5,"messages":[{{"role":"user","content":[{{"type":"document","source":{{"type":"base64","media_type":"application/pdf","data":"{pdf}"}}}}]}}]}}"#
    );
    let asked = read(Operation::Messages, body.as_bytes()).unwrap();
    assert!((50_000..51_000).contains(&asked.input_bound), "{}", asked.input_bound);
    assert!((10_000..10_100).contains(&asked.input_estimate), "{}", asked.input_estimate);
}

proptest! {
    #[test]
    fn the_bound_is_never_below_an_estimate(text in ".{0,200}", model in "(gpt-4o|claude-opus-4-8|gemini-3|qwen3|x)") {
        let body = serde_json::json!({"model": "m", "messages": [{"role": "user", "content": text}]}).to_string();
        let mut asked = read(Operation::Chat, body.as_bytes()).unwrap();
        asked.weigh_for(&model);
        prop_assert!(asked.input_estimate >= 1);
        prop_assert!(asked.input_bound >= asked.input_estimate);
        prop_assert!(asked.bound_for(&model) >= text.len() as u64);
    }

    #[test]
    fn texts_add_up(left in "[a-z ]{0,40}[.!]", right in "[A-Z0-9].{0,40}") {
        let mut sum = counted(&left);
        sum.join(&counted(&right));
        let whole = counted(&format!("{left}{right}"));
        for family in Family::all() {
            // Only the seam may differ.
            prop_assert!(family.weigh(&sum).abs_diff(family.weigh(&whole)) <= 3);
        }
    }

    #[test]
    fn no_bytes_are_too_odd(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut counts = Counts::default();
        counts.add(&bytes);
        for family in Family::all() {
            prop_assert!(family.weigh(&counts) <= 8 * bytes.len() as u64 + 1);
        }
        let _ = (growth(&bytes), picture_size(&bytes), media::kind(&bytes), seconds(&bytes));
    }
}
