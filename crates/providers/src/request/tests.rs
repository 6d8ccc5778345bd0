//! What `read` understands and refuses, and that `rewrite` changes nothing else.

#![expect(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::steps;

fn chat(body: &str) -> Result<Asked, BadRequest> {
    read(Operation::Chat, body.as_bytes())
}

fn rewritten(body: &str, edits: &Edits<'_>) -> String {
    let body = Bytes::copy_from_slice(body.as_bytes());
    let asked = read(Operation::Chat, &body).unwrap();
    String::from_utf8(rewrite(&body, &asked, edits).to_vec()).unwrap()
}

#[test]
fn reads_what_policy_must_know() {
    let asked = chat(
        r#"{"messages":[{"role":"user","content":"hi"}],"model":"openai\/gpt","stream":true,
        "stream_options":{"include_usage":true},"max_tokens":1e2,"max_completion_tokens":50.0,"n":2,
        "user":"u","safety_identifier":"s","models":["a/b","c"],"metadata":{"user":"x"},"temperature":1.0}"#,
    )
    .unwrap();
    assert_eq!(asked.model, "openai/gpt");
    assert!(asked.stream && asked.include_usage);
    assert_eq!((asked.max_output, asked.choices), (Some(50), 2));
    assert_eq!(asked.end_user.as_deref(), Some("s"));
    assert_eq!(asked.fallbacks, ["a/b", "c"]);
}

#[test]
fn null_is_absent() {
    let asked = chat(
        r#"{"model":"m","stream":null,"stream_options":null,"max_tokens":null,"n":null,"user":null,"models":null}"#,
    )
    .unwrap();
    assert!(!asked.stream && !asked.include_usage && asked.fallbacks.is_empty());
    assert_eq!((asked.max_output, asked.choices, asked.end_user), (None, 1, None));
}

