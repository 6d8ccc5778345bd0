//! A small instance of a JSON Schema: what `response_format` and tool parameters ask for.
//!
//! It takes the plainest value at every choice and only required properties, so that the result is valid for
//! the schemas that SDKs generate; it is not a general solver (no `not`, no patterns).

use serde_json::{Map, Value, json};

/// Deep enough for any real schema, shallow enough for one that refers to itself.
const DEPTH: usize = 24;

/// The smallest instance that this module knows to make; texts say `simulated`.
pub(crate) fn instance(schema: &Value) -> Value {
    build(schema, schema, DEPTH)
}

fn build(schema: &Value, root: &Value, depth: usize) -> Value {
    let Some(object) = schema.as_object().filter(|_| depth > 0) else { return Value::Null };
    let deeper = |inner: &Value| build(inner, root, depth - 1);
    if let Some(target) = object.get("$ref").and_then(Value::as_str) {
        let found = target.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
        return found.map_or(Value::Null, deeper);
    }
    if let Some(fixed) = object.get("const").or_else(|| object.get("default")) {
        return fixed.clone();
    }
    if let Some(first) = object.get("enum").and_then(|values| values.get(0)) {
        return first.clone();
    }
    if let Some(parts) = object.get("allOf").and_then(Value::as_array) {
        return all_of(object, parts, root, depth);
    }
    for name in ["anyOf", "oneOf"] {
        if let Some(options) = object.get(name).and_then(Value::as_array) {
            return options.iter().min_by_key(|option| weight(option, root)).map_or(Value::Null, deeper);
        }
    }
    of_type(object, root, depth)
}

/// Prefers the alternative that cannot recurse: scalars before arrays before objects and references; but any
/// value before `null`, so that an optional field shows something.
fn weight(option: &Value, root: &Value) -> u8 {
    let resolved = match option.get("$ref").and_then(Value::as_str) {
        Some(target) => target.strip_prefix('#').and_then(|pointer| root.pointer(pointer)).unwrap_or(option),
        None => option,
    };
    match kind(resolved.as_object()) {
        "object" => 3,
        "array" => 1,
        "null" => 2,
        _ => 0,
    }
}

fn all_of(object: &Map<String, Value>, parts: &[Value], root: &Value, depth: usize) -> Value {
    let mut merged = Map::new();
    let mut rest = object.clone();
    rest.remove("allOf");
    for part in parts.iter().chain([&Value::Object(rest)]) {
        match build(part, root, depth - 1) {
            Value::Object(fields) => merged.extend(fields),
            Value::Null => {}
            other if merged.is_empty() && !kind(part.as_object()).is_empty() => return other,
            _ => {}
        }
    }
    Value::Object(merged)
}

/// The schema's type: as written, or as its other words imply; empty when nothing tells.
fn kind(schema: Option<&Map<String, Value>>) -> &str {
    let Some(object) = schema else { return "" };
    match object.get("type") {
        Some(Value::String(one)) => one,
        Some(Value::Array(several)) => {
            several.iter().filter_map(Value::as_str).find(|name| *name != "null").unwrap_or("null")
        }
        _ if object.contains_key("properties") => "object",
        _ if object.contains_key("items") || object.contains_key("prefixItems") => "array",
        _ => "",
    }
}

fn of_type(object: &Map<String, Value>, root: &Value, depth: usize) -> Value {
    match kind(Some(object)) {
        "object" => fields(object, root, depth),
        "array" => items(object, root, depth),
        "boolean" => json!(true),
        "integer" => number(object, true),
        "number" => number(object, false),
        "null" => Value::Null,
        _ => Value::String(text(object)),
    }
}

fn fields(object: &Map<String, Value>, root: &Value, depth: usize) -> Value {
    let properties = object.get("properties").and_then(Value::as_object);
    let required = object.get("required").and_then(Value::as_array);
    let mut made = Map::new();
    for name in required.into_iter().flatten().filter_map(Value::as_str) {
        let value =
            properties.and_then(|all| all.get(name)).map_or(Value::Null, |one| build(one, root, depth - 1));
        made.insert(name.to_owned(), value);
    }
    Value::Object(made)
}

