//! What nobody thinks of.

use providers::dialects::Dialect;

use crate::{asked, events, fold, read_answer, read_request, reply, translate, wire, write_request};

#[test]
fn odd_requests_are_written_as_json_or_refused() {
    for body in [
        r#"{"model":"m","messages":[{"role":"system","content":"Only this."}]}"#,
        r#"{"model":"m","messages":[{"role":"user","content":""}]}"#,
        r#"{"model":"m","messages":[{"role":"user","content":"a"},{"role":"assistant","content":null,"tool_calls":[{"id":"x","type":"function","function":{"name":"f","arguments":""}},{"id":"x","type":"function","function":{"name":"f","arguments":""}}]},{"role":"tool","tool_call_id":"x","content":""},{"role":"tool","tool_call_id":"x","content":"b"}]}"#,
    ] {
        let request = read_request(Dialect::Chat, body.as_bytes());
        for provider in Dialect::ALL {
            match write_request(provider, &request) {
                Ok(written) => {
                    serde_json::from_slice::<serde_json::Value>(&written.body).unwrap();
                }
                Err(refused) => assert!(!refused.message.is_empty() && !refused.param.is_empty()),
            }
        }
    }
}

#[test]
fn arguments_of_a_million_bytes_pass_whole_and_streamed() {
    let long = "\u{e9}".repeat(500_000);
    let arguments = serde_json::to_string(&format!("{{\"a\":\"{long}\"}}")).unwrap();
    let call = |name: &str| {
        format!(
            r#"{{"id":"chatcmpl-1","created":1,"model":"m","choices":[{{"index":0,"{name}":{{"role":"assistant","tool_calls":[{{"index":0,"id":"x","type":"function","function":{{"name":"f","arguments":{arguments}}}}}]}},"finish_reason":"tool_calls"}}]}}"#
        )
    };
    let stream = wire(Dialect::Chat, &[call("delta"), "[DONE]".to_owned()]);
    let asked = asked();
    for client in [Dialect::Responses, Dialect::Messages, Dialect::Gemini] {
        let whole = read_answer(Dialect::Chat, call("message").as_bytes());
        let whole = providers::dialects::write_answer(client, &whole, &reply(&asked));
        let streamed = translate(Dialect::Chat, client, &stream, 4096);
        let read = |answer: providers::blocks::Answer| match &answer.choices[0].parts[0] {
            providers::blocks::Part::ToolCall(call) => call.arguments.clone(),
            other => panic!("{other:?}"),
        };
        let whole = read(read_answer(client, &whole));
        assert_eq!(whole.len(), long.len() + 8);
        assert!(whole == read(fold(&events(client, &streamed)).answer()), "{client:?}");
    }
}
