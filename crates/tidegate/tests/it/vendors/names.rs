//! Tools whose names the vendor's alphabet refuses: the client never sees that they were called otherwise.

use super::*;

const ALL: [Provider<'static>; 3] = [
    ("anthropic", Manner::Anthropic, "", ""),
    ("gemini", Manner::Gemini, "", ""),
    ("openai", Manner::OpenAi, "/v1", ""),
];

fn odd() -> String {
    format!("mcp.files/{}", "read_".repeat(30))
}

/// Every name of a tool in what the vendor was sent.
fn told(body: &Value) -> Vec<String> {
    let mut names = Vec::new();
    let mut open = vec![body];
    while let Some(value) = open.pop() {
        match value {
            Value::Object(members) => {
                if let Some(name) = members.get("name").and_then(Value::as_str) {
                    names.push(name.to_owned());
                }
                open.extend(members.values());
            }
            Value::Array(items) => open.extend(items),
            _ => {}
        }
    }
    names
}

#[tokio::test]
async fn a_chat_client_calls_its_tools_by_their_own_names() {
    let (stand, vendors) = stand(&ALL, "").await;
    for (vendor, model) in vendors.iter().zip(["anthropic/claude-x", "gemini/gemini-x", "openai/gpt-6-astra"])
    {
        let mut sent_before = Vec::new();
        for stream in [false, true] {
            let mut body = ask(model, json!({ "tools": tools(), "stream": stream }));
            body["tools"][0]["function"]["name"] = json!(odd());
            let (_, message) = chat(&stand.client(), &body).await;
            assert_eq!(message["tool_calls"][0]["function"]["name"], json!(odd()), "{model}");
            let (_, said) = chat(&stand.client(), &with_result(&body, &message)).await;
            assert!(said["tool_calls"].as_array().is_none_or(Vec::is_empty), "{said}");
            let mut names = told(&sent(vendor).1);
            names.dedup();
            assert_eq!(names.len(), 1, "{model}: one name in every place: {names:?}");
            sent_before.push(names.remove(0));
        }
        assert_eq!(sent_before[0], sent_before[1]);
    }
}

#[tokio::test]
async fn a_gemini_client_keeps_its_dots() {
    let (stand, vendors) = stand(&ALL, "").await;
    let body = json!({ "contents": [{ "role": "user", "parts": [{ "text": "read" }] }],
        "tools": [{ "functionDeclarations": [{ "name": "files.read" }, { "name": "files_read" }] }] });
    for (stream, verb) in [(false, "generateContent"), (true, "streamGenerateContent?alt=sse")] {
        for (vendor, model) in [(0, "anthropic/claude-x"), (2, "openai/gpt-5-mini")] {
            let path = format!("/v1beta/models/{model}:{verb}");
            let reply = stand.client().post(&path, body.to_string()).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            let answer =
                if stream { events(&reply.text()).concat_parts() } else { reply.json().concat_parts() };
            assert!(answer.contains(r#""name":"files.read""#), "{answer}");
            let names = told(&sent(&vendors[vendor]).1);
            assert!(
                names.iter().any(|name| name == "files_read") && names.iter().all(|name| !name.contains('.')),
                "{names:?}"
            );
        }
        // What Google takes stays.
        let path = format!("/v1beta/models/gemini/gemini-x:{verb}");
        assert_eq!(stand.client().post(&path, body.to_string()).await.status, 200);
        assert!(told(&sent(&vendors[1]).1).contains(&"files.read".to_owned()));
    }
}

/// The parts of an answer, or of all its events, as one text.
trait Parts {
    fn concat_parts(&self) -> String;
}

impl Parts for Value {
    fn concat_parts(&self) -> String {
        self["candidates"][0]["content"]["parts"].to_string()
    }
}

impl Parts for Vec<Value> {
    fn concat_parts(&self) -> String {
        self.iter().map(Value::concat_parts).collect()
    }
}
