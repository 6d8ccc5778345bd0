//! Google's older way to write a schema (a subset of OpenAPI with types in capitals) as JSON Schema.
//!
//! One pass over the text by the scanner, no tree and no recursion: numbers and order stay as they were. Only members
//! that mean something else in JSON Schema change: `type` is written in small letters, `nullable` becomes a second type,
//! limits in quotes (Google's 64-bit numbers) become numbers, names in snake_case their camelCase.

use std::borrow::Cow;

use crate::blocks::Raw;
use crate::json::text::{decode, encode};
use crate::json::{Span, StringToken, Visitor, scan_value};

use super::members::camel;

/// The JSON Schema of a schema; verbatim when it cannot be read as one.
pub(super) fn to_json_schema(schema: &Raw) -> Raw {
    let text = schema.get();
    let mut rewriter = Rewriter { out: Vec::with_capacity(text.len()), ..Rewriter::default() };
    if scan_value(text.as_bytes(), 0, &mut rewriter).is_err() {
        return schema.clone();
    }
    let out = rewriter.finish();
    String::from_utf8(out).ok().and_then(|text| Raw::parse(&text)).unwrap_or_else(|| schema.clone())
}

/// What the values inside a container are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Members of a schema.
    Schema,
    /// Schemas by name, or a list of them.
    Schemas,
    /// Anything: examples, defaults, enumerations.
    Data,
}

#[derive(Debug)]
struct Container {
    place: Place,
    any: bool,
    /// Where the value of `type` stands in the output.
    kind: Option<(usize, usize)>,
    nullable: bool,
}

#[derive(Debug, Default)]
struct Rewriter {
    out: Vec<u8>,
    stack: Vec<Container>,
    /// The key whose value comes next.
    key: Option<String>,
    /// Types that also admit `null`.
    nullable: Vec<(usize, usize)>,
}

impl Rewriter {
    /// Separates the next value from what was before, and writes its key.
    fn begin_value(&mut self) {
        if let Some(container) = self.stack.last_mut() {
            if container.any {
                self.out.push(b',');
            }
            container.any = true;
        }
        if let Some(key) = &self.key {
            encode(key, &mut self.out);
            self.out.push(b':');
        }
    }

    fn in_schema(&self) -> bool {
        self.stack.last().is_some_and(|container| container.place == Place::Schema)
    }

    fn is_limit(&self) -> bool {
        const LIMITS: [&str; 6] =
            ["minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"];
        self.in_schema() && self.key.as_deref().is_some_and(|key| LIMITS.contains(&key))
    }

    fn write_type(&mut self, kind: &str) {
        let from = self.out.len();
        if kind.eq_ignore_ascii_case("TYPE_UNSPECIFIED") {
            self.out.extend_from_slice(br#"["string","number","integer","boolean","array","object","null"]"#);
        } else {
            encode(&kind.to_ascii_lowercase(), &mut self.out);
            let span = (from, self.out.len());
            if let Some(container) = self.stack.last_mut() {
                container.kind = Some(span);
            }
        }
    }

    fn finish(mut self) -> Vec<u8> {
        if self.nullable.is_empty() {
            return self.out;
        }
        self.nullable.sort_unstable();
        let mut whole = Vec::with_capacity(self.out.len() + 9 * self.nullable.len());
        let mut done = 0;
        for (from, to) in self.nullable {
            whole.extend_from_slice(&self.out[done..from]);
            whole.push(b'[');
            whole.extend_from_slice(&self.out[from..to]);
            whole.extend_from_slice(b",\"null\"]");
            done = to;
        }
        whole.extend_from_slice(&self.out[done..]);
        whole
    }
}

impl Visitor for Rewriter {
    fn key(&mut self, _: usize, text: &[u8], key: StringToken) {
        let name = decode(key.outer().of(text)).unwrap_or_default();
        let name = match self.stack.last().map(|container| container.place) {
            Some(Place::Schema) => match camel(Cow::Owned(name)).into_owned().as_str() {
                "defs" => "$defs".to_owned(),
                "ref" => "$ref".to_owned(),
                name => name.to_owned(),
            },
            _ => name,
        };
        self.key = Some(name);
    }

