//! Guardrails on answers: whole and streamed, in every dialect of a client, from a provider of each.

use fakes::plan::Plan;
use serde_json::{Value, json};

use super::*;

/// What a provider says: a card in pieces, and a call of a tool with another.
const SAID: [&str; 6] = ["pay with 4111 1", "111 11", "11 1111", " now", ", o", "k"];
const GIVEN: [&str; 4] = ["{\"card\":\"41111111", "11111", "111\",\"n\"", ":1}"];
const MASKED: &str = "pay with [CARD] now, ok";

const PROVIDERS: [&str; 4] = ["fake", "claude", "gem", "full"];
/// Every way in which a client reads a stream.
const STREAMS: [&str; 6] = ["chat", "completions", "responses", "messages", "gemini", "array"];

fn sse(name: Option<&str>, data: &Value) -> String {
    let name = name.map_or_else(String::new, |name| format!("event: {name}\n"));
    format!("{name}data: {data}\n\n")
}

fn named(data: &Value) -> String {
    sse(data["type"].as_str(), data)
}

pub(super) fn chat_events(said: &[&str], given: &[&str]) -> Vec<String> {
    let chunk = |delta: Value, finish: Value| {
        sse(
            None,
            &json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}),
        )
    };
    let mut all = vec![chunk(json!({"role": "assistant", "content": ""}), Value::Null)];
    all.extend(said.iter().map(|text| chunk(json!({ "content": text }), Value::Null)));
    if !given.is_empty() {
        let call = json!({"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}]});
        all.push(chunk(call, Value::Null));
    }
    all.extend(given.iter().map(|text| {
        chunk(json!({"tool_calls": [{"index": 0, "function": {"arguments": text}}]}), Value::Null)
    }));
    all.push(chunk(json!({}), json!(if given.is_empty() { "stop" } else { "tool_calls" })));
    all.push(sse(
        None,
        &json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [],
        "usage": {"prompt_tokens": 3, "completion_tokens": 9, "total_tokens": 12}}),
    ));
    all.push("data: [DONE]\n\n".to_owned());
    all
}

fn claude_events(said: &[&str], given: &[&str]) -> Vec<String> {
    let mut all = vec![named(
        &json!({"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant",
        "model": "c", "content": [], "stop_reason": null, "usage": {"input_tokens": 3, "output_tokens": 1}}}),
    )];
    let block = |all: &mut Vec<String>, index: u32, start: Value, deltas: Vec<Value>| {
        all.push(named(&json!({"type": "content_block_start", "index": index, "content_block": start})));
        let deltas = deltas.into_iter();
        all.extend(
            deltas
                .map(|delta| named(&json!({"type": "content_block_delta", "index": index, "delta": delta}))),
        );
        all.push(named(&json!({"type": "content_block_stop", "index": index})));
    };
    let texts = said.iter().map(|text| json!({"type": "text_delta", "text": text})).collect();
    block(&mut all, 0, json!({"type": "text", "text": ""}), texts);
    if !given.is_empty() {
        let given =
            given.iter().map(|text| json!({"type": "input_json_delta", "partial_json": text})).collect();
        block(&mut all, 1, json!({"type": "tool_use", "id": "t", "name": "f", "input": {}}), given);
    }
    let stop = if given.is_empty() { "end_turn" } else { "tool_use" };
    all.push(named(
        &json!({"type": "message_delta", "delta": {"stop_reason": stop}, "usage": {"output_tokens": 9}}),
    ));
    all.push(named(&json!({"type": "message_stop"})));
    all
}

