//! What a model says where it is easily overlooked: in JSON that is a text, under names that are spelled otherwise, around events and
//! in errors.

use fakes::plan::Plan;
use serde_json::{Value, json};

use super::answers::{ask, body, chat_events, folded, pairs, plan, rail, stand};
use super::ends::{records, word};

/// A card that begins a line, and one that is a number.
const GIVEN: [&str; 6] =
    ["{\"note\":\"hi\\", "n4111 1111 1111", " 111\\u00", "31\",\"card\":41111111", "11111111", ",\"n\":1}"];

fn masked() -> Value {
    json!({"note": "hi\n[CARD]", "card": "[CARD]", "n": 1})
}

#[tokio::test]
async fn json_in_a_text_is_looked_at_as_what_it_says() {
    let given = GIVEN.concat().replace("111\\u0031", "1111");
    for action in ["mask", "block"] {
        let stand = stand(&rail(action, "")).await;
        for (provider, client) in pairs().into_iter().filter(|(_, client)| *client != "completions") {
            for stream in [true, false] {
                let (path, ask) = ask(client, &format!("{provider}/m"), stream);
                stand.upstream.set_plan(match stream {
                    true => plan(provider, client, &["hi"], &GIVEN),
                    false => Plan { body: Some(body(provider, "hi", &given)), ..Plan::default() },
                });
                let reply = stand.client().post(&path, ask).await;
                let text = reply.text();
                let what = format!("{action} {client} of {provider}: {text}");
                let own = text.replace("never say 4111 1111 1111 1111", "");
                assert!(!own.contains("4111 1111") && !own.contains("11111111"), "{what}");
                if action == "block" {
                    assert!(text.contains("guardrail `personal` refuses the answer"), "{what}");
                } else if stream {
                    let given: Value = serde_json::from_str(&folded(client, &text).1).unwrap();
                    assert_eq!(given, masked(), "{what}");
                } else {
                    let plain = text.replace("\\\"", "\"").replace("\\\\n", "\\n");
                    assert!(
                        plain.contains(r#""hi\n[CARD]""#) && plain.matches(r#""[CARD]""#).count() == 1,
                        "{what}"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn what_a_tool_gave_back_is_looked_at_as_what_it_says() {
    let rail = rail("mask", "").replace("\"response\"", "\"request\"");
    let stand = stand(&rail).await;
    let result = r#"{\"note\":\"hi\\n4111 1111 1111 1111\",\"card\":4111111111111111}"#;
    let ask = format!(
        r#"{{"model":"fake/m","messages":[{{"role":"user","content":"hi"}},{{"role":"assistant","tool_calls":[{{"id":"c","type":"function","function":{{"name":"f","arguments":"{result}"}}}}]}},{{"role":"tool","tool_call_id":"c","content":"{result}"}}]}}"#
    );
    let reply = stand.client().post("/v1/chat/completions", ask).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let sent: Value = serde_json::from_str(&stand.upstream.journal().last().unwrap().body.unwrap()).unwrap();
    let wanted = json!({"note": "hi\n[CARD]", "card": "[CARD]"});
    for place in ["/messages/1/tool_calls/0/function/arguments", "/messages/2/content"] {
        let text = sent.pointer(place).unwrap().as_str().unwrap();
        assert_eq!(serde_json::from_str::<Value>(text).unwrap(), wanted, "{text}");
    }
}

#[tokio::test]
async fn names_that_are_spelled_otherwise_are_the_same_names() {
    let stand = stand(&word("mask")).await;
    let otherwise = |text: String| {
        text.replace("\"choices\"", "\"ch\\u006fices\"").replace("\"content\"", "\"cont\\u0065nt\"")
    };
    stand
        .upstream
        .set_plan(Plan { body: Some(otherwise(body("fake", "a foobar", "{}"))), ..Plan::default() });
    let reply = stand.client().chat("fake/m").await;
    assert!(reply.text().contains("a [WORD]") && !reply.text().contains("foobar"), "{}", reply.text());
    let mut events = chat_events(&["a foo", "bar now"], &[]);
    events[1] = otherwise(events[1].clone());
    stand.upstream.set_plan(Plan { events: Some(events), ..Plan::default() });
    let (path, ask) = ask("chat", "fake/m", true);
    let text = stand.client().post(&path, ask).await.text();
    assert_eq!(folded("chat", &text).0, "a [WORD] now", "{text}");
}

#[tokio::test]
async fn an_index_of_something_else_does_not_begin_another_text() {
    let stand = stand(&word("mask")).await;
    let mut events = chat_events(&["a foo", "bar", " foo", "bar now"], &[]);
    events[2] = events[2].replace("{\"content\":\"bar\"}", "{\"content\":\"bar\",\"index\":1}");
    events[4] = events[4].replace("{\"content\":\"bar now\"}", "{\"content\":\"bar now\",\"thought\":true}");
    assert!(events[2].contains("\"index\":1") && events[4].contains("thought"));
    stand.upstream.set_plan(Plan { events: Some(events), ..Plan::default() });
    let (path, ask) = ask("chat", "fake/m", true);
    let text = stand.client().post(&path, ask).await.text();
    assert_eq!(folded("chat", &text).0, "a [WORD] [WORD] now", "{text}");
}

#[tokio::test]
async fn what_is_around_events_and_in_errors_is_not_said() {
    for action in ["mask", "block"] {
        let mut stand = stand(&word(action)).await;
        let mut events = chat_events(&["one ", "two"], &[]);
        events[1] =
            format!(": foobar comment\n\nid: foobar\nevent: foobar\nfoobar: foobar\n: foobar\n{}", events[1]);
        let end = events.pop().unwrap();
        events.push(format!(": foobar\n{end}"));
        stand.upstream.set_plan(Plan { events: Some(events), delay: 5, ..Plan::default() });
        let (path, call) = ask("chat", "fake/m", true);
        let text = stand.client().post(&path, call).await.text();
        assert!(folded("chat", &text).0 == "one two" && text.ends_with("data: [DONE]\n\n"), "{text}");
        assert!(!text.contains("foobar"), "{text}");
        for client in ["chat", "messages", "array"] {
            let mut events = chat_events(&["one ", "two"], &[]);
            events.truncate(2);
            events.push(
                "data: {\"error\":{\"message\":\"boom foobar\",\"type\":\"server_error\"}}\n\n".to_owned(),
            );
            stand.upstream.set_plan(Plan { events: Some(events), delay: 40, ..Plan::default() });
            let (path, call) = ask(client, "fake/m", true);
            let text = stand.client().post(&path, call).await.text();
            assert!(text.contains("one ") && !text.contains("foobar"), "{client}: {text}");
            let told = if action == "mask" { "boom [WORD]" } else { "guardrail `personal` refuses" };
            assert!(text.contains(told), "{client}: {text}");
            let line = &records(&mut stand).await[0];
            assert_eq!(line["guardrails"]["personal"], format!("response {action} word=1"), "{line}");
        }
    }
}
