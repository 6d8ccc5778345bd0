//! Vendors that deviate from the dialect they speak, and refuse what the real ones refuse: a client that knows only its
//! own dialect is served by each of them, whole and streamed.

mod azure;
mod doors;
mod names;
mod thoughts;
mod vectors;

use fakes::plan::Plan;
use fakes::vendor::{Manner, Seen, Vendor};
use serde_json::{Value, json};

use crate::client::{self, Client, Reply};
use crate::stand::{Setup, Stand};

/// The providers of a test: name, manner, the end of the base URL, further lines.
type Provider<'p> = (&'p str, Manner, &'p str, &'p str);

async fn stand(providers: &[Provider<'_>], more: &str) -> (Stand, Vec<Vendor>) {
    let (mut vendors, mut tables) = (Vec::new(), String::new());
    for (name, manner, end, lines) in providers {
        let vendor = Vendor::start(*manner).await.unwrap();
        let base = vendor.root();
        tables.push_str(&format!(
            "[providers.{name}]\ncredential = \"env:VENDOR_KEY\"\nbase_url = \"{base}{end}\"\n{lines}\n"
        ));
        vendors.push(vendor);
    }
    let environment = vec![("VENDOR_KEY".to_owned(), "vendor-key".to_owned())];
    let setup = Setup { more: format!("{tables}{more}"), environment, ..Setup::default() };
    (Stand::start(setup).await, vendors)
}

fn ask(model: &str, more: Value) -> Value {
    let mut body = json!({ "model": model, "messages": [{ "role": "user", "content": "How is Oslo?" }] });
    if let Value::Object(more) = more {
        body.as_object_mut().unwrap().extend(more);
    }
    body
}

fn tools() -> Value {
    json!([{ "type": "function", "function": { "name": "weather", "description": "of a city",
             "parameters": { "type": "object", "properties": { "city": { "type": "string" } } } } }])
}

/// A call in Chat, and the message that it came to, as a client sees it that knows OpenAI's members and no others, and
/// `reasoning_content`.
async fn chat(client: &Client, body: &Value) -> (Reply, Value) {
    let reply = client.post("/v1/chat/completions", body.to_string()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let message = if body["stream"] == true {
        folded(&reply.text())
    } else {
        reply.json()["choices"][0]["message"].clone()
    };
    (reply, message)
}

fn events(text: &str) -> Vec<Value> {
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
}

fn folded(text: &str) -> Value {
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    let mut message = json!({ "role": "", "content": "", "reasoning_content": "", "tool_calls": [] });
    for event in events(text) {
        let delta = &event["choices"][0]["delta"];
        for name in ["role", "content", "reasoning_content"] {
            let more = delta[name].as_str().unwrap_or_default();
            message[name] = json!(format!("{}{more}", message[name].as_str().unwrap()));
        }
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let calls = message["tool_calls"].as_array_mut().unwrap();
            let at = usize::try_from(call["index"].as_u64().unwrap()).unwrap();
            if calls.len() <= at {
                calls.push(json!({ "id": call["id"], "type": "function",
                                   "function": { "name": call["function"]["name"], "arguments": "" } }));
            }
            let function = &mut calls[at]["function"];
            let more = call["function"]["arguments"].as_str().unwrap_or_default();
            function["arguments"] = json!(format!("{}{more}", function["arguments"].as_str().unwrap()));
        }
    }
    message
}

/// The conversation after a tool was called, as a client sends it that has dropped whatever it does not know.
fn with_result(body: &Value, message: &Value) -> Value {
    let calls: Vec<Value> = message["tool_calls"].as_array().unwrap().iter().map(plain_call).collect();
    assert_eq!(calls.len(), 1, "{message}");
    let mut next = body.clone();
    let turns = next["messages"].as_array_mut().unwrap();
    turns.push(json!({ "role": "assistant", "content": null, "tool_calls": calls }));
    turns.push(json!({ "role": "tool", "tool_call_id": calls[0]["id"], "content": "12 degrees" }));
    next
}

fn plain_call(call: &Value) -> Value {
    json!({ "id": call["id"], "type": "function",
            "function": { "name": call["function"]["name"], "arguments": call["function"]["arguments"] } })
}

fn sent(vendor: &Vendor) -> (Seen, Value) {
    let seen = vendor.last().unwrap();
    let body = seen.json();
    (seen, body)
}

const THOUGHT: &str = "The user wants to know, so I look.";

#[tokio::test]
async fn deepseek_gets_its_thoughts_back_and_its_own_words() {
    let (stand, vendors) = stand(&[("deepseek", Manner::DeepSeek, "", "")], "").await;
    let client = stand.client();
    for stream in [false, true] {
        let body = ask(
            "deepseek/deepseek-v4",
            json!({ "tools": tools(), "reasoning_effort": "medium", "stream": stream }),
        );
        let (_, message) = chat(&client, &body).await;
        assert_eq!(message["reasoning_content"], THOUGHT);
        let (_, body_sent) = sent(&vendors[0]);
        assert_eq!(
            (&body_sent["thinking"]["type"], &body_sent["reasoning_effort"]),
            (&json!("enabled"), &json!("high"))
        );
        // The vendor refuses the turn without the thoughts that the client has lost.
        let (_, said) = chat(&client, &with_result(&body, &message)).await;
        assert_eq!(said["content"], "It is mild.");
        let (_, body_sent) = sent(&vendors[0]);
        assert_eq!(body_sent["messages"][1]["reasoning_content"], THOUGHT);
    }
    let quiet = ask("deepseek/deepseek-v4", json!({ "reasoning_effort": "none" }));
    let (_, message) = chat(&client, &quiet).await;
    assert!(message["reasoning_content"].is_null(), "{message}");
    assert_eq!(sent(&vendors[0]).1["thinking"], json!({ "type": "disabled" }));
    let mut begun = ask("deepseek/deepseek-v4", json!({}));
    begun["messages"].as_array_mut().unwrap().push(json!({ "role": "assistant", "content": "It is" }));
    chat(&client, &begun).await;
    assert_eq!(
        sent(&vendors[0]).1["messages"][1],
        json!({ "role": "assistant", "content": "It is", "prefix": true })
    );
}

/// Google's clients break on comments, and Anthropic's count thinking in tokens.
#[tokio::test]
async fn deepseek_is_reached_from_other_dialects() {
    let (stand, vendors) = stand(&[("deepseek", Manner::DeepSeek, "", "")], "").await;
    let gemini = json!({ "contents": [{ "role": "user", "parts": [{ "text": "How is Oslo?" }] }],
                         "generationConfig": { "thinkingConfig": { "thinkingBudget": 0 } } });
    let reply = stand
        .client()
        .post("/v1beta/models/deepseek/deepseek-v4:streamGenerateContent?alt=sse", gemini.to_string())
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(
        reply.text().lines().all(|line| line.is_empty() || line.starts_with("data: ")),
        "{}",
        reply.text()
    );
    assert_eq!(sent(&vendors[0]).1["thinking"], json!({ "type": "disabled" }));
    let mut messages = ask("deepseek/deepseek-v4", json!({ "max_tokens": 3000 }));
    messages["thinking"] = json!({ "type": "enabled", "budget_tokens": 2000 });
    messages["tools"] = json!([{ "name": "weather", "input_schema": { "type": "object" } }]);
    let reply = stand.client().post("/v1/messages", messages.to_string()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let (_, body) = sent(&vendors[0]);
    assert_eq!((&body["thinking"]["type"], &body["reasoning_effort"]), (&json!("enabled"), &json!("low")));
    // This client keeps calls and texts alone.
    let content = reply.json()["content"].clone();
    let call = content.as_array().unwrap().iter().find(|block| block["type"] == "tool_use").unwrap().clone();
    let turns = messages["messages"].as_array_mut().unwrap();
    turns.push(json!({ "role": "assistant", "content": [call] }));
    let result = json!({ "type": "tool_result", "tool_use_id": call["id"], "content": "12 degrees" });
    turns.push(json!({ "role": "user", "content": [result] }));
    let reply = stand.client().post("/v1/messages", messages.to_string()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(sent(&vendors[0]).1["messages"][1]["reasoning_content"], THOUGHT);
}

#[tokio::test]
async fn qwen_thinks_by_its_own_switch() {
    let (stand, vendors) = stand(&[("qwen", Manner::Qwen, "/compatible-mode/v1", "")], "").await;
    let body = r#"{ "model":"qwen/qwen4-max","messages":[{"role":"user","content":"h\u0069"}], "reasoning_effort" : "low","x":[1e400]}"#;
    let reply = stand.client().post("/v1/chat/completions", body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let wanted = r#"{ "model":"qwen4-max","messages":[{"role":"user","content":"h\u0069"}], "x":[1e400],"enable_thinking":true,"thinking_budget":4096}"#;
    assert_eq!(sent(&vendors[0]).0.body, wanted, "only the switch is spliced");
    for stream in [false, true] {
        let (reply, message) = chat(
            &stand.client(),
            &ask("qwen/qwen4-max", json!({ "reasoning_effort": "none", "stream": stream })),
        )
        .await;
        assert_eq!(sent(&vendors[0]).1["enable_thinking"], false);
        assert_eq!(
            (message["content"].as_str(), reply.header("x-tidegate-dropped")),
            (Some("It is mild."), None)
        );
    }
    let mut messages = ask("qwen/qwen4-max", json!({ "max_tokens": 9 }));
    messages["thinking"] = json!({ "type": "disabled" });
    let reply =
        stand.client().header("x-tidegate-strict", "true").post("/v1/messages", messages.to_string()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(sent(&vendors[0]).1["enable_thinking"], false);
}

#[tokio::test]
async fn glm_gets_what_it_takes_and_the_rest_is_told() {
    let (stand, vendors) = stand(&[("glm", Manner::Glm, "/api/paas/v4", "")], "").await;
    let client = stand.client();
    for stream in [false, true] {
        let more = json!({ "tools": tools(), "max_completion_tokens": 90, "presence_penalty": 0.5,
                           "reasoning_effort": "low", "stream": stream });
        let (reply, message) = chat(&client, &ask("glm/glm-5", more)).await;
        assert_eq!(message["tool_calls"][0]["function"]["arguments"], "{\"city\":\"Oslo\"}");
        assert_eq!(reply.header("x-tidegate-dropped"), Some("presence_penalty, reasoning_effort"));
        let (_, body) = sent(&vendors[0]);
        assert_eq!((&body["max_tokens"], &body["thinking"]["type"]), (&json!(90), &json!("enabled")));
        assert_eq!(body["tool_stream"] == true, stream);
    }
    let strict = client.header("x-tidegate-strict", "true");
    let refused = |more: Value| {
        let body = ask("glm/glm-5", more).to_string();
        let client = strict.clone();
        async move { client.post("/v1/chat/completions", body).await }
    };
    let schema =
        json!({ "type": "json_schema", "json_schema": { "name": "a", "schema": { "type": "object" } } });
    for (more, param) in [
        (json!({ "presence_penalty": 1 }), "presence_penalty"),
        (json!({ "tools": tools(), "tool_choice": "required" }), "tool_choice"),
        (json!({ "response_format": schema }), "response_format"),
    ] {
        let reply = refused(more).await;
        assert_eq!(
            (reply.status, reply.json()["error"]["param"].as_str()),
            (400, Some(param)),
            "{}",
            reply.text()
        );
        assert!(reply.text().contains("glm/glm-5"), "{}", reply.text());
    }
    let (_, message) =
        chat(&client, &ask("glm/glm-5", json!({ "tools": tools(), "tool_choice": "none" }))).await;
    assert_eq!(message["content"], "It is mild.");
    // Across dialects the same holds.
    let mut messages = ask("glm/glm-5", json!({ "max_tokens": 9, "stream": true }));
    messages["tools"] = json!([{ "name": "weather", "input_schema": { "type": "object" } }]);
    let reply = client.post("/v1/messages", messages.to_string()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(sent(&vendors[0]).1["tool_stream"], true);
    messages["tool_choice"] = json!({ "type": "any" });
    let reply = client.post("/v1/messages", messages.to_string()).await;
    assert_eq!(reply.status, 400, "{}", reply.text());
    assert!(reply.text().contains("tool_choice"), "{}", reply.text());
}

#[tokio::test]
async fn kimi_gets_texts_its_own_sampling_and_its_thoughts() {
    let (stand, vendors) = stand(&[("kimi", Manner::Kimi, "/v1", "")], "").await;
    let client = stand.client();
    for stream in [false, true] {
        let mut body =
            ask("kimi/kimi-k2.6", json!({ "tools": tools(), "temperature": 0.2, "stream": stream }));
        body["messages"][0]["content"] =
            json!([{ "type": "text", "text": "How is" }, { "type": "text", "text": "Oslo?" }]);
        let (reply, message) = chat(&client, &body).await;
        assert_eq!(reply.header("x-tidegate-dropped"), Some("temperature"));
        assert_eq!(sent(&vendors[0]).1["messages"][0]["content"], "How is\nOslo?");
        let (_, said) = chat(&client, &with_result(&body, &message)).await;
        assert_eq!(said["content"], "It is mild.");
    }
    let mut begun = ask("kimi/kimi-k2.6", json!({}));
    begun["messages"].as_array_mut().unwrap().push(json!({ "role": "assistant", "content": "It is" }));
    chat(&client, &begun).await;
    assert_eq!(sent(&vendors[0]).1["messages"][1]["partial"], true);
    for (model, more) in [("kimi/kimi-k3", "medium"), ("kimi/kimi-k2.6", "none")] {
        chat(&client, &ask(model, json!({ "reasoning_effort": more }))).await;
    }
    assert_eq!(sent(&vendors[0]).1["thinking"], json!({ "type": "disabled" }));
    // What nobody remembers is refused in the vendor's own words.
    let unknown = json!([{ "id": "call_unknown", "type": "function", "function": { "name": "weather", "arguments": "{}" } }]);
    let lost = with_result(&ask("kimi/kimi-k2.6", json!({})), &json!({ "tool_calls": unknown }));
    let reply = client.post("/v1/chat/completions", lost.to_string()).await;
    assert_eq!(reply.status, 400);
    assert!(reply.text().contains("reasoning_content is missing"), "{}", reply.text());
}

#[tokio::test]
async fn minimax_answers_without_tags_roles_and_counts_that_say_nothing() {
    let price = "[models.\"minimax/m3\"]\nprice = { input = \"1\", output = \"1\", currency = \"USD\" }\n";
    let (mut stand, _vendors) = stand(&[("minimax", Manner::MiniMax, "/v1", "")], price).await;
    for stream in [false, true] {
        let more =
            json!({ "temperature": 1.5, "stream": stream, "stream_options": { "include_usage": true } });
        let body = ask("minimax/m3", if stream { more } else { json!({ "temperature": 0 }) });
        let (reply, message) = chat(&stand.client(), &body).await;
        assert_eq!(
            (message["content"].as_str(), message["reasoning_content"].as_str()),
            (Some("It is mild."), Some(THOUGHT))
        );
        assert_eq!(message["role"], "assistant");
        assert_eq!(reply.header("x-tidegate-dropped"), Some("temperature"));
        if stream {
            let text = reply.text();
            assert!(!text.contains(r#""role":"""#) && !text.contains(r#""total_tokens":0"#), "{text}");
            assert_eq!(events(&text).iter().filter(|event| event["usage"].is_object()).count(), 1, "{text}");
        }
    }
    stand.wait_drained().await;
    let (_, out, _) = stand.command(&["logs", "--json", "--limit", "1"]);
    let line: Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
    assert_eq!((&line["input_tokens"], &line["output_tokens"]), (&json!(11), &json!(7)), "{line}");
    let reply = stand
        .client()
        .post("/v1/messages", ask("minimax/m3", json!({ "max_tokens": 9, "stream": true })).to_string())
        .await;
    let told: String =
        events(&reply.text()).iter().filter_map(|event| event["delta"]["text"].as_str()).collect();
    assert_eq!(told, "It is mild.", "{}", reply.text());
}

/// An error that comes within a stream of status 200, before anything else did, is the status that it should have been.
#[tokio::test]
async fn an_error_before_the_first_event_is_the_status_that_it_means() {
    let stand = Stand::start(Setup::default()).await;
    for (code, status, kind) in [
        ("rate_limit_exceeded", 429, "rate_limit_error"),
        ("invalid_request_error", 400, "invalid_request_error"),
        ("overloaded_error", 529, "overloaded_error"),
        ("server_error", 502, "api_error"),
    ] {
        let event =
            format!("data: {{\"error\":{{\"message\":\"no\",\"type\":\"{code}\",\"code\":\"{code}\"}}}}\n\n");
        let plan = Plan { events: Some(vec![event]), ..Plan::default() };
        let fake = serde_json::to_string(&plan).unwrap();
        let body = client::chat("fake/ok", &format!(r#","stream":true,"fake":{fake}"#));
        let reply = stand.client().post("/v1/chat/completions", body).await;
        // OpenAI's clients know 503 and not 529.
        assert_eq!(reply.status, if status == 529 { 503 } else { status }, "{code}: {}", reply.text());
        stand.upstream.set_plan(plan);
        let body = r#"{"model":"fake/tiny","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"x"}]}"#;
        let reply = stand.client().post("/v1/messages", body.to_owned()).await;
        let said = reply.json()["error"]["type"].as_str().unwrap_or_default().to_owned();
        assert_eq!((reply.status, said.as_str()), (status, kind), "{code}: {}", reply.text());
        stand.upstream.set_plan(Plan::default());
    }
}

/// Anthropic's clients want numbers: ours are marked where the provider told none.
#[tokio::test]
async fn an_untold_usage_is_an_estimate_and_says_so() {
    let stand = Stand::start(Setup::default()).await;
    let ask = |model: &str| {
        format!(
            r#"{{"model":"{model}","max_tokens":50,"messages":[{{"role":"user","content":"the tide comes in"}}]}}"#
        )
    };
    let reply = stand.client().post("/v1/messages", ask("fake/ok-unone-t20")).await;
    assert_eq!((reply.status, reply.header("x-tidegate-estimated")), (200, Some("true")), "{}", reply.text());
    let usage = &reply.json()["usage"];
    assert!(
        usage["input_tokens"].as_u64().unwrap() > 0 && usage["output_tokens"].as_u64().unwrap() > 0,
        "{usage}"
    );
    let reply = stand.client().post("/v1/messages", ask("fake/ok-i7-t20")).await;
    assert_eq!(
        (reply.header("x-tidegate-estimated"), &reply.json()["usage"]["input_tokens"]),
        (None, &json!(7))
    );
}
