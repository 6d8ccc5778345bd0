//! JSON of this dialect: objects read member by member, objects written member by member.
//!
//! Members are taken as pieces of the text that was read, so that whatever the form has no place for can be kept
//! verbatim, and so that nothing is parsed twice into trees.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::blocks::Raw;
use crate::blocks::request::Unreadable;
use crate::json::text::encode;

/// An object's members in order, as pieces of its text.
pub(super) struct Object<'a> {
    members: Vec<(Cow<'a, str>, &'a RawValue)>,
}

/// A wrong piece of a client's body.
pub(super) fn wrong(param: &'static str, message: String) -> Unreadable {
    Unreadable { message, param: Some(param), code: Some("invalid_value") }
}

/// A piece of a client's body that is of the wrong type.
pub(super) fn wrong_type(param: &'static str, path: &str, wanted: &str) -> Unreadable {
    Unreadable {
        message: format!("`{path}` must be {wanted}"),
        param: Some(param),
        code: Some("invalid_type"),
    }
}

impl<'a> Object<'a> {
    /// Reads an object; `None` when the text is anything else.
    pub(super) fn read(text: &'a str) -> Option<Self> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let members = reader.deserialize_map(Members).ok()?;
        reader.end().ok()?;
        Some(Self { members })
    }

    /// The same of bytes, with what is wrong.
    pub(super) fn of_body(body: &'a [u8]) -> Result<Self, Unreadable> {
        let invalid = |message| Unreadable { message, param: None, code: Some("invalid_json") };
        crate::json::validate(body)
            .map_err(|error| invalid(format!("the request body is not valid JSON: {error}")))?;
        std::str::from_utf8(body)
            .ok()
            .and_then(Self::read)
            .ok_or_else(|| invalid("the request body must be a JSON object".to_owned()))
    }

    /// A member that occurs twice, of which two readers could take different ones.
    pub(super) fn duplicate(&self) -> Option<&str> {
        let mut seen = std::collections::HashSet::new();
        self.members.iter().find(|(name, _)| !seen.insert(name.as_ref())).map(|(name, _)| name.as_ref())
    }

    /// Takes a member out; `null` is absent. Of several of one name the last counts.
    pub(super) fn take(&mut self, name: &str) -> Option<&'a RawValue> {
        let mut found = None;
        self.members.retain(|(member, value)| {
            let taken = member == name;
            if taken {
                found = Some(*value);
            }
            !taken
        });
        found.filter(|value| value.get() != "null")
    }

    /// Takes a text.
    pub(super) fn text(
        &mut self,
        param: &'static str,
        path: &str,
        name: &str,
    ) -> Result<Option<String>, Unreadable> {
        self.take(name).map(|value| string(param, &join(path, name), value)).transpose()
    }

    /// Takes a text that must be there.
    pub(super) fn needed(
        &mut self,
        param: &'static str,
        path: &str,
        name: &str,
    ) -> Result<String, Unreadable> {
        self.text(param, path, name)?.ok_or_else(|| missing(param, &join(path, name)))
    }

    /// Takes `true` or `false`.
    pub(super) fn boolean(
        &mut self,
        param: &'static str,
        path: &str,
        name: &str,
    ) -> Result<Option<bool>, Unreadable> {
        match self.take(name).map(RawValue::get) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(wrong_type(param, &join(path, name), "a boolean")),
        }
    }

    /// Takes an object.
    pub(super) fn object(
        &mut self,
        param: &'static str,
        path: &str,
        name: &str,
    ) -> Result<Option<Self>, Unreadable> {
        self.take(name)
            .map(|value| {
                Self::read(value.get()).ok_or_else(|| wrong_type(param, &join(path, name), "an object"))
            })
            .transpose()
    }

    /// A text of a provider's answer, where anything else is as good as absent.
    pub(super) fn loose_text(&mut self, name: &str) -> Option<String> {
        self.take(name).and_then(|value| serde_json::from_str(value.get()).ok())
    }

    /// The `type`, without taking it.
    pub(super) fn kind(&self) -> Option<String> {
        let (_, value) = self.members.iter().rev().find(|(name, _)| name == "type")?;
        serde_json::from_str(value.get()).ok()
    }

    /// Without members.
    pub(super) fn empty() -> Self {
        Self { members: Vec::new() }
    }

    /// What was not taken and is not `null`.
    pub(super) fn rest(self) -> impl Iterator<Item = (String, Raw)> {
        self.members
            .into_iter()
            .filter(|(_, value)| value.get() != "null")
            .filter_map(|(name, value)| Some((name.into_owned(), Raw::parse(value.get())?)))
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(Name(name)) = map.next_key()? {
            members.push((name, map.next_value()?));
        }
        Ok(members)
    }
}

#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// `path.name`, or the name alone at the top.
pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// A parameter that must be there and is not.
pub(super) fn missing(param: &'static str, path: &str) -> Unreadable {
    Unreadable {
        message: format!("`{path}` is missing"),
        param: Some(param),
        code: Some("missing_required_parameter"),
    }
}

/// Reads a text.
pub(super) fn string(param: &'static str, path: &str, value: &RawValue) -> Result<String, Unreadable> {
    serde_json::from_str(value.get()).map_err(|_| wrong_type(param, path, "a string"))
}

/// Reads an array as pieces of its text.
pub(super) fn array(value: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(value.get()).ok()
}

/// Writes one object or array into a buffer.
pub(super) struct Out<'o> {
    bytes: &'o mut Vec<u8>,
    first: bool,
    end: u8,
}

impl<'o> Out<'o> {
    /// Begins an object.
    pub(super) fn object(bytes: &'o mut Vec<u8>) -> Self {
        bytes.push(b'{');
        Self { bytes, first: true, end: b'}' }
    }

    /// Begins an array.
    pub(super) fn array(bytes: &'o mut Vec<u8>) -> Self {
        bytes.push(b'[');
        Self { bytes, first: true, end: b']' }
    }

    fn comma(&mut self) {
        if !self.first {
            self.bytes.push(b',');
        }
        self.first = false;
    }

    /// Begins a member; what is appended next is its value.
    pub(super) fn key(&mut self, name: &str) -> &mut Vec<u8> {
        self.comma();
        encode(name, self.bytes);
        self.bytes.push(b':');
        self.bytes
    }

    /// Begins an element of an array.
    pub(super) fn item(&mut self) -> &mut Vec<u8> {
        self.comma();
        self.bytes
    }

    /// A member of text.
    pub(super) fn text(&mut self, name: &str, value: &str) -> &mut Self {
        encode(value, self.key(name));
        self
    }

    /// A member of JSON. Line ends, which in JSON can only stand between values, become spaces, so that it fits into
    /// one line of a stream.
    pub(super) fn raw(&mut self, name: &str, json: &str) -> &mut Self {
        let bytes = self.key(name);
        one_line(json, bytes);
        self
    }

    /// A number.
    pub(super) fn number(&mut self, name: &str, value: impl fmt::Display) -> &mut Self {
        let value = value.to_string();
        self.key(name).extend_from_slice(value.as_bytes());
        self
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, name: &str, value: bool) -> &mut Self {
        self.raw(name, if value { "true" } else { "false" })
    }

    /// Closes it.
    pub(super) fn end(self) {
        self.bytes.push(self.end);
    }
}

/// Appends JSON without line ends.
pub(super) fn one_line(json: &str, bytes: &mut Vec<u8>) {
    let from = bytes.len();
    bytes.extend_from_slice(json.as_bytes());
    for byte in bytes.iter_mut().skip(from) {
        if matches!(*byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
}
