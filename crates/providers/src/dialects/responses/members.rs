//! Members of an object, taken one by one: what is left over is what we do not know.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::blocks::Raw;
use crate::request::BadRequest;

/// An object's members in order. `null` counts as absent: SDKs send it for "not given".
#[derive(Debug, Default)]
pub(super) struct Members<'a> {
    list: Vec<(Cow<'a, str>, Option<&'a RawValue>)>,
}

#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut list = Vec::new();
                while let Some((Key(key), value)) = map.next_entry::<Key<'de>, &'de RawValue>()? {
                    list.push((key, Some(value)));
                }
                Ok(Members { list })
            }
        }

        deserializer.deserialize_map(Reader)
    }
}

/// The refusal of a value of another shape.
pub(super) fn wrong(param: &'static str, wanted: &str) -> BadRequest {
    BadRequest {
        message: format!("`{param}` must be {wanted}"),
        param: Some(param),
        code: Some("invalid_type"),
    }
}

/// The refusal of a value that has the right shape only.
pub(super) fn invalid(param: &'static str, message: impl Into<String>) -> BadRequest {
    BadRequest { message: message.into(), param: Some(param), code: Some("invalid_value") }
}

/// The refusal of a body that lacks something.
pub(super) fn missing(param: &'static str, message: impl Into<String>) -> BadRequest {
    BadRequest { message: message.into(), param: Some(param), code: Some("missing_required_parameter") }
}

/// Keeps a piece of a body.
pub(super) fn keep(raw: &RawValue) -> Option<Raw> {
    Raw::of(&raw)
}

impl<'a> Members<'a> {
    /// Of an object's text; `None` for anything else.
    pub(super) fn of(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The first key that is there twice.
    pub(super) fn twice(&self) -> Option<&str> {
        let mut seen = HashSet::with_capacity(self.list.len());
        self.list.iter().map(|(key, _)| key.as_ref()).find(|key| !seen.insert(*key))
    }

    /// Takes a member; of several of one name the last, as most readers do.
    pub(super) fn take(&mut self, key: &str) -> Option<&'a RawValue> {
        let mut found = None;
        for (name, value) in &mut self.list {
            if name == key
                && let Some(value) = value.take()
            {
                found = Some(value);
            }
        }
        found.filter(|value| value.get() != "null")
    }

    /// Takes a string.
    pub(super) fn text(&mut self, key: &str, param: &'static str) -> Result<Option<String>, BadRequest> {
        self.typed(key, param, "a string")
    }

    /// Takes a value of a type.
    pub(super) fn typed<T: Deserialize<'a>>(
        &mut self,
        key: &str,
        param: &'static str,
        wanted: &str,
    ) -> Result<Option<T>, BadRequest> {
        let Some(value) = self.take(key) else { return Ok(None) };
        serde_json::from_str(value.get()).map(Some).map_err(|_| wrong(param, wanted))
    }

    /// Takes an object.
    pub(super) fn inner(
        &mut self,
        key: &str,
        param: &'static str,
    ) -> Result<Option<Members<'a>>, BadRequest> {
        self.typed(key, param, "an object")
    }

    /// Takes a list, each element as its text.
    pub(super) fn list(
        &mut self,
        key: &str,
        param: &'static str,
    ) -> Result<Option<Vec<&'a RawValue>>, BadRequest> {
        self.typed(key, param, "an array")
    }

    /// Takes a number as it was written.
    pub(super) fn number(&mut self, key: &str, param: &'static str) -> Result<Option<Raw>, BadRequest> {
        let Some(value) = self.take(key) else { return Ok(None) };
        if !value.get().starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
            return Err(wrong(param, "a number"));
        }
        Ok(keep(value))
    }

    /// Takes anything.
    pub(super) fn raw(&mut self, key: &str) -> Option<Raw> {
        self.take(key).and_then(keep)
    }

    /// A string member, without taking it; `None` for anything else.
    pub(super) fn peek(&self, key: &str) -> Option<String> {
        let value = self.list.iter().rev().find(|(name, _)| name == key)?.1?;
        serde_json::from_str(value.get()).ok()
    }

    /// What was not taken, named after `prefix`; `null` says nothing and is left out.
    pub(super) fn rest(self, prefix: &str, extra: &mut Extra) {
        for (name, value) in self.list {
            if let Some(value) = value.filter(|value| value.get() != "null") {
                extra.add(format!("{prefix}{name}"), value);
            }
        }
    }
}

/// What the form has no place for, each name once.
#[derive(Debug, Default)]
pub(super) struct Extra {
    /// In order.
    pub(super) list: Vec<(String, Raw)>,
    names: HashSet<String>,
}

impl Extra {
    /// Notes a member; a name that is there already says enough.
    pub(super) fn add(&mut self, name: String, value: &RawValue) {
        if self.names.insert(name.clone())
            && let Some(raw) = keep(value)
        {
            self.list.push((name, raw));
        }
    }
}
