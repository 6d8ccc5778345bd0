//! What is kept of an answer so that a later request can go on from it: the items that were asked, and the Response
//! object that was answered.
//!
//! Kept and put before the next request as JSON of this dialect, item by item as the client wrote them and got them:
//! then a request that goes on from a stored answer is the very request of a client that keeps its history itself, and
//! takes the same way.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::build::{Object, object};
use super::shape::{Shape, State};
use crate::dialects::Reply;
use crate::json::text::{decode, encode};
use crate::json::top_level;
use crate::request::BadRequest;

/// How a response stands that has no answer yet.
#[derive(Clone, Copy, Debug)]
pub enum Standing {
    /// It waits for its turn.
    Queued,
    /// It is being made.
    Going,
}

/// The Response object of a response that has no answer yet.
pub fn without_answer(reply: &Reply<'_>, standing: Standing) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    let state = match standing {
        Standing::Queued => State::Waiting,
        Standing::Going => State::Going,
    };
    Shape::new(reply).write(state, &[], None, &mut out);
    out
}

/// The same response ended without an answer: `cancelled`, or `failed` with an error's code and message.
pub fn ended(response: &[u8], status: &str, error: Option<(&str, &str)>) -> Option<Vec<u8>> {
    let members = top_level(response).ok()?;
    let mut out = Vec::with_capacity(response.len() + 128);
    object(&mut out, |o| {
        for field in &members.fields {
            let Some(key) = decode(field.key.of(response)) else { continue };
            match (key.as_str(), error) {
                ("status", _) => _ = o.text("status", status),
                ("error", Some((code, message))) => {
                    o.object("error", |o| _ = o.text("code", code).text("message", message));
                }
                _ => o.value(&key).extend_from_slice(field.value.of(response)),
            }
        }
    });
    Some(out)
}

/// A stored answer: the items that were asked, and the Response object.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Stored<'a> {
    /// A list of items.
    #[serde(borrow)]
    pub input: &'a RawValue,
    /// The Response object.
    #[serde(borrow)]
    pub response: &'a RawValue,
}

impl<'a> Stored<'a> {
    /// Reads what [`Stored::write`] wrote.
    pub fn read(text: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }

    /// As one text. `input` is a list of items, `response` an object.
    pub fn write(input: &str, response: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(input.len() + response.len() + 32);
        out.extend_from_slice(b"{\"input\":");
        out.extend_from_slice(input.as_bytes());
        out.extend_from_slice(b",\"response\":");
        out.extend_from_slice(response);
        out.push(b'}');
        out
    }

    /// The items of the answer.
    pub fn output(&self) -> Vec<&'a RawValue> {
        #[derive(Deserialize)]
        struct Wire<'a> {
            #[serde(borrow, default)]
            output: Vec<&'a RawValue>,
        }
        serde_json::from_str::<Wire<'a>>(self.response.get()).map(|wire| wire.output).unwrap_or_default()
    }

    /// The items of the request.
    pub fn asked(&self) -> Vec<&'a RawValue> {
        serde_json::from_str(self.input.get()).unwrap_or_default()
    }
}

/// What is seen of a Response object at a glance.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct Glance {
    /// `resp_…`
    #[serde(default)]
    pub id: String,
    /// `completed`, `queued`, …
    #[serde(default)]
    pub status: String,
}

impl Glance {
    /// Of a Response object.
    pub fn of(response: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(response).ok().filter(|glance| !glance.id.is_empty())
    }

    /// Whether it is still being made.
    pub fn is_going(&self) -> bool {
        matches!(self.status.as_str(), "queued" | "in_progress")
    }
}

/// The Response object that the last of these server-sent events carries.
pub fn in_event(events: &[u8]) -> Option<&[u8]> {
    #[derive(Deserialize)]
    struct Event<'a> {
        #[serde(borrow)]
        response: &'a RawValue,
    }
    let mut lines = events.split(|byte| *byte == b'\n').rev().filter_map(|line| line.strip_prefix(b"data:"));
    let event = lines.find_map(|line| serde_json::from_slice::<Event<'_>>(line).ok())?;
    Some(event.response.get().as_bytes())
}

/// The items of a request's `input` as they are kept: each is an object with an id and a type. Ids are made of `reply`.
///
/// # Errors
/// When the body or its `input` is not what the dialect wants.
pub fn items_of(body: &[u8], reply: &str) -> Result<String, BadRequest> {
    let input = input_of(body)?;
    let mut out = String::from("[");
    match input {
        Input::Nothing => {}
        Input::Text(quoted) => {
            out.push_str(&format!(
                r#"{{"id":"msg_{reply}_in0","type":"message","status":"completed","role":"user","content":[{{"type":"input_text","text":{quoted}}}]}}"#
            ));
        }
        Input::Items(items) => {
            for (number, item) in items.into_iter().enumerate() {
                if number > 0 {
                    out.push(',');
                }
                put_item(item.get(), reply, number, &mut out).ok_or_else(wrong_input)?;
            }
        }
    }
    out.push(']');
    Ok(out)
}

enum Input<'a> {
    Nothing,
    Text(&'a str),
    Items(Vec<&'a RawValue>),
}

fn wrong_input() -> BadRequest {
    super::members::wrong("input", "a string or an array of items")
}

fn input_of(body: &[u8]) -> Result<Input<'_>, BadRequest> {
    let object = top_level(body).map_err(|_| wrong_input())?;
    let Some(value) = object.value(body, "input") else { return Ok(Input::Nothing) };
    match value.first() {
        Some(b'"') => std::str::from_utf8(value).map(Input::Text).map_err(|_| wrong_input()),
        Some(b'[') => serde_json::from_slice(value).map(Input::Items).map_err(|_| wrong_input()),
        _ => Err(wrong_input()),
    }
}