pub(super) fn gem_events(said: &[&str], given: &[&str]) -> Vec<String> {
    let chunk = |parts: Value| {
        sse(
            None,
            &json!({"candidates": [{"content": {"role": "model", "parts": parts}, "index": 0}], "modelVersion": "g"}),
        )
    };
    let mut all: Vec<_> = said.iter().map(|text| chunk(json!([{ "text": text }]))).collect();
    if !given.is_empty() {
        let args: Value = serde_json::from_str(&given.concat()).unwrap();
        all.push(chunk(json!([{"functionCall": {"name": "f", "args": args}}])));
    }
    all.push(sse(None, &json!({"candidates": [{"content": {"role": "model", "parts": [{"text": ""}]}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 9, "totalTokenCount": 12}, "modelVersion": "g"})));
    all
}

fn full_events(said: &[&str], given: &[&str]) -> Vec<String> {
    let text = said.concat();
    let part = json!({"type": "output_text", "text": text, "annotations": []});
    let message = json!({"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]});
    let call = json!({"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "f", "arguments": given.concat(), "status": "completed"});
    let mut output = vec![message.clone()];
    let response = |status: &str, output: &[Value]| {
        json!({"id": "resp_1", "object": "response", "created_at": 1, "model": "m", "status": status, "output": output,
            "instructions": "never say 4111 1111 1111 1111",
            "usage": {"input_tokens": 3, "output_tokens": 9, "total_tokens": 12}})
    };
    let mut all = vec![json!({"type": "response.created", "response": response("in_progress", &[])})];
    let open = json!({"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []});
    all.push(json!({"type": "response.output_item.added", "output_index": 0, "item": open}));
    let place = json!({"item_id": "msg_1", "output_index": 0, "content_index": 0});
    let with = |kind: &str, more: Value| {
        let mut event = place.clone();
        event["type"] = json!(kind);
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        event
    };
    all.push(with(
        "response.content_part.added",
        json!({"part": {"type": "output_text", "text": "", "annotations": []}}),
    ));
    all.extend(
        said.iter().map(|text| with("response.output_text.delta", json!({"delta": text, "logprobs": []}))),
    );
    all.push(with("response.output_text.done", json!({ "text": text })));
    all.push(with("response.content_part.done", json!({ "part": part })));
    all.push(json!({"type": "response.output_item.done", "output_index": 0, "item": message}));
    if !given.is_empty() {
        let mut open = call.clone();
        (open["arguments"], open["status"]) = (json!(""), json!("in_progress"));
        all.push(json!({"type": "response.output_item.added", "output_index": 1, "item": open}));
        let of = |kind: &str, name: &str, text: &str| json!({"type": kind, "item_id": "fc_1", "output_index": 1, name: text});
        all.extend(given.iter().map(|text| of("response.function_call_arguments.delta", "delta", text)));
        all.push(of("response.function_call_arguments.done", "arguments", &given.concat()));
        all.push(json!({"type": "response.output_item.done", "output_index": 1, "item": call}));
        output.push(call);
    }
    all.push(json!({"type": "response.completed", "response": response("completed", &output)}));
    for (number, event) in all.iter_mut().enumerate() {
        event["sequence_number"] = json!(number);
    }
    all.iter().map(named).collect()
}

fn completion_events(said: &[&str]) -> Vec<String> {
    let chunk = |text: &str, finish: Value| {
        sse(
            None,
            &json!({"id": "c", "object": "text_completion", "created": 1, "model": "m",
            "choices": [{"index": 0, "text": text, "logprobs": null, "finish_reason": finish}]}),
        )
    };
    let mut all: Vec<_> = said.iter().map(|text| chunk(text, Value::Null)).collect();
    all.push(chunk("", json!("stop")));
    all.push("data: [DONE]\n\n".to_owned());
    all
}

/// Each provider with each client that it is asked for in the dialect of its events.
pub(super) fn pairs() -> Vec<(&'static str, &'static str)> {
    let all = PROVIDERS.iter().flat_map(|provider| STREAMS.iter().map(|client| (*provider, *client)));
    // Whoever speaks Chat and Responses is asked for the rest in Chat.
    all.filter(|(provider, client)| *provider != "full" || *client == "responses").collect()
}

pub(super) fn plan(provider: &str, client: &str, said: &[&str], given: &[&str]) -> Plan {
    let events = match (provider, client) {
        ("fake", "completions") => completion_events(said),
        _ => events(provider, said, given),
    };
    Plan { events: Some(events), ..Plan::default() }
}

fn events(provider: &str, said: &[&str], given: &[&str]) -> Vec<String> {
    match provider {
        "claude" => claude_events(said, given),
        "gem" => gem_events(said, given),
        "full" => full_events(said, given),
        _ => chat_events(said, given),
    }
}

/// The whole answer of a provider.
pub(super) fn body(provider: &str, text: &str, args: &str) -> String {
    let given: Value = serde_json::from_str(args).unwrap();
    match provider {
        "claude" => json!({"id": "m", "type": "message", "role": "assistant", "model": "c", "stop_reason": "tool_use",
            "content": [{"type": "text", "text": text}, {"type": "tool_use", "id": "t", "name": "f", "input": given}],
            "usage": {"input_tokens": 3, "output_tokens": 9}}),
        "gem" => json!({"candidates": [{"index": 0, "finishReason": "STOP", "content": {"role": "model", "parts": [
            {"text": text}, {"functionCall": {"name": "f", "args": given}}]}}],
            "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 9, "totalTokenCount": 12}}),
        "full" => json!({"id": "resp_1", "object": "response", "created_at": 1, "model": "m", "status": "completed",
            "instructions": "never say 4111 1111 1111 1111",
            "output": [{"id": "msg_1", "type": "message", "role": "assistant", "status": "completed",
                "content": [{"type": "output_text", "text": text, "annotations": []}]},
                {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "f", "arguments": args, "status": "completed"}],
            "usage": {"input_tokens": 3, "output_tokens": 9, "total_tokens": 12}}),
        _ => json!({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [{"index": 0, "finish_reason": "tool_calls",
            "message": {"role": "assistant", "content": text, "tool_calls": [{"id": "call_1", "type": "function",
                "function": {"name": "f", "arguments": args}}]}}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 9, "total_tokens": 12}}),
    }
    .to_string()
}

/// Providers of every dialect, all of them the same upstream, and guardrails.
pub(super) async fn stand(rails: &str) -> Stand {
    let mut stand = Stand::prepare(Setup::default()).await;
    let base = stand.upstream.base_url();
    let provider = |name: &str, dialect: &str, more: &str| {
        format!(
            "[providers.{name}]\ndialect = \"{dialect}\"\nbase_url = \"{base}\"\nmodels = [\"m\"]\n{more}\n"
        )
    };
    let more = provider("claude", "anthropic", "")
        + &provider("gem", "gemini", "")
        + &provider("full", "openai", "responses = true")
        + rails;
    stand.write_settings(&more);
    stand.run().await;
    stand
}

pub(super) fn rail(action: &str, more: &str) -> String {
    format!(
        "[guardrails.personal]\nkind = \"pii\"\nentities = [\"card\"]\naction = \"{action}\"\nstage = \"response\"\neverywhere = true\n{more}\n"
    )
}

/// One call of a client.
pub(super) fn ask(client: &str, model: &str, stream: bool) -> (String, String) {
    let flag = if stream { r#","stream":true"# } else { "" };
    let tools = r#""tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}]"#;
    match client {
        "completions" => {
            ("/v1/completions".to_owned(), format!(r#"{{"model":"{model}","prompt":"hi"{flag}}}"#))
        }
        "responses" => (
            "/v1/responses".to_owned(),
            format!(
                r#"{{"model":"{model}","store":false,"input":"hi","tools":[{{"type":"function","name":"f","parameters":{{"type":"object"}}}}]{flag}}}"#
            ),
        ),
        "messages" => (
            "/v1/messages".to_owned(),
            format!(
                r#"{{"model":"{model}","max_tokens":99,"messages":[{{"role":"user","content":"hi"}}],"tools":[{{"name":"f","input_schema":{{"type":"object"}}}}]{flag}}}"#
            ),
        ),
        "gemini" | "array" => {
            let verb = match (stream, client) {
                (false, _) => "generateContent",
                (true, "array") => "streamGenerateContent",
                (true, _) => "streamGenerateContent?alt=sse",
            };
            (format!("/v1beta/models/{model}:{verb}"), r#"{"contents":[{"role":"user","parts":[{"text":"hi"}]}],"tools":[{"functionDeclarations":[{"name":"f","parameters":{"type":"object"}}]}]}"#.to_owned())
        }
        _ => (
            "/v1/chat/completions".to_owned(),
            format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"hi"}}],{tools}{flag}}}"#),
        ),
    }
}

/// Whether a part of the card is there; Responses also tells what was asked, which is not what the model says. (Ids may hold
/// four digits by chance.)
pub(super) fn leaks(text: &str) -> bool {
    let own = text.replace("never say 4111 1111 1111 1111", "");
    ["4111 1", "1111 1", "1111 n", "41111111", "11111111"].iter().any(|part| own.contains(part))
}

/// The JSON of each event, or each item of an array.
pub(super) fn datas(text: &str) -> Vec<Value> {
    if text.starts_with('[') {
        return serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    }
    let lines = text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    lines.map(|data| serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}"))).collect()
}

/// What a client makes of a stream: the text, and what the tool is given.
pub(super) fn folded(client: &str, text: &str) -> (String, String) {
    let (mut said, mut given) = (String::new(), String::new());
    let add = |to: &mut String, value: &Value| to.push_str(value.as_str().unwrap_or_default());
    for event in datas(text) {
        match client {
            "completions" => add(&mut said, &event["choices"][0]["text"]),
            "responses" => match event["type"].as_str().unwrap() {
                "response.output_text.delta" => add(&mut said, &event["delta"]),
                "response.function_call_arguments.delta" => add(&mut given, &event["delta"]),
                _ => {}
            },
            "messages" => {
                add(&mut said, &event["delta"]["text"]);
                add(&mut given, &event["delta"]["partial_json"]);
            }
            "gemini" | "array" => {
                for part in event["candidates"][0]["content"]["parts"].as_array().into_iter().flatten() {
                    add(&mut said, &part["text"]);
                    if part["functionCall"].is_object() {
                        given.push_str(&part["functionCall"]["args"].to_string());
                    }
                }
            }
            _ => {
                add(&mut said, &event["choices"][0]["delta"]["content"]);
                add(&mut given, &event["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"]);
            }
        }
    }
    (said, given)
}

pub(super) fn has_ended(client: &str, text: &str) -> bool {
    match client {
        "responses" => text.contains("event: response.completed"),
        "messages" => text.trim_end().ends_with(r#"data: {"type":"message_stop"}"#),
        "gemini" => text.contains(r#""finishReason":"#),
        "array" => text.contains(r#""finishReason":"#) && text.trim_end().ends_with(']'),
        _ => text.ends_with("data: [DONE]\n\n"),
    }
}

#[tokio::test]
async fn streams_are_masked_across_their_pieces_in_every_dialect() {
    let mut stand = stand(&rail("mask", "")).await;
    for (provider, client) in pairs() {
        stand.upstream.set_plan(plan(provider, client, &SAID, &GIVEN));
        let (path, ask) = ask(client, &format!("{provider}/m"), true);
        let reply = stand.client().post(&path, ask).await;
        let text = reply.text();
        let what = format!("{client} of {provider}: {text}");
        assert_eq!(reply.status, 200, "{what}");
        let (said, given) = folded(client, &text);
        assert_eq!(said, MASKED, "{what}");
        assert!(has_ended(client, &text), "{what}");
        if client != "completions" {
            let given: Value = serde_json::from_str(&given).unwrap_or_else(|error| panic!("{error}: {what}"));
            assert_eq!(given, json!({"card": "[CARD]", "n": 1}), "{what}");
        }
        assert!(!leaks(&text), "{what}");
    }
    let metrics = stand.client().get("/metrics").await.unwrap().text();
    let wanted =
        "tidegate_guardrail_decisions_total{guardrail=\"personal\",action=\"mask\",stage=\"response\"} 19";
    assert!(metrics.contains(wanted), "{metrics}");
    stand.wait_drained().await;
}

#[tokio::test]
async fn a_block_in_mid_stream_is_one_error_and_no_end() {
    let stand = stand(&rail("block", "")).await;
    let long = "and so on and on, ".repeat(20);
    for (provider, client) in pairs() {
        let said = [&["first ", &long][..], &SAID].concat();
        stand.upstream.set_plan(Plan { delay: 20, ..plan(provider, client, &said, &GIVEN) });
        let (path, ask) = ask(client, &format!("{provider}/m"), true);
        let reply = stand.client().post(&path, ask).await;
        let text = reply.text();
        let what = format!("{client} of {provider}: {text}");
        assert_eq!(reply.status, 200, "{what}");
        assert!(
            text.contains("and so on") && text.contains("guardrail `personal` refuses the answer"),
            "{what}"
        );
        assert!(!has_ended(client, &text), "{what}");
        assert!(!leaks(&text), "{what}");
        let all = datas(&text);
        let last = all.last().unwrap().to_string();
        assert!(last.contains("guardrail"), "{what}");
    }
}

#[tokio::test]
async fn a_block_at_the_beginning_has_a_status() {
    let mut stand = stand(&rail("block", "")).await;
    for (provider, client) in pairs() {
        stand.upstream.set_plan(plan(provider, client, &[&SAID.concat()], &[]));
        let (path, ask) = ask(client, &format!("{provider}/m"), true);
        let reply = stand.client().post(&path, ask).await;
        let what = format!("{client} of {provider}: {}", reply.text());
        assert!(
            reply.status == 400 || (reply.status == 200 && reply.text().contains("guardrail `personal`")),
            "{what}"
        );
        assert!(!leaks(&reply.text()), "{what}");
        assert!(!has_ended(client, &reply.text()), "{what}");
    }
    stand.wait_drained().await;
}

#[tokio::test]
async fn whole_answers_are_masked_or_refused_in_every_dialect() {
    for action in ["mask", "block", "annotate"] {
        let mut stand = stand(&rail(action, "")).await;
        for provider in PROVIDERS {
            stand.upstream.set_plan(Plan {
                body: Some(body(provider, &SAID.concat(), &GIVEN.concat())),
                ..Plan::default()
            });
            for client in ["chat", "completions", "responses", "messages", "gemini"] {
                // Completions of the same provider are no chat completions.
                if (provider, client) == ("fake", "completions") || !pairs().contains(&(provider, client)) {
                    continue;
                }
                let (path, ask) = ask(client, &format!("{provider}/m"), false);
                let reply = stand.client().post(&path, ask).await;
                let text = reply.text();
                let what = format!("{action} {client} of {provider}: {text}");
                let told = format!("personal={action}");
                assert_eq!(reply.header("x-tidegate-guardrails"), Some(&*told), "{what}");
                match action {
                    "mask" => {
                        assert_eq!(reply.status, 200, "{what}");
                        assert!(text.contains(MASKED) && !leaks(&text), "{what}");
                        assert!(client == "completions" || text.matches("[CARD]").count() == 2, "{what}");
                    }
                    "block" => {
                        assert_eq!(reply.status, 400, "{what}");
                        assert!(
                            text.contains("guardrail `personal` refuses the answer") && !leaks(&text),
                            "{what}"
                        );
                        assert_eq!(reply.header("x-should-retry"), Some("false"));
                    }
                    _ => assert!(reply.status == 200 && text.contains(&SAID.concat()), "{what}"),
                }
            }
        }
        stand.wait_drained().await;
    }
}

#[tokio::test]
async fn only_what_is_masked_changes_in_an_answer() {
    let stand = stand(&rail("mask", "")).await;
    let answer = |text: &str, logs: &str| {
        format!(
            r#"{{ "id":"c","object" : "chat.completion", "choices":[{{"message":{{"content":"{text}" ,"role":"assistant","odd":1.0}}, "index":0,"logprobs":{logs},"finish_reason":"stop"}}], "big":12345678901234567890,"usage":{{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}}}"#
        )
    };
    let logs = r#"{"content":[{"token":"4111"},{"token":" 1111"}]}"#;
    for (said, logs, told, logs_told) in [
        ("\\u00e9\\/ 4111 1111 1111 111\\u0031", logs, "é/ [CARD]", "null"),
        ("\\u00e9\\/ 4111 1111 1111 1112", logs, "\\u00e9\\/ 4111 1111 1111 1112", logs),
    ] {
        stand.upstream.set_plan(Plan { body: Some(answer(said, logs)), ..Plan::default() });
        let reply = stand.client().chat("fake/m").await;
        assert_eq!(reply.text(), answer(told, logs_told));
    }
    // A stream in which nothing is found passes as it came.
    let plain = chat_events(&["nothing ", "to see", "."], &[]);
    stand.upstream.set_plan(Plan { events: Some(plain.clone()), ..Plan::default() });
    let (path, ask) = ask("chat", "fake/m", true);
    let reply = stand
        .client()
        .post(
            &path,
            ask.replace("\"stream\":true", "\"stream\":true,\"stream_options\":{\"include_usage\":true}"),
        )
        .await;
    assert_eq!(reply.text(), plain.concat());
}

#[tokio::test]
async fn a_refused_answer_is_paid_and_its_record_says_why() {
    let price = "[models.\"fake/m\"]\nprice = { input = \"1000000\", output = \"1000000\" }\n";
    let mut stand = stand(&format!("{price}{}", rail("block", ""))).await;
    stand.upstream.set_plan(Plan { body: Some(body("fake", &SAID.concat(), "{}")), ..Plan::default() });
    let reply = stand.client().chat("fake/m").await;
    assert_eq!(reply.status, 400, "{}", reply.text());
    assert!(
        reply.header("x-tidegate-cost").is_some_and(|cost| cost.starts_with("12")),
        "{:?}",
        reply.headers
    );
    let streamed = chat_events(&SAID, &[]);
    stand.upstream.set_plan(Plan { events: Some(streamed), delay: 10, ..Plan::default() });
    let _ = stand.client().stream("fake/m").await.rest().await;
    stand.wait_drained().await;
    let (code, out, err) = stand.command(&["logs", "--json"]);
    assert_eq!(code, 0, "{err}");
    let told = out.matches("guardrail_blocked").count();
    assert!(told >= 2 && out.contains("response block card=1"), "{out}");
    assert!(!stand.log().contains("4111"), "what was found is in the log");
}

#[tokio::test]
async fn what_was_kept_is_not_given_past_a_new_guardrail() {
    let cache = "[routes.r]\ntargets = [\"fake/m\"]\ncache = { enabled = true }\n";
    let mut stand = stand(cache).await;
    stand.upstream.set_plan(Plan { body: Some(body("fake", &SAID.concat(), "{}")), ..Plan::default() });
    let with_key = stand.client().header("idempotency-key", "one");
    let first = stand.client().chat("r").await;
    assert!(first.text().contains("4111"), "{}", first.text());
    assert_eq!(stand.client().chat("r").await.header("x-tidegate-cache"), Some("hit"));
    assert!(with_key.chat("r").await.text().contains("4111"));
    let base = stand.settings("");
    stand.write_file(&format!("{base}\n{cache}{}", rail("mask", "")));
    stand.signal(libc::SIGHUP);
    stand
        .wait_until("the guardrail", |stand| {
            let client = stand.client();
            async move { client.chat("r").await.text().contains("[CARD]") }
        })
        .await;
    let hit = stand.client().chat("r").await;
    assert_eq!(hit.header("x-tidegate-cache"), Some("hit"));
    assert!(hit.text().contains("[CARD]") && !hit.text().contains("4111"), "{}", hit.text());
    let again = with_key.chat("r").await;
    assert!(again.text().contains("[CARD]") && !again.text().contains("4111"), "{}", again.text());
}

#[tokio::test]
async fn what_cannot_be_looked_at_is_not_asked_for() {
    for (declared, status) in [("closed", 400), ("open", 200)] {
        let stand = stand(&rail("mask", &format!("on_failure = \"{declared}\""))).await;
        let before = stand.upstream.journal().count();
        let reply = stand.client().post("/passthrough/fake/moderations", r#"{"any":"thing"}"#).await;
        assert_eq!(reply.status, status, "{}", reply.text());
        assert_eq!(reply.header("x-tidegate-guardrails"), Some(&*format!("personal=failed_{declared}")));
        assert_eq!(stand.upstream.journal().count() - before, u64::from(status == 200));
        // What holds no words of a model is not refused.
        let vectors = stand.client().post("/v1/embeddings", r#"{"model":"fake/m","input":"a"}"#).await;
        assert_eq!(
            (vectors.status, vectors.header("x-tidegate-guardrails")),
            (200, None),
            "{}",
            vectors.text()
        );
    }
}

#[tokio::test]
async fn the_rest_of_a_text_comes_before_its_end() {
    let stand = stand(&rail("mask", "")).await;
    let said = ["on ", "card 4111 1111", " 1111 1111"];
    for (provider, client) in pairs() {
        stand.upstream.set_plan(plan(provider, client, &said, &[]));
        let (path, ask) = ask(client, &format!("{provider}/m"), true);
        let reply = stand.client().post(&path, ask).await;
        let text = reply.text();
        let what = format!("{client} of {provider}: {text}");
        assert_eq!(folded(client, &text).0, "on card [CARD]", "{what}");
        assert!(has_ended(client, &text) && !leaks(&text), "{what}");
        if client == "responses" {
            let numbers: Vec<u64> =
                datas(&text).iter().map(|event| event["sequence_number"].as_u64().unwrap()).collect();
            assert!(numbers.is_sorted_by(|one, next| one < next), "{what}");
        }
    }
}
