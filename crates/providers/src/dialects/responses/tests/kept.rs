//! What is kept of an answer, and how the next request goes on from it.

use serde_json::value::RawValue;

use super::history::{
    Glance, Page, Standing, Stored, continued, ended, in_event, items_of, without_answer, write_page,
};
use super::*;

fn items(text: &str) -> Vec<Box<RawValue>> {
    serde_json::from_str(text).unwrap()
}

#[test]
fn items_are_kept_with_what_clients_leave_out() {
    let body = json!({"model": "m", "input": [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "hi", "type": "message"},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{\"n\":1.0}", "id": null},
        {"type": "function_call_output", "call_id": "c1", "output": "12", "status": null},
        {"type": "message", "id": "msg_mine", "role": "user", "content": [{"type": "input_text", "text": "x"}]},
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
    ]});
    let kept: Value = serde_json::from_str(&items_of(body.to_string().as_bytes(), "r").unwrap()).unwrap();
    assert_eq!(
        kept[0],
        json!({"id": "msg_r_in0", "type": "message", "status": "completed", "role": "user",
               "content": [{"type": "input_text", "text": "hello"}]})
    );
    assert_eq!(kept[1]["content"], json!([{"type": "output_text", "annotations": [], "text": "hi"}]));
    assert_eq!((&kept[2]["id"], &kept[2]["status"]), (&json!("fc_r_in2"), &json!("completed")));
    assert_eq!((&kept[3]["id"], &kept[3]["status"]), (&json!("fco_r_in3"), &json!("completed")));
    assert_eq!((&kept[4]["id"], &kept[5]["id"]), (&json!("msg_mine"), &json!("ws_1")));
    let text = items_of(br#"{"input":"a \"quoted\" word"}"#, "r").unwrap();
    let kept: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(kept[0]["content"][0]["text"], "a \"quoted\" word");
    assert!(items_of(br#"{"input":7}"#, "r").is_err());
    assert_eq!(items_of(br#"{"model":"m"}"#, "r").unwrap(), "[]");
}

/// The request of a client that lets us keep its history is read as that of a client that keeps it itself.
#[test]
fn a_request_that_goes_on_is_the_one_with_all_items() {
    let first = json!({"model": "m", "input": "weather?", "tools": []});
    let choice =
        Choice { parts: vec![Part::text("I look"), call("c1", "weather", "{}")], ..Choice::default() };
    let answer = Answer { choices: vec![choice], ..Answer::default() };
    let answered = write_answer(&answer, &reply(&read(&first)));
    let input = items_of(first.to_string().as_bytes(), "abc123").unwrap();
    let record = Stored::write(&input, &answered);
    let stored = Stored::read(&record).unwrap();
    let history: Vec<&RawValue> = stored.asked().into_iter().chain(stored.output()).collect();
    let next = json!({"model": "m", "previous_response_id": "resp_abc123", "temperature": 1.0, "input": [
        {"type": "function_call_output", "call_id": "c1", "output": "sunny"}]});
    let body = continued(next.to_string().as_bytes(), &history).unwrap();
    let whole = read_request(&body).unwrap();
    let output: Value = serde_json::from_slice(&answered).unwrap();
    let mut all = vec![json!({"role": "user", "content": "weather?"})];
    all.extend(output["output"].as_array().unwrap().iter().cloned());
    all.push(next["input"][0].clone());
    let own = read(&json!({"model": "m", "temperature": 1.0, "input": all}));
    assert_eq!(whole, own);
    assert_eq!(whole.previous, None);
    // A text goes on too; nothing at all is nothing more.
    let more =
        continued(br#"{"model":"m","previous_response_id":"x","input":"and now?"}"#, &history).unwrap();
    assert_eq!(read_request(&more).unwrap().turns.last().unwrap().parts, [Part::text("and now?")]);
    let none = continued(br#"{"model":"m","previous_response_id":"x"}"#, &history).unwrap();
    assert_eq!(read_request(&none).unwrap().turns.len(), 2);
}

#[test]
fn a_page_goes_in_either_order_and_tells_whether_there_is_more() {
    let all = items(r#"[{"id":"a"},{"id":"b"},{"id":"c"}]"#);
    let all: Vec<&RawValue> = all.iter().map(AsRef::as_ref).collect();
    let page = |page: &Page| -> Value { serde_json::from_slice(&write_page(&all, page).unwrap()).unwrap() };
    let first = page(&Page { limit: 2, ..Page::default() });
    assert_eq!(first["data"], json!([{"id": "c"}, {"id": "b"}]));
    assert_eq!((&first["first_id"], &first["last_id"]), (&json!("c"), &json!("b")));
    assert_eq!(first["has_more"], true);
    let rest = page(&Page { after: Some("b".into()), ..Page::default() });
    assert_eq!((&rest["data"], &rest["has_more"]), (&json!([{"id": "a"}]), &json!(false)));
    let rising = page(&Page { descending: false, after: Some("a".into()), limit: 1 });
    assert_eq!((&rising["data"], &rising["has_more"]), (&json!([{"id": "b"}]), &json!(true)));
    assert_eq!(write_page(&all, &Page { after: Some("z".into()), ..Page::default() }), None);
}

#[test]
fn a_response_without_an_answer_says_how_it_stands() {
    let request = Request {
        ours: Ours { previous: Some("resp_before".into()), background: true },
        ..read(&json!({"model": "m", "input": "x"}))
    };
    for (standing, status) in [(Standing::Queued, "queued"), (Standing::Going, "in_progress")] {
        let written = without_answer(&reply(&request), standing);
        let glance = Glance::of(&written).unwrap();
        assert_eq!((glance.id.as_str(), glance.status.as_str()), ("resp_abc123", status));
        assert!(glance.is_going());
        let object: Value = serde_json::from_slice(&written).unwrap();
        assert_eq!((&object["background"], &object["store"]), (&json!(true), &json!(true)));
        assert_eq!(
            (&object["previous_response_id"], &object["error"]),
            (&json!("resp_before"), &Value::Null)
        );
        let failed: Value =
            serde_json::from_slice(&ended(&written, "failed", Some(("upstream_error", "it died"))).unwrap())
                .unwrap();
        assert_eq!(failed["error"], json!({"code": "upstream_error", "message": "it died"}));
        let cancelled = ended(&written, "cancelled", None).unwrap();
        assert!(!Glance::of(&cancelled).unwrap().is_going());
        let mut cancelled: Value = serde_json::from_slice(&cancelled).unwrap();
        cancelled["status"] = object["status"].clone();
        assert_eq!(cancelled, object, "nothing else changes");
    }
}

#[test]
fn the_object_is_found_in_an_event() {
    let event = b"event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"resp_1\",\"status\":\"completed\"}}\n\n";
    assert_eq!(Glance::of(in_event(event).unwrap()).unwrap().id, "resp_1");
    let several = [b"event: x\ndata: {\"type\":\"x\"}\n\n", &event[..], b": comment\n\n"].concat();
    assert_eq!(in_event(&several), in_event(event));
    assert_eq!(in_event(b": comment\n\n"), None);
}