fn items(object: &Map<String, Value>, root: &Value, depth: usize) -> Value {
    let least = object.get("minItems").and_then(Value::as_u64).unwrap_or(0).min(64);
    let one = object.get("items").unwrap_or(&Value::Null);
    let fixed = object.get("prefixItems").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let count = least.max(fixed.len() as u64);
    let item = |place: u64| {
        let schema = usize::try_from(place).ok().and_then(|place| fixed.get(place)).unwrap_or(one);
        build(schema, root, depth - 1)
    };
    (0..count).map(item).collect()
}

fn number(object: &Map<String, Value>, whole: bool) -> Value {
    let bound = |name: &str| object.get(name).and_then(Value::as_f64);
    let step = bound("multipleOf").filter(|step| *step > 0.0);
    let least =
        bound("minimum").or_else(|| bound("exclusiveMinimum").map(|least| least + step.unwrap_or(1.0)));
    let most = bound("maximum").or_else(|| bound("exclusiveMaximum").map(|most| most - step.unwrap_or(1.0)));
    let mut value = least.unwrap_or(0.0).max(0.0_f64.min(most.unwrap_or(0.0)));
    if let Some(step) = step {
        value = (value / step).ceil() * step;
    }
    if whole || value.fract() == 0.0 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a whole number, saturating at the ends of i64"
        )]
        return json!(value.ceil() as i64);
    }
    json!(value)
}

fn text(object: &Map<String, Value>) -> String {
    let fixed = match object.get("format").and_then(Value::as_str) {
        Some("date-time") => "2026-01-01T00:00:00Z",
        Some("date") => "2026-01-01",
        Some("time") => "00:00:00Z",
        Some("duration") => "PT1S",
        Some("email") => "simulated@example.org",
        Some("hostname") => "simulated.example.org",
        Some("uri") => "https://simulated.example.org/",
        Some("uuid") => "00000000-0000-4000-8000-000000000000",
        Some("ipv4") => "192.0.2.1",
        Some("ipv6") => "2001:db8::1",
        _ => "",
    };
    if !fixed.is_empty() {
        return fixed.to_owned();
    }
    let limit = |name: &str| object.get(name).and_then(Value::as_u64);
    let least = usize::try_from(limit("minLength").unwrap_or(0).min(4_096)).unwrap_or(0);
    let most = usize::try_from(limit("maxLength").unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
    "simulated ".chars().cycle().take(least.max(9).min(most)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn required_properties_of_every_kind() {
        let schema = json!({"type": "object", "required": ["a", "b", "c", "d", "e", "f", "g"], "properties": {
            "a": {"type": "string", "minLength": 12}, "b": {"type": "integer", "minimum": 3},
            "c": {"enum": ["x", "y"]}, "d": {"type": "array", "items": {"$ref": "#/$defs/point"}, "minItems": 2},
            "e": {"anyOf": [{"type": "null"}, {"type": "string"}]}, "f": {"type": ["null", "boolean"]},
            "g": {"type": "number", "exclusiveMinimum": 0, "maximum": 2}, "optional": {"type": "string"}},
            "$defs": {"point": {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}}});
        let expected = json!({"a": "simulated si", "b": 3, "c": "x", "d": [{"x": 0}, {"x": 0}],
            "e": "simulated", "f": true, "g": 1});
        assert_eq!(instance(&schema), expected);
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let endless = json!({"$ref": "#"});
        assert_eq!(instance(&endless), Value::Null);
        let tree = json!({"type": "object", "required": ["left"], "properties": {
            "left": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}});
        assert_eq!(instance(&tree), json!({"left": null}));
    }

    #[test]
    fn all_of_merges() {
        let schema = json!({"allOf": [
            {"properties": {"a": {"const": 1}}, "required": ["a"]},
            {"properties": {"b": {"const": 2}}, "required": ["b"]}]});
        assert_eq!(instance(&schema), json!({"a": 1, "b": 2}));
    }
}
