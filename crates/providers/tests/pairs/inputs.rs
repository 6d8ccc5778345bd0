//! The inputs, as texts: numbers and the order of keys stay as they are written in the files.

use std::collections::BTreeMap;

use providers::dialects::Dialect;
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
pub(crate) struct Inputs {
    /// Bodies of clients, by feature.
    pub(crate) requests: BTreeMap<String, Box<RawValue>>,
    /// Answers of providers, by feature.
    pub(crate) answers: BTreeMap<String, Told>,
}

/// One answer, told in both ways.
#[derive(Deserialize)]
pub(crate) struct Told {
    pub(crate) answer: Box<RawValue>,
    stream: Vec<Box<RawValue>>,
}

impl Told {
    /// The whole body, without the file's white space.
    pub(crate) fn body(&self) -> String {
        compact(self.answer.get())
    }

    /// The data of each event.
    pub(crate) fn events(&self) -> Vec<String> {
        self.stream.iter().map(|event| compact(event.get())).map(unquoted).collect()
    }
}

fn unquoted(event: String) -> String {
    if event == "\"[DONE]\"" { "[DONE]".to_owned() } else { event }
}

pub(crate) fn of(dialect: Dialect) -> Inputs {
    let text = match dialect {
        Dialect::Chat => include_str!("inputs/chat.json"),
        Dialect::Responses => include_str!("inputs/responses.json"),
        Dialect::Messages => include_str!("inputs/messages.json"),
        Dialect::Gemini => include_str!("inputs/gemini.json"),
    };
    serde_json::from_str(text).unwrap()
}

/// JSON without white space between its tokens.
pub(crate) fn compact(json: &str) -> String {
    let (mut out, mut quoted, mut escaped) = (String::new(), false, false);
    for letter in json.chars() {
        if quoted {
            quoted = escaped || letter != '"';
            escaped = !escaped && letter == '\\';
            out.push(letter);
        } else if !letter.is_ascii_whitespace() {
            quoted = letter == '"';
            out.push(letter);
        }
    }
    out
}
