//! Models that OpenAI serves through Responses alone, asked for in any dialect.

use super::*;

const OPENAI: Provider<'static> = ("openai", Manner::OpenAi, "/v1", "");

fn messages_tools() -> Value {
    json!([{ "name": "weather", "input_schema": { "type": "object" } }])
}

/// The vendor was asked in Responses, and keeps nothing that the client did not ask it to keep.
fn by_responses(vendor: &Vendor) {
    let (seen, body) = sent(vendor);
    assert_eq!((seen.path.as_str(), seen.status), ("/v1/responses", 200), "{}", seen.body);
    assert_eq!(body["store"], false, "{body}");
    assert!(body["include"].as_array().unwrap().contains(&json!("reasoning.encrypted_content")), "{body}");
}

#[tokio::test]
async fn chat_reaches_what_only_responses_serves() {
    let (stand, vendors) = stand(&[OPENAI], "").await;
    let client = stand.client();
    for stream in [false, true] {
        let (reply, message) = chat(&client, &ask("openai/gpt-5.1-codex", json!({ "stream": stream }))).await;
        assert_eq!(message["content"], "said in responses");
        assert_eq!(reply.header("x-tidegate-attempts"), Some("1"));
        by_responses(&vendors[0]);
        for model in ["openai/gpt-6-astra", "openai/gpt-6.1-sol", "openai/gpt-5.6-sol"] {
            let body = ask(model, json!({ "tools": tools(), "stream": stream }));
            let (_, message) = chat(&client, &body).await;
            assert_eq!(message["tool_calls"][0]["function"]["arguments"], "{\"city\":\"Oslo\"}");
            by_responses(&vendors[0]);
            // The thoughts that the client has lost are replayed to whoever sealed them.
            let (_, said) = chat(&client, &with_result(&body, &message)).await;
            assert_eq!(said["content"], "said in responses");
            by_responses(&vendors[0]);
            assert!(sent(&vendors[0]).0.body.contains("sealed-by-openai"));
        }
    }
    for more in [json!({}), json!({ "tools": tools(), "reasoning_effort": "none" })] {
        chat(&client, &ask("openai/gpt-5.6-sol", more)).await;
        assert_eq!(sent(&vendors[0]).0.path, "/v1/chat/completions");
    }
}

#[tokio::test]
async fn other_dialects_reach_it_too() {
    let (stand, vendors) = stand(&[OPENAI], "").await;
    for stream in [false, true] {
        let body = ask(
            "openai/gpt-6-astra",
            json!({ "max_tokens": 99, "tools": messages_tools(), "stream": stream }),
        );
        let reply = stand.client().post("/v1/messages", body.to_string()).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert!(reply.text().contains("tool_use") && reply.text().contains("Oslo"), "{}", reply.text());
        by_responses(&vendors[0]);
        let verb = if stream { "streamGenerateContent?alt=sse" } else { "generateContent" };
        let body = json!({ "contents": [{ "role": "user", "parts": [{ "text": "How is Oslo?" }] }],
            "tools": [{ "functionDeclarations": [{ "name": "weather", "parametersJsonSchema": { "type": "object" } }] }] });
        let path = format!("/v1beta/models/openai/gpt-6-astra:{verb}");
        let reply = stand.client().post(&path, body.to_string()).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert!(reply.text().contains("functionCall") && reply.text().contains("Oslo"), "{}", reply.text());
        by_responses(&vendors[0]);
    }
}

#[tokio::test]
async fn a_refusal_teaches_and_is_remembered() {
    let (mut stand, vendors) = stand(&[OPENAI], "").await;
    let client = stand.client();
    for (model, more) in
        [("openai/surprise-alone", json!({})), ("openai/surprise-tools", json!({ "tools": tools() }))]
    {
        for (attempts, stream) in [("2", true), ("1", false), ("1", true)] {
            let mut body = ask(model, more.clone());
            body["stream"] = json!(stream);
            let before = vendors[0].seen().len();
            let (reply, _) = chat(&client, &body).await;
            assert_eq!(reply.header("x-tidegate-attempts"), Some(attempts), "{model}");
            assert_eq!(vendors[0].seen().len() - before, attempts.parse::<usize>().unwrap());
            by_responses(&vendors[0]);
        }
    }
    // What was learned of tools says nothing of calls without.
    chat(&client, &ask("openai/surprise-tools", json!({}))).await;
    assert_eq!(sent(&vendors[0]).0.path, "/v1/chat/completions");
    stand.wait_drained().await;
    let (_, out, _) = stand.command(&["logs", "--json", "--limit", "20"]);
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let twice = lines.iter().filter(|line| line["attempts"] == 2).count();
    assert_eq!((twice, lines.len()), (2, 7), "{out}");
}

#[tokio::test]
async fn settings_overrule_the_catalogue() {
    let more =
        "[models.\"openai/gpt-5.1-codex\"]\napi = \"chat\"\n[models.\"openai/mine\"]\napi = \"responses\"\n";
    let (stand, vendors) = stand(&[OPENAI], more).await;
    let reply =
        stand.client().post("/v1/chat/completions", ask("openai/gpt-5.1-codex", json!({})).to_string()).await;
    assert_eq!((reply.status, reply.header("x-tidegate-attempts")), (400, Some("1")), "{}", reply.text());
    assert_eq!(vendors[0].seen().len(), 1);
    chat(&stand.client(), &ask("openai/mine", json!({}))).await;
    by_responses(&vendors[0]);
}
