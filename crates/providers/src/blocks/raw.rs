//! A piece of JSON that is somebody else's: kept as the text it came as.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Valid JSON of one value, verbatim. Compared by its text.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Raw(Box<RawValue>);

impl Raw {
    /// Checks a text; `None` when it is not one JSON value.
    pub fn parse(text: &str) -> Option<Self> {
        RawValue::from_string(text.to_owned()).ok().map(Self)
    }

    /// The JSON of a value.
    pub fn of(value: &impl Serialize) -> Option<Self> {
        serde_json::value::to_raw_value(value).ok().map(Self)
    }

    /// The JSON string of a text.
    pub fn string(text: &str) -> Self {
        let mut quoted = Vec::with_capacity(text.len() + 2);
        crate::json::text::encode(text, &mut quoted);
        let quoted = String::from_utf8(quoted).unwrap_or_else(|_| "\"\"".to_owned());
        RawValue::from_string(quoted).map_or_else(|_| Self(RawValue::NULL.to_owned()), Self)
    }

    /// The text.
    pub fn get(&self) -> &str {
        self.0.get()
    }

    /// Whether it is `null`.
    pub fn is_null(&self) -> bool {
        self.get() == "null"
    }

    /// Whether it is an object.
    pub fn is_object(&self) -> bool {
        self.get().starts_with('{')
    }

    /// Reads it as a type; `None` when it is of another shape.
    pub fn read<'a, T: Deserialize<'a>>(&'a self) -> Option<T> {
        serde_json::from_str(self.get()).ok()
    }

    /// The string that it is, unescaped.
    pub fn as_text(&self) -> Option<String> {
        self.read()
    }
}

impl PartialEq for Raw {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Eq for Raw {}

impl std::fmt::Debug for Raw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.get())
    }
}
