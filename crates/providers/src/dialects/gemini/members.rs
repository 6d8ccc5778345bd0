//! Objects as Google sends them: members by their camelCase names, values as the text they came as.
//!
//! Google's servers take `inline_data` for `inlineData` and a number in quotes for a number, so this does too. `null`
//! is the same as absent. Values stay unread until somebody asks, so that what nobody knows is kept verbatim.

use std::borrow::Cow;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::blocks::Raw;
use crate::blocks::request::Unreadable;

/// The members of an object, in order, without those that are `null`.
#[derive(Debug, Default)]
pub(super) struct Members<'a> {
    list: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Members<'a> {
    /// Reads an object; `None` for any other text.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Takes a member out; of several of the same name the last one counts.
    pub(super) fn take(&mut self, name: &str) -> Option<&'a RawValue> {
        let mut found = None;
        self.list.retain(|(key, value)| {
            let is_it = key == name;
            if is_it {
                found = Some(*value);
            }
            !is_it
        });
        found
    }

    /// Looks at a member.
    pub(super) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.list.iter().rev().find(|(key, _)| key == name).map(|(_, value)| *value)
    }

    /// What has not been taken.
    pub(super) fn rest(self) -> Vec<(Cow<'a, str>, &'a RawValue)> {
        self.list
    }

    /// The first name that has not been taken.
    pub(super) fn first_name(&self) -> Option<&str> {
        self.list.first().map(|(key, _)| key.as_ref())
    }

    /// A string that matters to nobody when it is something else.
    pub(super) fn take_text(&mut self, name: &str) -> Option<String> {
        serde_json::from_str(self.take(name)?.get()).ok()
    }
}

#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut list = Vec::new();
                while let Some(Name(key)) = map.next_key::<Name<'de>>()? {
                    let value: &'de RawValue = map.next_value()?;
                    if value.get() != "null" {
                        list.push((camel(key), value));
                    }
                }
                Ok(Members { list })
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// `inline_data` as `inlineData`; names that have no underscore inside stay as they are.
pub(super) fn camel(name: Cow<'_, str>) -> Cow<'_, str> {
    if !name.get(1..).is_some_and(|rest| rest.contains('_')) {
        return name;
    }
    let mut camel = String::with_capacity(name.len());
    let mut raise = false;
    for letter in name.chars() {
        if letter == '_' && !camel.is_empty() {
            raise = true;
        } else if raise {
            camel.push(letter.to_ascii_uppercase());
            raise = false;
        } else {
            camel.push(letter);
        }
    }
    Cow::Owned(camel)
}

/// A value verbatim.
pub(super) fn keep(value: &RawValue) -> Raw {
    Raw::of(&value).unwrap_or_else(|| Raw::string(""))
}

/// The error of a value that is not what it must be.
pub(super) fn wrong(param: &'static str, wanted: &str) -> Unreadable {
    Unreadable {
        message: format!("{param} must be {wanted}"),
        param: Some(param),
        code: Some("invalid_type"),
    }
}

/// The error of a value that is of the right type and means nothing.
pub(super) fn invalid(param: &'static str, message: String) -> Unreadable {
    Unreadable { message, param: Some(param), code: Some("invalid_value") }
}

/// The error of a member that must be there.
pub(super) fn missing(param: &'static str) -> Unreadable {
    Unreadable {
        message: format!("{param} is missing"),
        param: Some(param),
        code: Some("missing_required_parameter"),
    }
}

pub(super) fn object<'a>(value: &'a RawValue, param: &'static str) -> Result<Members<'a>, Unreadable> {
    Members::parse(value.get()).ok_or_else(|| wrong(param, "an object"))
}

pub(super) fn list<'a>(value: &'a RawValue, param: &'static str) -> Result<Vec<&'a RawValue>, Unreadable> {
    serde_json::from_str(value.get()).map_err(|_| wrong(param, "a list"))
}

pub(super) fn objects<'a>(value: &'a RawValue, param: &'static str) -> Result<Vec<Members<'a>>, Unreadable> {
    serde_json::from_str(value.get()).map_err(|_| wrong(param, "a list of objects"))
}

pub(super) fn text(value: &RawValue, param: &'static str) -> Result<String, Unreadable> {
    serde_json::from_str(value.get()).map_err(|_| wrong(param, "a string"))
}

pub(super) fn texts(value: &RawValue, param: &'static str) -> Result<Vec<String>, Unreadable> {
    serde_json::from_str(value.get()).map_err(|_| wrong(param, "a list of strings"))
}

pub(super) fn flag(value: &RawValue, param: &'static str) -> Result<bool, Unreadable> {
    serde_json::from_str(value.get()).map_err(|_| wrong(param, "true or false"))
}

/// A number, as it was written.
pub(super) fn number(value: &RawValue, param: &'static str) -> Result<Raw, Unreadable> {
    match value.get().as_bytes().first() {
        Some(b'-' | b'0'..=b'9') => Ok(keep(value)),
        _ => Err(wrong(param, "a number")),
    }
}

/// A whole number, also in quotes, as Google's 64-bit numbers are.
pub(super) fn whole(value: &RawValue, param: &'static str) -> Result<i64, Unreadable> {
    integer(value).ok_or_else(|| wrong(param, "an integer"))
}

/// A count; negative ones are refused.
pub(super) fn count(value: &RawValue, param: &'static str) -> Result<u64, Unreadable> {
    u64::try_from(whole(value, param)?).map_err(|_| wrong(param, "a positive integer"))
}

/// A whole number, also in quotes or with a fraction of zero.
pub(super) fn integer(value: &RawValue) -> Option<i64> {
    let text = value.get().trim_matches('"');
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let float = text.parse::<f64>().ok()?;
    #[expect(clippy::cast_possible_truncation, reason = "integral and small")]
    (float.fract() == 0.0 && float.abs() < 1e15).then_some(float as i64)
}