    fn string(&mut self, _: usize, text: &[u8], string: StringToken) {
        let quoted = string.outer().of(text);
        let is_type = self.in_schema() && self.key.as_deref() == Some("type");
        let is_limit = self.is_limit();
        self.begin_value();
        let inner = string.inner.of(text);
        if is_type && let Some(kind) = decode(quoted) {
            self.write_type(&kind);
        } else if is_limit && !inner.is_empty() && inner.len() < 19 && inner.iter().all(u8::is_ascii_digit) {
            let digits = inner.iter().position(|digit| *digit != b'0').unwrap_or(inner.len() - 1);
            self.out.extend_from_slice(&inner[digits..]);
        } else {
            self.out.extend_from_slice(quoted);
        }
        self.key = None;
    }

    fn scalar(&mut self, _: usize, text: &[u8], span: Span) {
        if self.in_schema() && self.key.as_deref() == Some("nullable") {
            if let Some(container) = self.stack.last_mut() {
                container.nullable = span.of(text) == b"true";
            }
        } else {
            self.begin_value();
            self.out.extend_from_slice(span.of(text));
        }
        self.key = None;
    }

    fn open(&mut self, _: usize, _: &[u8], _: usize, is_object: bool) {
        self.begin_value();
        let place = match self.stack.last().map(|container| container.place) {
            None => Place::Schema,
            Some(Place::Schemas) => Place::Schema,
            Some(Place::Data) => Place::Data,
            Some(Place::Schema) => match (self.key.as_deref(), is_object) {
                (Some("properties" | "$defs"), true) => Place::Schemas,
                (Some("anyOf" | "oneOf" | "allOf"), false) => Place::Schemas,
                (Some("items" | "additionalProperties"), true) => Place::Schema,
                _ => Place::Data,
            },
        };
        self.key = None;
        self.out.push(if is_object { b'{' } else { b'[' });
        self.stack.push(Container { place, any: false, kind: None, nullable: false });
    }

    fn close(&mut self, _: usize, text: &[u8], end: usize) {
        if let Some(container) = self.stack.pop()
            && container.nullable
            && let Some(kind) = container.kind
        {
            self.nullable.push(kind);
        }
        self.out.push(text.get(end.wrapping_sub(1)).copied().unwrap_or(b'}'));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(text: &str) -> String {
        to_json_schema(&Raw::parse(text).unwrap_or_else(|| Raw::string("bad"))).get().to_owned()
    }

    #[test]
    fn types_are_small_and_data_is_left_alone() {
        let schema = r#"{"type":"OBJECT","properties":{"type":{"type":"STRING","enum":["A","OBJECT"]},
            "nullable":{"type":"INTEGER","nullable":true,"minimum":1.50,"max_items":"007"}},
            "default":{"type":"STRING","nullable":true},"required":["type"]}"#;
        assert_eq!(
            converted(schema),
            r#"{"type":"object","properties":{"type":{"type":"string","enum":["A","OBJECT"]},"nullable":{"type":["integer","null"],"minimum":1.50,"maxItems":7}},"default":{"type":"STRING","nullable":true},"required":["type"]}"#
        );
    }

    #[test]
    fn nested_schemas_are_reached() {
        let schema = r#"{"any_of":[{"type":"ARRAY","items":{"nullable":true,"type":"NUMBER"},"minItems":"0"},{"type":"NULL"}],"nullable":false}"#;
        assert_eq!(
            converted(schema),
            r#"{"anyOf":[{"type":"array","items":{"type":["number","null"]},"minItems":0},{"type":"null"}]}"#
        );
    }

    #[test]
    fn json_schema_stays_as_it_is() {
        let schema = r##"{"type":"object","properties":{"a":{"$ref":"#/$defs/a"}},"$defs":{"a":{"type":["string","null"]}},"additionalProperties":false}"##;
        assert_eq!(converted(schema), schema);
    }
}
