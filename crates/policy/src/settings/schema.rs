//! The JSON Schema of the document, printed from the table of fields, for editors.

use super::shape::{Field, ROOT, Shape, fields};
use serde_json::{Map, Value, json};

/// The JSON Schema (2020-12) of a settings document.
pub fn json_schema() -> Value {
    let mut schema = of(&ROOT);
    if let Value::Object(members) = &mut schema {
        members.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
        members.insert("title".into(), json!("Tidegate settings"));
    }
    schema
}

fn of(shape: &'static Shape) -> Value {
    match shape {
        Shape::Bool => json!({ "type": "boolean" }),
        Shape::Integer { least, most } => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Shape::Weight => json!({ "type": "number", "minimum": 0 }),
        Shape::Text(form) if form.pattern.is_empty() => json!({ "type": "string" }),
        Shape::Text(form) => json!({ "type": "string", "pattern": form.pattern }),
        Shape::Decimal => json!({ "anyOf": [
            { "type": "string", "pattern": "^[0-9]+(\\.[0-9]{1,9})?$" },
            { "type": "integer", "minimum": 0 },
        ] }),
        Shape::Choice(names) => json!({ "enum": names }),
        Shape::List(items, most) => json!({ "type": "array", "items": of(items), "maxItems": most }),
        Shape::Table(groups) => table(groups),
        Shape::Named(form, values) => json!({
            "type": "object",
            "propertyNames": { "pattern": form.pattern },
            "additionalProperties": of(values),
        }),
        Shape::Either(first, second) => json!({ "anyOf": [of(first), of(second)] }),
        Shape::Json => json!({}),
        Shape::Reserved => json!(false),
    }
}

fn table(groups: &'static [&'static [Field]]) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for field in fields(groups).filter(|field| !matches!(field.shape, Shape::Reserved)) {
        let mut schema = of(&field.shape);
        if let Value::Object(members) = &mut schema {
            members.insert("description".into(), json!(field.doc));
        }
        properties.insert(field.name.into(), schema);
        if field.required {
            required.push(field.name);
        }
    }
    let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if let (Value::Object(members), false) = (&mut schema, required.is_empty()) {
        members.insert("required".into(), json!(required));
    }
    schema
}
