//! Members of a JSON object by name, the values still text: one pass over the object, nothing built.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::blocks::Raw;
use crate::request::BadRequest;

/// The members of an object, in order; `null` counts as absent.
#[derive(Default)]
pub(super) struct Members<'a>(pub(super) Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs<'a>(std::marker::PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for Pairs<'a> {
            type Value = Members<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'a>, A::Error> {
                let mut members = Vec::with_capacity(8);
                while let Some(Key(key)) = map.next_key()? {
                    let value: &'a RawValue = map.next_value()?;
                    if value.get() != "null" {
                        members.push((key, value));
                    }
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Pairs(std::marker::PhantomData))
    }
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Members<'a> {
    /// Of an object; `None` when it is something else.
    pub(super) fn of(raw: &'a RawValue) -> Option<Self> {
        read(raw)
    }

    /// The value of a member (the last, as most readers take duplicates).
    pub(super) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| *value)
    }

    /// Removes all members of the name; the last value.
    pub(super) fn take(&mut self, name: &str) -> Option<&'a RawValue> {
        let value = self.get(name)?;
        self.0.retain(|(key, _)| key != name);
        Some(value)
    }

    /// A member that is a string.
    pub(super) fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        self.get(name).and_then(text)
    }

    /// A member that is an object.
    pub(super) fn object(&self, name: &str) -> Option<Self> {
        self.get(name).and_then(Self::of)
    }
}

/// Reads a value as a type.
pub(super) fn read<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Option<T> {
    serde_json::from_str(raw.get()).ok()
}

/// The string that a value is.
pub(super) fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    raw.get().starts_with('"').then(|| read::<Text<'_>>(raw).map(|text| text.0)).flatten()
}

/// The elements of an array.
pub(super) fn array(raw: &RawValue) -> Option<Vec<&RawValue>> {
    raw.get().starts_with('[').then(|| read(raw)).flatten()
}

/// The same text, owned.
pub(super) fn own(raw: &RawValue) -> Option<Raw> {
    Raw::of(&raw)
}

/// A member that has another type than the API says.
pub(super) fn wrong_type(param: &'static str, path: &str, wanted: &str) -> BadRequest {
    BadRequest {
        message: format!("`{path}` must be {wanted}"),
        param: Some(param),
        code: Some("invalid_type"),
    }
}

/// A member that the API cannot do without.
pub(super) fn missing(param: &'static str, path: &str) -> BadRequest {
    BadRequest {
        message: format!("`{path}` is missing"),
        param: Some(param),
        code: Some("missing_required_parameter"),
    }
}

/// A member of the right type whose value means nothing.
pub(super) fn wrong_value(param: &'static str, message: String) -> BadRequest {
    BadRequest { message, param: Some(param), code: Some("invalid_value") }
}
