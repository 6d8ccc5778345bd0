//! Vectors as JSON numbers and as base64 of little-endian 32-bit floats, exactly.
//!
//! A decimal becomes the float that is nearest to it, read from the text at once: by way of a 64-bit float it would be
//! rounded twice. A float becomes the shortest decimal that reads back as the same float.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

/// The base64 of a JSON array of numbers; `None` when it is something else.
pub fn packed(numbers: &str) -> Option<String> {
    let numbers: Vec<&RawValue> = serde_json::from_str(numbers).ok()?;
    let mut bytes = Vec::with_capacity(numbers.len() * 4);
    for number in numbers {
        bytes.extend_from_slice(&number.get().parse::<f32>().ok()?.to_le_bytes());
    }
    Some(STANDARD.encode(bytes))
}

/// The JSON array of the floats in a base64 text; `None` when it is none, or holds what JSON cannot say (not a number,
/// infinity).
pub fn unpacked(base64: &str) -> Option<String> {
    let bytes = STANDARD.decode(base64).ok().filter(|bytes| bytes.len() % 4 == 0)?;
    let mut out = String::with_capacity(bytes.len() * 3);
    out.push('[');
    for (at, four) in bytes.chunks_exact(4).enumerate() {
        let float = f32::from_le_bytes([four[0], four[1], four[2], four[3]]);
        if !float.is_finite() {
            return None;
        }
        if at > 0 {
            out.push(',');
        }
        // Rust's `Display` writes 1e-30 as 32 digits; JSON takes the short form as well.
        let short = if float != 0.0 && !(1e-5..1e15).contains(&float.abs()) {
            format!("{float:e}")
        } else {
            format!("{float:?}")
        };
        out.push_str(&short);
    }
    out.push(']');
    Some(out)
}
