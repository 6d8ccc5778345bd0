//! What a request to Responses says of being kept and of what was kept before.
//!
//! A scan of its own and not part of [`super::read`]: no other endpoint has these members, and none should pay for them.
//! By `previous_response_id` it is decided whose words a model gets to read, so two readers of one body must not
//! disagree about it: twice, or in other capitals, is refused.

use super::BadRequest;
use super::known::fold;
use crate::json::text::{Unescaped, decode};
use crate::json::{Object, top_level};

/// The members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keeping {
    /// `store`, where the client says it; what is not said is true.
    pub store: Option<bool>,
    /// `previous_response_id`.
    pub previous: Option<String>,
    /// `background`.
    pub background: bool,
    /// `stream`.
    pub stream: bool,
    /// There is a `conversation`.
    pub conversation: bool,
}

const NAMES: [&str; 5] = ["store", "previous_response_id", "background", "conversation", "input"];

/// Reads them.
///
/// # Errors
/// What is wrong with them, for the client.
pub fn read(body: &[u8]) -> Result<Keeping, BadRequest> {
    let object = top_level(body).map_err(|error| BadRequest {
        message: format!("the request body is not valid JSON: {error}"),
        param: None,
        code: Some("invalid_json"),
    })?;
    for name in NAMES {
        refuse_twins(body, &object, name)?;
    }
    let flag = |name: &'static str| match object.value(body, name) {
        None => Ok(None),
        Some(b"true") => Ok(Some(true)),
        Some(b"false") => Ok(Some(false)),
        Some(_) => Err(wrong(name, "true or false")),
    };
    let previous = match object.value(body, "previous_response_id") {
        None => None,
        Some(value) => Some(decode(value).ok_or_else(|| wrong("previous_response_id", "a string"))?),
    };
    Ok(Keeping {
        store: flag("store")?,
        previous,
        background: flag("background")?.unwrap_or(false),
        stream: flag("stream")?.unwrap_or(false),
        conversation: object.value(body, "conversation").is_some(),
    })
}

fn wrong(name: &'static str, wanted: &str) -> BadRequest {
    BadRequest::new(name, "invalid_type", format!("`{name}` must be {wanted}"))
}

fn refuse_twins(body: &[u8], object: &Object, name: &'static str) -> Result<(), BadRequest> {
    let alike = object.fields.iter().filter(|field| {
        let inner = &body[field.key.start + 1..field.key.end - 1];
        // The longest name, each letter spelled `\u0000`.
        inner.len() <= 20 * 6 && Unescaped::new(inner).map(fold).eq(name.chars())
    });
    let mut count = 0;
    for field in alike {
        count += 1;
        if !field.key_is(body, name) {
            let spelled = String::from_utf8_lossy(field.key.of(body)).into_owned();
            let message = format!("{spelled} is not a parameter; write `{name}`");
            return Err(BadRequest::new(name, "unknown_parameter", message));
        }
    }
    if count > 1 {
        return Err(BadRequest::new(
            name,
            "duplicate_parameter",
            format!("`{name}` is given more than once"),
        ));
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_read_and_what_is_not_said_stays_open() {
        let said = read(br#"{"model":"m","store":false,"previous_response_id":"resp_1","background":true}"#);
        assert_eq!(
            said.unwrap(),
            Keeping {
                store: Some(false),
                previous: Some("resp_1".into()),
                background: true,
                ..Keeping::default()
            }
        );
        assert_eq!(read(br#"{"store":null,"input":"x"}"#).unwrap(), Keeping::default());
        assert!(read(br#"{"conversation":{"id":"conv_1"}}"#).unwrap().conversation);
    }

    #[test]
    fn two_readers_cannot_disagree_about_whose_words_are_read() {
        for (body, code) in [
            (r#"{"previous_response_id":"a","previous_response_id":"b"}"#, "duplicate_parameter"),
            (r#"{"previous_response_id":"a","previous_respons\u0065_id":"b"}"#, "duplicate_parameter"),
            (r#"{"Previous_Response_Id":"a"}"#, "unknown_parameter"),
            (r#"{"store":true,"STORE":false}"#, "unknown_parameter"),
            (r#"{"store":"yes"}"#, "invalid_type"),
            (r#"{"previous_response_id":7}"#, "invalid_type"),
            ("[", "invalid_json"),
        ] {
            assert_eq!(read(body.as_bytes()).unwrap_err().code, Some(code), "{body}");
        }
    }
}
