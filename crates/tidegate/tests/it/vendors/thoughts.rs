//! Thoughts that their vendors sign: a client that drops whatever it does not know still gives them back, because the
//! gateway remembers them; nobody gets another's.

use super::*;

const ALL: [Provider<'static>; 3] = [
    ("anthropic", Manner::Anthropic, "", ""),
    ("gemini", Manner::Gemini, "", ""),
    ("openai", Manner::OpenAi, "/v1", ""),
];
const MODELS: [&str; 3] = ["anthropic/claude-x", "gemini/gemini-x", "openai/gpt-6-astra"];

fn of(vendor: usize) -> &'static str {
    ["signed-by-anthropic", "c2lnbmVkLWJ5LWdvb2dsZQ==", "sealed-by-openai"][vendor]
}

fn last_of(vendors: &[Vendor], at: usize) -> String {
    let seen = vendors[at].last().unwrap();
    assert_eq!(seen.status, 200, "{}", seen.body);
    seen.body
}

#[tokio::test]
async fn a_chat_client_that_drops_them_is_served_by_all() {
    let (stand, vendors) = stand(&ALL, "").await;
    for (at, model) in MODELS.into_iter().enumerate() {
        for stream in [false, true] {
            let body = ask(model, json!({ "tools": tools(), "reasoning_effort": "high", "stream": stream }));
            let (_, message) = chat(&stand.client(), &body).await;
            let (_, said) = chat(&stand.client(), &with_result(&body, &message)).await;
            assert!(
                ["It is mild.", "said in responses"].contains(&said["content"].as_str().unwrap()),
                "{said}"
            );
            assert!(last_of(&vendors, at).contains(of(at)), "{model}");
        }
    }
}

#[tokio::test]
async fn a_messages_client_that_drops_them_is_served_by_all() {
    let (stand, vendors) = stand(&ALL, "").await;
    for (at, model) in MODELS.into_iter().enumerate().skip(1) {
        let mut body = ask(model, json!({ "max_tokens": 99 }));
        body["tools"] = json!([{ "name": "weather", "input_schema": { "type": "object" } }]);
        let reply = stand.client().post("/v1/messages", body.to_string()).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let content = reply.json()["content"].clone();
        let call = content.as_array().unwrap().iter().find(|block| block["type"] == "tool_use").unwrap();
        let call =
            json!({ "type": "tool_use", "id": call["id"], "name": call["name"], "input": call["input"] });
        let turns = body["messages"].as_array_mut().unwrap();
        turns.push(json!({ "role": "assistant", "content": [call] }));
        let result = json!({ "type": "tool_result", "tool_use_id": call["id"], "content": "12 degrees" });
        turns.push(json!({ "role": "user", "content": [result] }));
        let reply = stand.client().post("/v1/messages", body.to_string()).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert!(last_of(&vendors, at).contains(of(at)), "{model}");
    }
}

/// A conversation that another vendor goes on with: it is told of no signature that is not its own.
#[tokio::test]
async fn a_foreign_issuer_never_gets_them() {
    let (stand, vendors) = stand(&ALL, "").await;
    for (at, model) in MODELS.into_iter().enumerate() {
        let body = ask(model, json!({ "tools": tools() }));
        let (_, message) = chat(&stand.client(), &body).await;
        for (other, next) in MODELS.into_iter().enumerate().filter(|(other, _)| *other != at) {
            // Once as a client sends it that drops what it does not know, once as one that keeps all.
            for kept in [false, true] {
                let mut later = with_result(&body, &message);
                later["model"] = json!(next);
                if kept {
                    later["messages"][1] = message.clone();
                }
                let reply = stand.client().post("/v1/chat/completions", later.to_string()).await;
                let came = vendors[other].last().unwrap().body;
                assert!(!came.contains(of(at)), "{model} -> {next}: {came}");
                assert_eq!(reply.status, 200, "{model} -> {next}: {} {came}", reply.text());
            }
        }
    }
}
