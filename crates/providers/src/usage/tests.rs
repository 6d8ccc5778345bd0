//! Usage as the vendors write it: one recorded shape each, one line of what it means.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

fn read(text: &str) -> Option<Usage> {
    let mut counts = Counts::default();
    counts.merge(text.as_bytes());
    counts.usage()
}

fn tokens(input: u64, output: u64) -> Usage {
    Usage { input: Some(input), output: Some(output), ..Usage::default() }
}

#[test]
fn golden_shapes_of_vendors() {
    for (vendor, text, wanted) in [
        ("plain", r#"{"prompt_tokens":12,"completion_tokens":3,"total_tokens":15}"#, tokens(12, 3)),
        (
            "OpenAI",
            r#"{"prompt_tokens":2006,"completion_tokens":300,"total_tokens":2306,
                "prompt_tokens_details":{"cached_tokens":1920,"cache_write_tokens":64,"audio_tokens":7},
                "completion_tokens_details":{"reasoning_tokens":256,"audio_tokens":9,
                "accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}"#,
            Usage {
                cached_input: Some(1920),
                cache_write: Some(64),
                reasoning: Some(256),
                audio_input: Some(7),
                audio_output: Some(9),
                accepted_prediction: Some(0),
                rejected_prediction: Some(0),
                ..tokens(2006, 300)
            },
        ),
        (
            "OpenAI embeddings",
            r#"{"prompt_tokens":8,"total_tokens":8}"#,
            Usage { input: Some(8), ..Usage::default() },
        ),
        (
            "DeepSeek",
            r#"{"prompt_tokens":100,"completion_tokens":20,"total_tokens":120,
                "prompt_cache_hit_tokens":64,"prompt_cache_miss_tokens":36,
                "completion_tokens_details":{"reasoning_tokens":11}}"#,
            Usage { cached_input: Some(64), reasoning: Some(11), ..tokens(100, 20) },
        ),
        (
            "Moonshot",
            r#"{"prompt_tokens":19,"completion_tokens":13,"total_tokens":32,"cached_tokens":12}"#,
            Usage { cached_input: Some(12), ..tokens(19, 13) },
        ),
        (
            "xAI counts reasoning apart",
            r#"{"prompt_tokens":32,"completion_tokens":9,"total_tokens":135,
                "prompt_tokens_details":{"text_tokens":32,"audio_tokens":0,"image_tokens":0,"cached_tokens":6},
                "completion_tokens_details":{"reasoning_tokens":94,"audio_tokens":0},"num_sources_used":0}"#,
            Usage {
                cached_input: Some(6),
                reasoning: Some(94),
                audio_input: Some(0),
                audio_output: Some(0),
                image_input: Some(0),
                ..tokens(32, 103)
            },
        ),
        (
            "Gemini's OpenAI endpoint leaves thoughts to the total",
            r#"{"completion_tokens":10,"prompt_tokens":5,"total_tokens":215}"#,
            tokens(5, 210),
        ),
        (
            "a total beyond, but cached input left out: nothing is guessed",
            r#"{"prompt_tokens":5,"completion_tokens":10,"total_tokens":115,"cache_read_input_tokens":100}"#,
            Usage { cached_input: Some(100), ..tokens(5, 10) },
        ),
        (
            "DashScope",
            r#"{"prompt_tokens":3019,"completion_tokens":104,"total_tokens":3123,
                "prompt_tokens_details":{"cached_tokens":2048,"cache_creation_input_tokens":900}}"#,
            Usage { cached_input: Some(2048), cache_write: Some(900), ..tokens(3019, 104) },
        ),
        (
            "vLLM",
            r#"{"prompt_tokens":9,"total_tokens":26,"completion_tokens":17,"prompt_tokens_details":null}"#,
            tokens(9, 17),
        ),
        (
            "Perplexity",
            r#"{"prompt_tokens":14,"completion_tokens":70,"total_tokens":84,"search_context_size":"low",
                "citation_tokens":10,"num_search_queries":1,"reasoning_tokens":40}"#,
            Usage { reasoning: Some(40), searches: Some(1), ..tokens(14, 70) },
        ),
        (
            "OpenRouter",
            r#"{"prompt_tokens":10,"completion_tokens":4,"total_tokens":14,"cost":0.00014,"is_byok":false,
                "cost_details":{"upstream_inference_cost":null,"prompt_tokens":7},
                "prompt_tokens_details":{"cached_tokens":0}}"#,
            Usage { cached_input: Some(0), ..tokens(10, 4) },
        ),
        (
            "OpenAI images: parts by kind",
            r#"{"input_tokens":50,"output_tokens":4160,"total_tokens":4210,
                "input_tokens_details":{"text_tokens":10,"image_tokens":40},
                "output_tokens_details":{"image_tokens":4160,"text_tokens":0}}"#,
            Usage { image_input: Some(40), image_output: Some(4160), ..tokens(50, 4160) },
        ),
        (
            "DeepSeek's two halves are the whole",
            r#"{"completion_tokens":20,"prompt_cache_hit_tokens":64,"prompt_cache_miss_tokens":36}"#,
            Usage { cached_input: Some(64), ..tokens(100, 20) },
        ),
        (
            "a relay of Anthropic's",
            r#"{"prompt_tokens":1200,"completion_tokens":9,"cache_creation_input_tokens":1000,
                "cache_creation":{"ephemeral_5m_input_tokens":400,"ephemeral_1h_input_tokens":600},
                "server_tool_use":{"web_search_requests":2}}"#,
            Usage {
                cache_write: Some(1000),
                cache_write_hour: Some(600),
                searches: Some(2),
                ..tokens(1200, 9)
            },
        ),
        (
            "Mistral",
            r#"{"prompt_tokens":13,"total_tokens":37,"completion_tokens":24,"prompt_audio_seconds":null}"#,
            tokens(13, 24),
        ),
        (
            "Groq, with times",
            r#"{"queue_time":0.04,"prompt_tokens":24,"prompt_time":0.0004,"completion_tokens":377,
                "completion_time":0.32,"total_tokens":401,"total_time":0.33}"#,
            tokens(24, 377),
        ),
        ("Responses names", r#"{"input_tokens":5,"output_tokens":6,"total_tokens":11}"#, tokens(5, 6)),
        ("zero is data", r#"{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}"#, tokens(0, 0)),
        ("floats", r#"{"prompt_tokens":12.0,"completion_tokens":3e0}"#, tokens(12, 3)),
        (
            "odd values are unknown, the rest stands",
            r#"{"prompt_tokens":"12","completion_tokens":3,"total_tokens":-1,"completion_tokens_details":[1]}"#,
            Usage { output: Some(3), ..Usage::default() },
        ),
    ] {
        assert_eq!(read(text), Some(wanted), "{vendor}");
    }
}

#[test]
fn what_says_nothing_is_unknown() {
    for text in ["{}", "null", "[]", r#"{"total_tokens":0}"#, r#"{"prompt_tokens":null}"#, "", "{\"prompt"] {
        assert_eq!(read(text), None, "{text}");
    }
}

#[test]
fn merging_keeps_the_last_non_null_of_each_field() {
    let mut counts = Counts::default();
    counts
        .merge(br#"{"prompt_tokens":10,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":4}}"#);
    counts.merge(br#"{"prompt_tokens":null,"completion_tokens":2}"#);
    counts.merge(br#"{"completion_tokens":5,"prompt_tokens_details":null}"#);
    assert_eq!(counts.usage(), Some(Usage { cached_input: Some(4), ..tokens(10, 5) }));
}

#[test]
fn zeros_at_the_end_of_a_stream_are_no_news() {
    let mut counts = Counts::default();
    counts.merge(br#"{"prompt_tokens":10,"completion_tokens":5}"#);
    counts.merge(br#"{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}"#);
    counts.merge(br#"{"total_tokens":0}"#);
    assert_eq!(counts.usage(), Some(tokens(10, 5)));
    // A zero beside a count is one.
    counts.merge(br#"{"prompt_tokens":10,"completion_tokens":0}"#);
    assert_eq!(counts.usage().unwrap().output, Some(0));
}

#[test]
fn parts_beyond_their_whole_contradict_it() {
    assert!(!tokens(10, 5).contradicts_itself());
    assert!(
        !Usage { cached_input: Some(6), cache_write: Some(4), reasoning: Some(5), ..tokens(10, 5) }
            .contradicts_itself()
    );
    assert!(Usage { cached_input: Some(6), cache_write: Some(5), ..tokens(10, 5) }.contradicts_itself());
    assert!(Usage { reasoning: Some(6), ..tokens(10, 5) }.contradicts_itself());
    assert!(Usage { cache_write: Some(2), cache_write_hour: Some(3), ..tokens(10, 5) }.contradicts_itself());
    assert!(Usage { image_input: Some(11), ..tokens(10, 5) }.contradicts_itself());
    // Nobody knows the whole: nothing is contradicted.
    assert!(!Usage { reasoning: Some(6), ..Usage::default() }.contradicts_itself());
}