/// Writes an item with what clients may leave out: `type`, `id`, `status`, the long form of a message's content.
fn put_item(item: &str, reply: &str, number: usize, out: &mut String) -> Option<()> {
    let text = item.as_bytes();
    let members = top_level(text).ok()?;
    let word = |key: &str| members.value(text, key).and_then(decode);
    let kind = word("type").unwrap_or_else(|| "message".to_owned());
    let prefix = match kind.as_str() {
        "message" => "msg",
        "function_call" => "fc",
        "custom_tool_call" => "ctc",
        "function_call_output" => "fco",
        "custom_tool_call_output" => "ctco",
        "reasoning" => "rs",
        _ => "item",
    };
    let mut bytes = Vec::with_capacity(text.len() + 96);
    object(&mut bytes, |o| {
        match word("id").filter(|id| !id.is_empty()) {
            Some(id) => o.text("id", &id),
            None => o.text("id", &format!("{prefix}_{reply}_in{number}")),
        };
        o.text("type", &kind);
        let tells = matches!(prefix, "msg" | "fc" | "fco" | "ctc" | "ctco");
        if tells && members.value(text, "status").is_none() {
            o.text("status", "completed");
        }
        for field in &members.fields {
            let (key, value) = (field.key.of(text), field.value.of(text));
            let known = ["id", "type"].iter().any(|known| field.key_is(text, known));
            if known || (value == b"null" && field.key_is(text, "status")) {
                continue;
            }
            let Some(key) = decode(key) else { continue };
            if kind == "message" && key == "content" && value.first() == Some(&b'"') {
                put_text(word("role").as_deref(), value, o);
            } else {
                o.value(&key).extend_from_slice(value);
            }
        }
    });
    out.push_str(std::str::from_utf8(&bytes).ok()?);
    Some(())
}

fn put_text(role: Option<&str>, quoted: &[u8], o: &mut Object<'_>) {
    o.array("content", [quoted], |quoted, out| {
        object(out, |o| {
            if role == Some("assistant") {
                o.text("type", "output_text").json("annotations", "[]");
            } else {
                o.text("type", "input_text");
            }
            o.value("text").extend_from_slice(quoted);
        });
    });
}

/// A request that goes on from stored answers, as one that needs none: their items, oldest first, stand before its own.
///
/// # Errors
/// When the body or its `input` is not what the dialect wants.
pub fn continued(body: &[u8], history: &[&RawValue]) -> Result<Bytes, BadRequest> {
    let own = input_of(body)?;
    let members = top_level(body).map_err(|_| wrong_input())?;
    let before: usize = history.iter().map(|item| item.get().len() + 1).sum();
    let mut out = Vec::with_capacity(body.len() + before + 64);
    out.extend_from_slice(b"{\"input\":[");
    let mut first = true;
    let mut put = |text: &str, out: &mut Vec<u8>| {
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        out.extend_from_slice(text.as_bytes());
    };
    for item in history {
        put(item.get(), &mut out);
    }
    match own {
        Input::Nothing | Input::Text("\"\"") => {}
        Input::Text(quoted) => put(&format!(r#"{{"role":"user","content":{quoted}}}"#), &mut out),
        Input::Items(items) => items.into_iter().for_each(|item| put(item.get(), &mut out)),
    }
    out.push(b']');
    for field in &members.fields {
        if ["input", "previous_response_id"].iter().any(|gone| field.key_is(body, gone)) {
            continue;
        }
        out.push(b',');
        out.extend_from_slice(field.key.of(body));
        out.push(b':');
        out.extend_from_slice(field.value.of(body));
    }
    out.push(b'}');
    Ok(out.into())
}

/// Which part of a list of items is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The latest first.
    pub descending: bool,
    /// Only what comes after the item of this id, in the order asked for.
    pub after: Option<String>,
    /// From 1 to 100.
    pub limit: usize,
}

impl Default for Page {
    fn default() -> Self {
        Self { descending: true, after: None, limit: 20 }
    }
}

/// The list object of a page of items, which are given oldest first; `None` where there is no item `after`.
pub fn write_page(items: &[&RawValue], page: &Page) -> Option<Vec<u8>> {
    let id = |item: &&RawValue| {
        let text = item.get().as_bytes();
        top_level(text).ok()?.value(text, "id").and_then(decode)
    };
    let mut ordered: Vec<&RawValue> = items.to_vec();
    if page.descending {
        ordered.reverse();
    }
    let from = match &page.after {
        None => 0,
        Some(after) => ordered.iter().position(|item| id(item).as_ref() == Some(after))? + 1,
    };
    let rest = &ordered[from..];
    let shown = &rest[..rest.len().min(page.limit)];
    let mut out = Vec::with_capacity(256 + shown.iter().map(|item| item.get().len() + 1).sum::<usize>());
    object(&mut out, |o| {
        o.text("object", "list");
        o.array("data", shown, |item, out| out.extend_from_slice(item.get().as_bytes()));
        o.text_or_null("first_id", shown.first().and_then(id).as_deref());
        o.text_or_null("last_id", shown.last().and_then(id).as_deref());
        o.flag("has_more", shown.len() < rest.len());
    });
    Some(out)
}

/// What is answered when a response is deleted.
pub fn write_deleted(id: &str) -> Vec<u8> {
    let mut out = b"{\"id\":".to_vec();
    encode(id, &mut out);
    out.extend_from_slice(b",\"object\":\"response\",\"deleted\":true}");
    out
}
