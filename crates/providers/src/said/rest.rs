//! An event that was never sent: the rest of a text that was held back, in the words of the event that brought a piece of it.

use serde_json::{Map, Value};

use super::walk::{Step, Walk};
use crate::json::scan_document;
use crate::request::Operation;

/// The data of an event that says no more than `text`, as a further piece of the text `number`, of which `data` brought
/// one. `None` where it brought none.
pub fn rest(operation: Operation, data: &[u8], number: u64, text: &str) -> Option<Vec<u8>> {
    let mut walk = Walk::new(operation, true);
    scan_document(data, &mut walk).ok()?;
    let way = walk.way(data, number)?;
    let whole: Value = serde_json::from_slice(data).ok()?;
    serde_json::to_vec(&pruned(operation, &whole, &way, text, true)?).ok()
}

/// The value with what leads to the piece, and what tells where it belongs.
fn pruned(operation: Operation, value: &Value, way: &[Step], text: &str, is_root: bool) -> Option<Value> {
    Some(match (value, way) {
        (_, []) => Value::String(text.to_owned()),
        (Value::Object(members), [Step::Key(key), further @ ..]) => {
            let mut kept = Map::new();
            for (name, member) in members {
                if name == key {
                    kept.insert(name.clone(), pruned(operation, member, further, text, false)?);
                } else if is_root && operation == Operation::Responses && name == "logprobs" {
                    kept.insert(name.clone(), Value::Array(Vec::new()));
                } else if is_kept(operation, name, member, is_root) {
                    kept.insert(name.clone(), member.clone());
                }
            }
            kept.contains_key(key).then_some(Value::Object(kept))?
        }
        (Value::Array(items), [Step::Item(at), further @ ..]) => {
            Value::Array(vec![pruned(operation, items.get(*at)?, further, text, false)?])
        }
        _ => return None,
    })
}

fn is_kept(operation: Operation, name: &str, member: &Value, is_root: bool) -> bool {
    match name {
        "obfuscation" => false,
        "index" | "type" | "thought" => true,
        "role" => operation == Operation::Gemini,
        _ => member.is_null() || (is_root && !member.is_object() && !member.is_array()),
    }
}
