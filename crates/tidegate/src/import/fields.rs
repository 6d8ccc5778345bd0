//! A table of a foreign file, from which a reader takes what it knows; what is left becomes findings.

use super::draft::Draft;
use serde_json::{Map, Value};

/// A table and the way to it.
pub(super) struct Fields {
    path: String,
    map: Map<String, Value>,
}

impl Fields {
    /// The whole file; a tree that is no table has no fields.
    pub(super) fn root(tree: Value) -> Fields {
        Fields::at(String::new(), tree)
    }

    pub(super) fn at(path: String, value: Value) -> Fields {
        let map = match value {
            Value::Object(map) => map,
            _ => Map::new(),
        };
        Fields { path, map }
    }

    /// The way to a field.
    pub(super) fn path(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// The way to the table itself.
    pub(super) fn here(&self) -> &str {
        if self.path.is_empty() { "file" } else { &self.path }
    }

    /// Takes a field of any type; what is null is not there.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.map.remove(name).filter(|value| !value.is_null())
    }

    /// Takes a field if it is of the type that is wanted; another stays and becomes a finding.
    fn take_if<T>(&mut self, name: &str, read: impl Fn(&Value) -> Option<T>) -> Option<T> {
        let read = read(self.map.get(name)?)?;
        self.map.remove(name);
        Some(read)
    }

    /// A text that is not empty.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        let text = self.take_if(name, |value| value.as_str().map(|text| text.trim().to_owned()))?;
        Some(text).filter(|text| !text.is_empty())
    }

    /// A number as it is written, also as a text.
    pub(super) fn number(&mut self, name: &str) -> Option<String> {
        self.take_if(name, |value| match value {
            Value::Number(number) => Some(number.to_string()),
            Value::String(text) if text.parse::<f64>().is_ok_and(f64::is_finite) => Some(text.clone()),
            _ => None,
        })
    }

    /// A number above 0 and below what any limit, weight or time is.
    pub(super) fn positive(&mut self, name: &str) -> Option<f64> {
        self.take_if(name, |value| {
            let number = match value {
                Value::Number(number) => number.as_f64()?,
                Value::String(text) => text.parse().ok()?,
                _ => return None,
            };
            (1e-6..=1e12).contains(&number).then_some(number)
        })
    }

    /// A whole number above 0.
    pub(super) fn count(&mut self, name: &str) -> Option<u64> {
        let number = self.positive(name)?;
        // Limits of tokens and money are far below what a float holds exactly.
        (number.fract() == 0.0).then_some(number as u64)
    }

    pub(super) fn boolean(&mut self, name: &str) -> Option<bool> {
        self.take_if(name, Value::as_bool)
    }

    /// A list of texts; one text is a list of one.
    pub(super) fn texts(&mut self, name: &str) -> Vec<String> {
        let read = self.take_if(name, |value| match value {
            Value::String(text) => Some(vec![text.clone()]),
            Value::Array(list) => list.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
            _ => None,
        });
        read.unwrap_or_default()
    }

    /// A table within.
    pub(super) fn table(&mut self, name: &str) -> Option<Fields> {
        let path = self.path(name);
        let value = self.take_if(name, |value| value.is_object().then(|| value.clone()))?;
        Some(Fields::at(path, value))
    }

    /// A list of values, each with the way to it.
    pub(super) fn list(&mut self, name: &str) -> Vec<(String, Value)> {
        let path = self.path(name);
        let list = self.take_if(name, |value| value.as_array().cloned()).unwrap_or_default();
        list.into_iter().enumerate().map(|(index, value)| (format!("{path}[{index}]"), value)).collect()
    }

    /// A list of tables.
    pub(super) fn tables(&mut self, name: &str) -> Vec<Fields> {
        self.list(name).into_iter().map(|(path, value)| Fields::at(path, value)).collect()
    }

    /// Every field, with its name.
    pub(super) fn all(self) -> Vec<(String, String, Value)> {
        let path =
            |name: &str| if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        self.map.iter().map(|(name, value)| (name.clone(), path(name), value.clone())).collect()
    }

    /// Notes a field that is known and has no place here.
    pub(super) fn note(&mut self, draft: &mut Draft, name: &str, message: &str) {
        if self.take(name).is_some() {
            draft.find(self.path(name), message);
        }
    }

    /// Forgets fields that change nothing.
    pub(super) fn ignore(&mut self, names: &[&str]) {
        for name in names {
            self.map.remove(*name);
        }
    }

    /// Whatever was not taken is a finding.
    pub(super) fn finish(self, draft: &mut Draft) {
        for (_, path, value) in self.all() {
            let empty = match &value {
                Value::Null => true,
                Value::String(text) => text.is_empty(),
                Value::Array(list) => list.is_empty(),
                Value::Object(map) => map.is_empty(),
                _ => false,
            };
            if !empty {
                draft.find(path, "is not carried");
            }
        }
    }
}
