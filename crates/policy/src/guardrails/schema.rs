//! Whether the text of an answer is JSON that keeps to a schema (JSON Schema, all drafts from 4 on).
//!
//! Nothing is ever loaded for it: a reference leads within the schema, or the schema is refused. Expressions in it are linear.

use boon::{Compiler, SchemaIndex, Schemas, UrlLoader};
use serde_json::Value;
use std::error::Error;
use std::fmt;

/// The schema's own address, which nobody asks.
const OWN: &str = "http://tidegate.invalid/schema";

/// A schema, compiled.
pub struct Schema {
    all: Schemas,
    own: SchemaIndex,
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Schema")
    }
}

struct Nowhere;

impl UrlLoader for Nowhere {
    fn load(&self, url: &str) -> Result<Value, Box<dyn Error>> {
        Err(format!("nothing is loaded from `{url}`: put it into the schema").into())
    }
}

impl Schema {
    /// Of a text of JSON.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of(text: &str) -> Result<Self, String> {
        let value: Value =
            serde_json::from_str(text).map_err(|error| format!("the schema is no JSON: {error}"))?;
        if !value.is_object() {
            return Err("the schema is no object".to_owned());
        }
        let (mut compiler, mut all) = (Compiler::new(), Schemas::new());
        compiler.use_loader(Box::new(Nowhere));
        compiler.add_resource(OWN, value).map_err(|error| error.to_string())?;
        let own = compiler.compile(OWN, &mut all).map_err(|error| {
            let told = format!("{error:#}").replace(OWN, "");
            told.split_whitespace().collect::<Vec<_>>().join(" ")
        })?;
        Ok(Self { all, own })
    }

    /// What is wrong with a text: `no_json`, or `schema`.
    pub fn broken_by(&self, text: &str) -> Option<&'static str> {
        let Ok(value) = serde_json::from_str::<Value>(text) else { return Some("no_json") };
        self.all.validate(&value, self.own).is_err().then_some("schema")
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_text_keeps_to_a_schema_or_not() {
        let schema = Schema::of(
            r##"{"type":"object","required":["n"],"properties":{"n":{"$ref":"#/$defs/n"}},"$defs":{"n":{"type":"integer"}}}"##,
        )
        .unwrap();
        assert_eq!(schema.broken_by(r#" {"n": 3} "#), None);
        assert_eq!(schema.broken_by(r#"{"n": "3"}"#), Some("schema"));
        assert_eq!(schema.broken_by("n is 3"), Some("no_json"));
        for (bad, says) in [
            ("{", "no JSON"),
            ("3", "no object"),
            (r#"{"type":"objekt"}"#, "type"),
            (r#"{"$ref":"file:///etc/passwd"}"#, "nothing is loaded"),
            (r#"{"$ref":"https://example.com/s"}"#, "nothing is loaded"),
        ] {
            let told = Schema::of(bad).unwrap_err();
            assert!(told.contains(says), "{bad}: {told}");
        }
    }
}
