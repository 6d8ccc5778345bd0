//! The simulated provider as a client sees it, over a real socket.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

struct Answer {
    status: u16,
    head: String,
    body: String,
    /// The connection ended as HTTP says it should.
    whole: bool,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn events(&self) -> Vec<Value> {
        let data = self.body.lines().filter_map(|line| line.strip_prefix("data: "));
        data.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
    }

    fn text(&self) -> String {
        self.events()
            .iter()
            .filter_map(|event| event["choices"][0]["delta"]["content"].as_str().map(str::to_owned))
            .collect()
    }
}

async fn start() -> (SocketAddr, runtime::Tasks) {
    let tasks = runtime::Tasks::new();
    let demo = demo::start(runtime::Clock::system(), &tasks).await.unwrap();
    (demo.addr, tasks)
}

async fn call(addr: SocketAddr, method: &str, path: &str, body: &str) -> Answer {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    let whole = length.map_or_else(|| body.ends_with("0\r\n\r\n"), |length| length == body.len());
    Answer { status, head: head.to_owned(), body: body.to_owned(), whole }
}

async fn chat(addr: SocketAddr, body: Value) -> Answer {
    call(addr, "POST", "/v1/chat/completions", &body.to_string()).await
}

fn user(model: &str, text: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": format!("{text} [[pace=0]]")}]})
}