#[test]
fn local_servers_minus_one_is_no_limit() {
    assert_eq!(chat(r#"{"model":"m","max_tokens":-1}"#).unwrap().max_output, None);
    assert_eq!(chat(r#"{"model":"m","max_tokens":0}"#).unwrap().max_output, Some(0));
}

#[test]
fn refusals_name_the_parameter() {
    for (body, param, code, message) in [
        ("", None, "invalid_json", "the request body is not valid JSON: unexpected end at byte 0"),
        ("[1]", None, "invalid_json", "the request body must be a JSON object"),
        ("{\"model\":\"m\",}", None, "invalid_json", "not valid JSON: unexpected character at byte 13"),
        ("{}", Some("model"), "missing_required_parameter", "`model` is missing"),
        (r#"{"model":""}"#, Some("model"), "missing_required_parameter", "`model` is missing"),
        (r#"{"model":null}"#, Some("model"), "missing_required_parameter", "`model` is missing"),
        (r#"{"model":3}"#, Some("model"), "invalid_type", "`model` must be a string"),
        (r#"{"model":"\ud800"}"#, Some("model"), "invalid_type", "`model` must be a string"),
        (r#"{"model":"m","stream":"yes"}"#, Some("stream"), "invalid_type", "`stream` must be a boolean"),
        (r#"{"model":"m","n":0}"#, Some("n"), "invalid_value", "`n` must be an integer from 1 to 128"),
        (r#"{"model":"m","n":129}"#, Some("n"), "invalid_value", "`n` must be"),
        (r#"{"model":"m","n":1.5}"#, Some("n"), "invalid_value", "`n` must be"),
        (r#"{"model":"m","n":"1"}"#, Some("n"), "invalid_value", "`n` must be"),
        (r#"{"model":"m","max_tokens":-2}"#, Some("max_tokens"), "invalid_value", "non-negative"),
        (r#"{"model":"m","max_tokens":1e400}"#, Some("max_tokens"), "invalid_value", "non-negative"),
        (r#"{"model":"m","user":{}}"#, Some("user"), "invalid_type", "`user` must be a string"),
        (r#"{"model":"m","models":"x"}"#, Some("models"), "invalid_type", "an array of strings"),
        (r#"{"model":"m","models":[""]}"#, Some("models"), "invalid_value", "names of 1 to 512 bytes"),
        (r#"{"model":"m","stream_options":1}"#, Some("stream_options"), "invalid_type", "an object"),
        (
            r#"{"model":"m","stream_options":{"include_usage":1}}"#,
            Some("stream_options"),
            "invalid_type",
            "must be a boolean",
        ),
        (
            r#"{"model":"m","stream_options":{"include_usage":true,"include\u005fusage":false}}"#,
            Some("stream_options"),
            "duplicate_parameter",
            "`stream_options.include_usage` is given more than once",
        ),
    ] {
        let refusal = chat(body).unwrap_err();
        assert_eq!((refusal.param, refusal.code), (param, Some(code)), "{body}");
        assert!(refusal.message.contains(message), "{body}: {}", refusal.message);
    }
    let long = format!(r#"{{"model":"{}"}}"#, "m".repeat(513));
    assert!(chat(&long).unwrap_err().message.contains("at most 512 bytes"));
}

#[test]
fn a_second_model_cannot_be_smuggled_in() {
    for key in ["model", r"mod\u0065l", r"\u006d\u006f\u0064\u0065\u006c"] {
        for body in
            [format!(r#"{{"model":"a","{key}":"b"}}"#), format!(r#"{{"{key}":"b","x":1,"model":"a"}}"#)]
        {
            let refusal = chat(&body).unwrap_err();
            assert_eq!((refusal.param, refusal.code), (Some("model"), Some("duplicate_parameter")), "{body}");
            assert_eq!(refusal.message, "`model` is given more than once");
        }
    }
    for key in
        ["models", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n", "best_of", "user"]
    {
        let refusal = chat(&format!(r#"{{"model":"m","{key}":null,"{key}":null}}"#)).unwrap_err();
        assert_eq!((refusal.param, refusal.code), (Some(key), Some("duplicate_parameter")));
    }
}

#[test]
fn another_case_is_refused_because_some_servers_obey_it() {
    for (key, known) in [
        ("Model", "model"),
        (r"m\u004fdel", "model"),
        ("model\u{17f}", "models"),
        ("STREAM", "stream"),
        ("Stream_Options", "stream_options"),
        ("max_to\u{212a}ens", "max_tokens"),
        ("MAX_completion_tokens", "max_completion_tokens"),
        ("N", "n"),
        ("Best_of", "best_of"),
    ] {
        let refusal = chat(&format!(r#"{{"model":"m","{key}":null}}"#)).unwrap_err();
        assert_eq!((refusal.param, refusal.code), (Some(known), Some("unknown_parameter")), "{key}");
        assert_eq!(refusal.message, format!("`{key}` is not a parameter; write `{known}`"));
    }
}

#[test]
fn another_case_of_a_mere_label_is_refused_only_beside_the_label() {
    for (key, known) in [("User", "user"), ("u\u{17f}er", "user"), ("safety_Identifier", "safety_identifier")]
    {
        let asked = chat(&format!(r#"{{"model":"m","{key}":"x"}}"#)).unwrap();
        assert_eq!(asked.end_user, None, "{key} is not ours to read");
        for body in [
            format!(r#"{{"model":"m","{key}":"x","{known}":"y"}}"#),
            format!(r#"{{"{known}":"y","{key}":null,"model":"m"}}"#),
        ] {
            let refusal = chat(&body).unwrap_err();
            assert_eq!((refusal.param, refusal.code), (Some(known), Some("duplicate_parameter")), "{body}");
        }
    }
    // What decides is refused alone as well, even where the proper one is missing.
    assert_eq!(chat(r#"{"Model":"m"}"#).unwrap_err().message, "`Model` is not a parameter; write `model`");
}

#[test]
fn what_the_gateway_does_not_read_may_be_as_odd_as_it_likes() {
    let body = r#"{"model":"m","x":1,"x":2,"X":3,"":{},"mode":1,"models_":0,"nn":0,"tools":[{"model":1,"model":2}]}"#;
    assert!(chat(body).is_ok());
    // An escaped spelling alone is the member itself.
    assert_eq!(chat(r#"{"mod\u0065l":"m"}"#).unwrap().model, "m");
}

#[test]
fn edits_touch_only_their_spans() {
    let all = Edits { model: Some("up/\"stream\n"), include_usage: true, remove_models: true };
    let options = r#","stream_options":{"include_usage":true}"#;
    let usage = r#"{"include_usage":true}"#;
    for (body, wanted) in [
        (r#"{"model":"m"}"#.to_owned(), format!(r#"{{"model":M{options}}}"#)),
        (r#" { "model" : "m" } "#.into(), format!(r#" {{ "model" : M{options} }} "#)),
        (r#"{"models":["a"], "model":"m"}"#.into(), format!(r#"{{"model":M{options}}}"#)),
        (r#"{"model":"m" , "models":["a"] }"#.into(), format!(r#"{{"model":M{options} }}"#)),
        (
            r#"{"a":1,"models":null,"model":"m","z":[]}"#.into(),
            format!(r#"{{"a":1,"model":M,"z":[]{options}}}"#),
        ),
        (
            r#"{"stream_options":null,"model":"m"}"#.into(),
            format!(r#"{{"stream_options":{usage},"model":M}}"#),
        ),
        (
            r#"{"model":"m","stream_options":{ }}"#.into(),
            r#"{"model":M,"stream_options":{"include_usage":true }}"#.into(),
        ),
        (
            r#"{"model":"m","stream_options":{"x":1}}"#.into(),
            r#"{"model":M,"stream_options":{"include_usage":true,"x":1}}"#.into(),
        ),
        (
            r#"{"model":"m","stream_options":{"x":1,"include_usage":false}}"#.into(),
            r#"{"model":M,"stream_options":{"x":1,"include_usage":true}}"#.into(),
        ),
        (
            r#"{"models":[],"stream_options":{"include_usage": null },"model":"m"}"#.into(),
            r#"{"stream_options":{"include_usage": true },"model":M}"#.into(),
        ),
    ] {
        let wanted = wanted.replace('M', r#""up/\"stream\n""#);
        assert_eq!(rewritten(&body, &all), wanted, "{body}");
    }
}

#[test]
fn nothing_to_change_is_no_copy() {
    let body = Bytes::from_static(br#"{"mod\u0065l":"\u006d","stream_options":{"include_usage":true}}"#);
    let asked = read(Operation::Chat, &body).unwrap();
    for edits in [Edits::default(), Edits { model: Some("m"), include_usage: true, remove_models: true }] {
        let same = rewrite(&body, &asked, &edits);
        assert_eq!((same.as_ptr(), same.len()), (body.as_ptr(), body.len()));
    }
}

fn bound(operation: Operation, body: &Value) -> u64 {
    read(operation, body.to_string().as_bytes()).unwrap().input_bound
}

#[test]
fn media_counts_by_piece_not_by_byte() {
    let with = |part: Value| {
        bound(Operation::Chat, &json!({"model": "m", "messages": [{"role": "user", "content": [part]}]}))
    };
    let text = with(json!({"type": "text", "text": ""}));
    let data = format!("data:image/png;base64,{}", "A".repeat(500_000));
    let near = |bound: u64, wanted: u64| {
        let more = bound - text;
        assert!((wanted..wanted + 120).contains(&more), "{more} for {wanted}");
    };
    near(
        with(json!({"type": "image_url", "image_url": {"url": data, "detail": "high"}})),
        MEDIA_TOKENS_BOUND,
    );
    near(
        with(json!({"type": "image_url", "image_url": {"detail": "high", "url": "https://x/y.png"}})),
        MEDIA_TOKENS_BOUND,
    );
    near(with(json!({"type": "image_url", "image_url": data})), MEDIA_TOKENS_BOUND);
    near(with(json!({"type": "file", "file": {"file_data": data, "filename": "a.pdf"}})), MEDIA_TOKENS_BOUND);
    near(with(json!({"type": "file", "file": {"file_id": "file-1"}})), MEDIA_TOKENS_BOUND);
    near(with(json!({"type": "vendor", "picture": data})), MEDIA_TOKENS_BOUND);
    let sound = "A".repeat(10_000);
    near(with(json!({"type": "input_audio", "input_audio": {"data": sound, "format": "wav"}})), 5_000);
    // A text that only looks like media is text.
    near(with(json!({"type": "text", "text": data})), data.len() as u64);
    // Two pictures are two, also where the second is under a key of a vendor's own, and also after one
    // whose address is remote.
    let pair =
        json!([{"type": "image_url", "image_url": {"url": data}}, {"type": "vendor", "picture": data}]);
    let both =
        bound(Operation::Chat, &json!({"model": "m", "messages": [{"role": "user", "content": pair}]}));
    assert!((2 * MEDIA_TOKENS_BOUND..2 * MEDIA_TOKENS_BOUND + 400).contains(&both), "{both}");
    let two = json!([{"type": "image_url", "image_url": {"url": "https://x"}},
                     {"type": "image_url", "image_url": {"url": data}}]);
    let both = bound(Operation::Chat, &json!({"model": "m", "messages": [{"role": "user", "content": two}]}));
    assert!((2 * MEDIA_TOKENS_BOUND..2 * MEDIA_TOKENS_BOUND + 400).contains(&both), "{both}");
}

#[test]
fn token_arrays_count_their_numbers() {
    let tokens: Vec<u32> = (0..1000).map(|token| token * 99).collect();
    for (operation, key) in [(Operation::Embeddings, "input"), (Operation::Completions, "prompt")] {
        let one = bound(operation, &json!({"model": "m", key: tokens}));
        assert!((1000..1100).contains(&one), "{one}");
        let two = bound(operation, &json!({"model": "m", key: [tokens, tokens]}));
        assert!((2000..2100).contains(&two), "{two}");
    }
}

#[test]
fn batches_of_prompts_multiply_the_choices() {
    let choices = |body: Value| read(Operation::Completions, body.to_string().as_bytes()).unwrap().choices;
    assert_eq!(choices(json!({"model": "m", "prompt": "a"})), 1);
    assert_eq!(choices(json!({"model": "m", "prompt": ["a", "b"], "n": 3})), 6);
    assert_eq!(choices(json!({"model": "m", "prompt": [1, 2, 3], "best_of": 4, "n": 2})), 4);
    assert_eq!(choices(json!({"model": "m", "prompt": [[1], [2, 3]]})), 2);
    assert_eq!(choices(json!({"model": "m"})), 1);
    let embeddings = br#"{"model":"m","input":["a","b"]}"#;
    assert_eq!(read(Operation::Embeddings, embeddings).unwrap().choices, 1);
}

#[test]
fn estimates_are_of_the_right_size() {
    let estimate = |content: &str| {
        let body = json!({"model": "m", "messages": [{"role": "user", "content": content}]}).to_string();
        let escaped: String = body
            .chars()
            .map(|c| if c.is_ascii() { c.to_string() } else { format!("\\u{:04x}", c as u32) })
            .collect();
        let (plain, escaped) = (chat(&body).unwrap().input_estimate, chat(&escaped).unwrap().input_estimate);
        assert!(plain.abs_diff(escaped) <= plain / 10 + 2, "{plain} {escaped}");
        plain
    };
    let english = estimate(&"The quick brown fox jumps over the lazy dog. ".repeat(100));
    assert!((900..1250).contains(&english), "{english}");
    let chinese = estimate(&"中文字符".repeat(250));
    assert!((550..850).contains(&chinese), "{chinese}");
}

#[test]
fn metadata_and_identifiers_weigh_nothing() {
    let light = bound(Operation::Chat, &json!({"model": "m"}));
    let heavy = json!({"model": "m", "metadata": {"k": "v".repeat(500)}, "user": "u".repeat(500)});
    assert_eq!(bound(Operation::Chat, &heavy), light);
}

#[test]
fn reading_is_linear() {
    let body = |n: usize| {
        let message = r#"{"role":"user","content":"some \"words\" 中文 and more"},"#.repeat(n);
        format!(r#"{{"messages":[{message}{{}}],"mod\u0065l":"m","tools":[{}1]}}"#, "1,".repeat(n))
    };
    let work = |n: usize| steps::measured(|| drop(chat(&body(n)).unwrap()));
    assert!(work(1600) <= 17 * work(100));
}

/// A member that the gateway does not know, as odd as JSON allows.
fn member() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        Just("1.0".to_owned()),
        Just("1e400".to_owned()),
        Just("9007199254740993".to_owned()),
        Just("-0.0E+0".to_owned()),
        Just(r#""\u00e9\ud83d\ude00\/\b""#.to_owned()),
        Just(r#"{"model":"x","stream":1,"stream":2,"a":{"a":[ ]}}"#.to_owned()),
        Just(r#"[ null , true,{"models":["m"]} ]"#.to_owned()),
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
    ];
    let key = prop_oneof![
        "x_[a-z]{0,8}",
        Just(r"\u0078_é".to_owned()),
        Just("messages".to_owned()),
        Just("".to_owned())
    ];
    let space = || prop::sample::select(vec!["", " ", "\n\t", "\r\n  "]);
    (space(), key, space(), value, space())
        .prop_map(|(a, key, b, value, c)| format!("{a}\"{key}\"{b}:{b}{value}{c}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]
    #[test]
    fn two_hundred_odd_fields_pass_byte_for_byte(
        mut members in prop::collection::vec(member(), 200),
        model_at in 0..200_usize,
        models_at in 0..201_usize,
        options in prop::sample::select(vec![
            None,
            Some(("null", r#"{"include_usage":true}"#)),
            Some(("{}", r#"{"include_usage":true}"#)),
            Some((r#"{"include_usage":false,"z":1e0}"#, r#"{"include_usage":true,"z":1e0}"#)),
            Some((r#"{ "z":1e0 }"#, r#"{"include_usage":true, "z":1e0 }"#)),
        ]),
        options_at in 0..202_usize,
        with_models in any::<bool>(),
    ) {
        // Markers that no member contains stand for the three edited members.
        members.insert(model_at, "\u{1}".into());
        if with_models {
            members.insert(models_at, "\u{2}".into());
        }
        if options.is_some() {
            members.insert(options_at, "\u{3}".into());
        }
        let (before, after) = options.unwrap_or_default();
        let body = format!("{{{}}}", members.join(","))
            .replace('\u{1}', r#""mod\u0065l" : "cl\"ient""#)
            .replace('\u{2}', r#""models":["a", "b"]"#)
            .replace('\u{3}', &format!(r#""stream_options":{before}"#));
        let mut kept = members.clone();
        kept.retain(|member| member != "\u{2}");
        // `models` leaves with the space up to its neighbour: the next key, or the value before it.
        if with_models {
            let at = members.iter().position(|member| member == "\u{2}").unwrap();
            if at + 1 < members.len() {
                kept[at] = kept[at].trim_start_matches([' ', '\n', '\r', '\t']).to_owned();
            } else {
                let last = kept.len() - 1;
                kept[last] = kept[last].trim_end_matches([' ', '\n', '\r', '\t']).to_owned();
            }
        }
        let mut wanted = kept.join(",").replace('\u{3}', &format!(r#""stream_options":{after}"#));
        wanted = wanted.replace('\u{1}', r#""mod\u0065l" : "up""#);
        if options.is_none() {
            let end = wanted.trim_end_matches([' ', '\n', '\r', '\t']).len();
            wanted.insert_str(end, r#","stream_options":{"include_usage":true}"#);
        }
        let edits = Edits { model: Some("up"), include_usage: true, remove_models: true };
        prop_assert_eq!(rewritten(&body, &edits), format!("{{{wanted}}}"));
    }

    #[test]
    fn whatever_is_read_rewrites_to_an_equal_request(members in prop::collection::vec(member(), 0..6), name in "[a-z/\"\\\\é\n]{1,20}") {
        let joined: String = members.iter().map(|member| format!(",{member}")).collect();
        let body = Bytes::from(format!(r#"{{"model":"m"{joined}}}"#));
        let asked = read(Operation::Chat, &body).unwrap();
        let out = rewrite(&body, &asked, &Edits { model: Some(&name), include_usage: true, remove_models: true });
        let again = read(Operation::Chat, &out).unwrap();
        prop_assert_eq!(&again.model, &name);
        prop_assert!(again.include_usage);
        prop_assert_eq!(rewrite(&out, &again, &Edits { model: Some(&name), include_usage: true, remove_models: true }), out);
    }
}

#[test]
fn a_model_that_only_the_url_names_is_put_into_the_body() {
    let put = |body: &'static str| with_model(&Bytes::from_static(body.as_bytes()), "a/\"b");
    assert_eq!(put(r#" { "n":1.0}"#).unwrap(), r#" { "model":"a/\"b","n":1.0}"#);
    for body in [r#"{"mod\u0065l":"x","n":1}"#, "{}", "[1]", "{"] {
        assert_eq!(put(body), None, "{body}");
    }
}
