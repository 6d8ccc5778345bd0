//! Tools in a namespace, for providers that have none.

use super::*;
use crate::tool_names::ToolNames;

fn asked() -> Request {
    read(&json!({
        "model": "m",
        "input": [
            {"role": "user", "content": "read a"},
            {"type": "function_call", "call_id": "c1", "name": "read", "namespace": "files", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "it says b"},
        ],
        "tools": [
            {"type": "function", "name": "read", "parameters": schema()},
            {"type": "namespace", "name": "files", "description": "All about files.", "tools": [
                {"type": "function", "name": "read", "description": "Read one.", "parameters": schema()},
                {"type": "function", "name": "write", "parameters": schema()},
            ]},
            {"type": "web_search"},
        ],
    }))
}

fn written(request: &Request) -> (Value, Vec<String>) {
    let target =
        Target { model: "gpt-up", issuer: issuer(Dialect::Chat), max_output: None, stream_usage: true };
    let written = crate::dialects::write_request(Dialect::Chat, request, &target).unwrap();
    let dropped = written.dropped.into_iter().map(|param| param.0).collect();
    (serde_json::from_slice(&written.body).unwrap(), dropped)
}

#[test]
fn each_tool_has_a_name_of_its_own_and_is_called_by_both() {
    let request = asked();
    let names = ToolNames::of(&request, Dialect::Chat).unwrap();
    let (body, dropped) = written(&names.sent(&request));
    let told: Vec<_> =
        body["tools"].as_array().unwrap().iter().map(|tool| &tool["function"]["name"]).collect();
    assert_eq!(told, ["read", "files__read", "files__write"]);
    assert_eq!(body["tools"][1]["function"]["description"], "All about files.\n\nRead one.");
    assert_eq!(body["messages"][1]["tool_calls"][0]["function"]["name"], "files__read");
    // A search beside tools of its own.
    assert_eq!(dropped, ["tools.web_search"]);

    let parts = vec![call("c2", "files__write", "{}"), call("c3", "read", "{}")];
    let choice = Choice { parts, ..Choice::default() };
    let mut answer = Answer { choices: vec![choice], ..Answer::default() };
    names.back_in_answer(&mut answer);
    let answer: Value = serde_json::from_slice(&write_answer(&answer, &reply(&request))).unwrap();
    let calls: Vec<_> =
        answer["output"].as_array().unwrap().iter().map(|item| (&item["namespace"], &item["name"])).collect();
    assert_eq!(calls, [(&json!("files"), &json!("write")), (&Value::Null, &json!("read"))]);
    // What was asked is told as it was asked.
    assert_eq!(answer["tools"][1]["type"], "namespace");
    assert_eq!(answer["tools"][1]["name"], "files");
    assert_eq!(answer["tools"][1]["tools"][1]["name"], "write");
}

#[test]
fn a_search_alone_is_refused_and_so_is_one_that_is_demanded() {
    let mut request = asked();
    request.tool_choice = Some(ToolChoice::Required);
    let target =
        Target { model: "gpt-up", issuer: issuer(Dialect::Chat), max_output: None, stream_usage: true };
    let refusal =
        |request: &Request| crate::dialects::write_request(Dialect::Chat, request, &target).unwrap_err();
    let sent = ToolNames::of(&request, Dialect::Chat).unwrap().sent(&request);
    assert_eq!(refusal(&sent).param, "tools");
    let alone = read(&json!({"model": "m", "input": "x", "tools": [{"type": "web_search"}]}));
    assert_eq!(refusal(&alone).param, "tools");
    // What the question stands on.
    let files = read(&json!({"model": "m", "input": "x", "tools": [
        {"type": "function", "name": "read"}, {"type": "file_search", "vector_store_ids": ["v"]},
    ]}));
    assert_eq!(refusal(&files).param, "tools");
}

#[test]
fn a_namespace_needs_a_name_and_tools_that_are_tools() {
    for (tools, param) in [
        (json!([{"type": "namespace", "tools": []}]), "tools.name"),
        (json!([{"type": "namespace", "name": "n", "tools": 1}]), "tools.tools"),
        (json!([{"type": "namespace", "name": "n", "tools": [{"type": "function"}]}]), "tools.name"),
    ] {
        let body = json!({"model": "m", "input": "x", "tools": tools}).to_string();
        match read_request(body.as_bytes()) {
            Err(bad) => assert!(format!("{bad:?}").contains(param), "{bad:?}"),
            Ok(request) => panic!("{request:?}"),
        }
    }
}

#[test]
fn a_choice_finds_the_tool_with_or_without_its_namespace() {
    let chosen = |choice: Value| {
        let mut body = json!({
            "model": "m", "input": "x", "tool_choice": choice,
            "tools": [
                {"type": "function", "name": "read"},
                {"type": "namespace", "name": "files", "tools": [
                    {"type": "function", "name": "read"}, {"type": "function", "name": "write"},
                ]},
            ],
        });
        body["tools"].as_array_mut().unwrap().push(json!({"type": "web_search"}));
        read(&body).tool_choice.unwrap()
    };
    let one = |name: &str| ToolChoice::One { name: name.to_owned(), kind: ToolKind::Function };
    assert_eq!(chosen(json!({"type": "function", "name": "write"})), one("files\u{1f}write"));
    assert_eq!(chosen(json!({"type": "function", "name": "read"})), one("read"));
    assert_eq!(
        chosen(json!({"type": "function", "name": "read", "namespace": "files"})),
        one("files\u{1f}read")
    );
    assert_eq!(chosen(json!({"type": "function", "name": "none"})), one("none"));
    let allowed =
        json!({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "write"}]});
    let names = vec!["files\u{1f}write".to_owned()];
    assert_eq!(chosen(allowed), ToolChoice::Allowed { names, required: false });
}

#[test]
fn a_hosted_tool_that_is_demanded_by_name_is_not_left_out() {
    let mut request = asked();
    request.tool_choice = Some(ToolChoice::One { name: "web_search".to_owned(), kind: ToolKind::Function });
    assert!(!request.can_do_without("web_search_20250305"));
    request.tool_choice = Some(ToolChoice::One { name: "read".to_owned(), kind: ToolKind::Function });
    assert!(request.can_do_without("web_search_20250305"));
}