fn with(mut body: Value, more: &Value) -> Value {
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[tokio::test]
async fn every_model_answers_and_says_that_it_is_simulated() {
    let (addr, _tasks) = start().await;
    let listed = call(addr, "GET", "/v1/models", "").await.json();
    assert_eq!(listed["data"].as_array().unwrap().len(), demo::models().len());
    for model in demo::models() {
        assert_eq!(
            call(addr, "GET", &format!("/v1/models/{}", model.name), "").await.json()["id"],
            model.name
        );
        if matches!(model.name, "fail" | "embed" | "realtime") {
            continue;
        }
        let answer = chat(addr, user(model.name, "hello")).await;
        assert_eq!(answer.status, 200, "{}", model.name);
        assert!(answer.head.contains("x-simulated: true"));
        let json = answer.json();
        assert_eq!(json["system_fingerprint"], "simulated");
        let message = &json["choices"][0]["message"];
        let text = message["content"].as_str().or(message["refusal"].as_str()).unwrap().to_lowercase();
        assert!(text.contains("simulat"), "{}: {text}", model.name);
        if model.name != "flaky" {
            assert_eq!(
                chat(addr, user(model.name, "hello")).await.json()["choices"],
                json["choices"],
                "{}",
                model.name
            );
        }
    }
}

#[tokio::test]
async fn a_stream_folds_to_the_whole_answer() {
    let (addr, _tasks) = start().await;
    for model in ["echo", "story", "long", "json"] {
        let whole = chat(addr, user(model, "once")).await.json();
        let more = json!({"stream": true, "stream_options": {"include_usage": true}});
        let stream = chat(addr, with(user(model, "once"), &more)).await;
        assert!(stream.whole && stream.body.contains("data: [DONE]"));
        assert_eq!(stream.text(), whole["choices"][0]["message"]["content"].as_str().unwrap());
        let events = stream.events();
        let last = events.last().unwrap();
        assert_eq!(last["usage"], whole["usage"]);
        assert_eq!(last["choices"], json!([]));
        assert!(events[..events.len() - 1].iter().all(|event| event["usage"].is_null()));
        assert_eq!(whole["usage"]["completion_tokens"], events.len() - 3, "{model}: a token an event");
    }
}

#[tokio::test]
async fn limits_stops_and_choices() {
    let (addr, _tasks) = start().await;
    let limited =
        chat(addr, with(user("story", "x"), &json!({"max_tokens": 50, "max_completion_tokens": 7})))
            .await
            .json();
    assert_eq!(limited["choices"][0]["finish_reason"], "length");
    assert_eq!(limited["usage"]["completion_tokens"], 7);
    let stopped = chat(addr, with(user("echo", "one two three"), &json!({"stop": [" three"]}))).await.json();
    assert_eq!(stopped["choices"][0]["message"]["content"], "Simulated echo: one two");
    assert_eq!(stopped["choices"][0]["finish_reason"], "stop");
    let several = chat(addr, with(user("story", "x"), &json!({"n": 3}))).await.json();
    assert_eq!(several["choices"].as_array().unwrap().len(), 3);
    assert_ne!(several["choices"][0]["message"], several["choices"][1]["message"]);
    let exact = chat(addr, user("terse", "[[tokens=200]]")).await.json();
    assert_eq!(exact["usage"]["completion_tokens"], 200);
}

#[tokio::test]
async fn tools_are_called_then_answered() {
    let (addr, _tasks) = start().await;
    let tool = |name: &str| {
        json!({"type": "function", "function": {"name": name, "parameters": {"type": "object",
        "properties": {"city": {"type": "string"}}, "required": ["city"]}}})
    };
    let two = with(user("tools", "weather?"), &json!({"tools": [tool("weather"), tool("time")]}));
    let whole = chat(addr, two.clone()).await.json();
    let calls = whole["choices"][0]["message"]["tool_calls"].as_array().unwrap().clone();
    assert_eq!(whole["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[0]["function"]["arguments"], r#"{"city":"simulated"}"#);
    let stream = chat(addr, with(two.clone(), &json!({"stream": true}))).await;
    let mut arguments = [String::new(), String::new()];
    for event in stream.events() {
        for call in event["choices"][0]["delta"]["tool_calls"].as_array().into_iter().flatten() {
            let index = usize::try_from(call["index"].as_u64().unwrap()).unwrap();
            arguments[index].push_str(call["function"]["arguments"].as_str().unwrap());
        }
    }
    assert!(arguments.iter().all(|arguments| arguments == r#"{"city":"simulated"}"#), "{arguments:?}");
    let named = json!({"tool_choice": {"type": "function", "function": {"name": "time"}}});
    let one = chat(addr, with(two.clone(), &named)).await.json();
    assert_eq!(one["choices"][0]["message"]["tool_calls"][0]["function"]["name"], "time");
    let allowed = json!({"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [
        {"type": "function", "function": {"name": "time"}}]}}});
    let answer = chat(addr, with(two.clone(), &allowed)).await.json();
    let calls = answer["choices"][0]["message"]["tool_calls"].as_array().unwrap();
    assert_eq!(calls.iter().map(|call| &call["function"]["name"]).collect::<Vec<_>>(), ["time"]);
    let none = chat(addr, with(two.clone(), &json!({"tool_choice": "none"}))).await.json();
    assert_eq!(none["choices"][0]["finish_reason"], "stop");
    let mut after = two;
    let messages = after["messages"].as_array_mut().unwrap();
    messages.push(json!({"role": "assistant", "content": null, "tool_calls": calls}));
    messages.push(json!({"role": "tool", "tool_call_id": "a", "content": "sunny"}));
    let text =
        chat(addr, after).await.json()["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
    assert!(text.contains("sunny"), "{text}");
}

#[tokio::test]
async fn errors_have_the_shape_that_clients_expect() {
    let (addr, _tasks) = start().await;
    let asked = chat(addr, user("echo", "x [[status=429]] [[retry_after=7]]")).await;
    assert_eq!(asked.status, 429);
    assert!(asked.head.contains("retry-after: 7"));
    assert_eq!(asked.json()["error"]["type"], "rate_limit_error");
    assert_eq!(chat(addr, user("fail", "x")).await.status, 500);
    assert_eq!(chat(addr, user("nobody", "x")).await.json()["error"]["code"], "model_not_found");
    let mut seen = Vec::new();
    for _ in 0..6 {
        seen.push(chat(addr, user("flaky", "x")).await.status);
    }
    assert_eq!(seen, [200, 200, 503, 200, 200, 429]);
    for (wrong, param) in [
        (json!({"n": 0}), "n"),
        (json!({"stream": "yes"}), "stream"),
        (json!({"messages": []}), "messages"),
        (json!({"tool_choice": "required"}), "tool_choice"),
        (json!({"response_format": {"type": "x"}}), "response_format"),
        (json!({"max_tokens": -1}), "max_tokens"),
        (json!({"model": "embed"}), "model"),
    ] {
        let answer = chat(addr, with(user("echo", "x"), &wrong)).await;
        assert_eq!((answer.status, answer.json()["error"]["param"].as_str()), (400, Some(param)), "{wrong}");
    }
    assert_eq!(call(addr, "POST", "/v1/chat/completions", "{").await.status, 400);
    assert_eq!(call(addr, "GET", "/v1/nothing", "").await.status, 404);
}

#[tokio::test]
async fn dying_breaks_the_connection() {
    let (addr, _tasks) = start().await;
    let cut = chat(addr, with(user("story", "[[die=5]]"), &json!({"stream": true}))).await;
    assert_eq!(cut.events().len(), 6);
    assert!(!cut.whole && !cut.body.contains("[DONE]"));
    let half = chat(addr, user("story", "[[die=5]]")).await;
    assert!(!half.whole);
}

#[tokio::test]
async fn completions_embeddings_images_and_schemas() {
    let (addr, _tasks) = start().await;
    let body = json!({"model": "echo", "prompt": ["a", "b"], "max_tokens": 9, "echo": true, "metadata": {"pace": "0"}});
    let both = call(addr, "POST", "/v1/completions", &body.to_string()).await.json();
    assert_eq!(both["choices"][1]["text"], "bSimulated echo: b");
    let stream =
        call(addr, "POST", "/v1/completions", &with(body, &json!({"stream": true, "n": 1})).to_string())
            .await;
    assert!(stream.whole && stream.events().iter().any(|event| event["choices"][0]["index"] == 1));
    let body = json!({"model": "embed", "input": ["a", "b"], "dimensions": 4, "metadata": {"pace": "0"}});
    let vectors = call(addr, "POST", "/v1/embeddings", &body.to_string()).await.json();
    assert_eq!(vectors["usage"], json!({"prompt_tokens": 2, "total_tokens": 2}));
    let image = json!({"model": "vision", "metadata": {"pace": "0"}, "messages": [{"role": "user", "content": [
        {"type": "text", "text": "what?"}, {"type": "image_url", "image_url": {"url": "https://example.org/x.png"}},
        {"type": "image_url", "image_url": {"url": "data:image/gif;base64,R0lGODlhBwAJAA=="}}]}]});
    let seen =
        chat(addr, image).await.json()["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
    assert!(
        seen.contains("2 images") && seen.contains("7 by 9") && seen.contains("does not fetch"),
        "{seen}"
    );
    let schema = json!({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema":
        {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}}}});
    assert_eq!(
        chat(addr, with(user("json", "x"), &schema)).await.json()["choices"][0]["message"]["content"],
        r#"{"a":0}"#
    );
}

#[tokio::test]
async fn stopping_ends_idle_connections() {
    let (addr, tasks) = start().await;
    let _idle = TcpStream::connect(addr).await.unwrap();
    assert_eq!(chat(addr, user("terse", "x")).await.status, 200);
    tasks.stop();
    assert_eq!(tasks.drained(std::time::Duration::from_secs(10)).await, Vec::<&str>::new());
}
