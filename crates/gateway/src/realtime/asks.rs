//! What a client's event asks, as far as policy must know, and how it is refused.
//!
//! A session is granted for one model: an event that names another one would go past the key's list of models. What
//! cannot be read is refused as well, since the provider might read it otherwise.

use std::borrow::Cow;

use runtime::Dice;
use serde::Deserialize;
use serde_json::json;

use crate::refusal::{Code, Refusal};

/// What a client's event asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Asks {
    /// An answer of the model.
    Answer,
    Other,
}

/// An event that may pass.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) asks: Asks,
    /// The event with the provider's name of the model in place of the caller's, where it names the model.
    pub(super) renamed: Option<String>,
    pub(super) event_id: Option<String>,
}

/// An event that may not pass, with the name that the client gave it.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) refusal: Box<Refusal>,
    pub(super) event_id: Option<String>,
}

/// Only what must be known is read; a field that is given twice is an error.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(borrow, default)]
    event_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    session: Option<Session<'a>>,
}

#[derive(Deserialize)]
struct Session<'a> {
    #[serde(borrow, default)]
    model: Option<Cow<'a, str>>,
}

/// Reads a client's event. `model` is what the provider calls the session's model, `asked` what the client called it.
pub(super) fn read(text: &str, model: &str, asked: &str) -> Result<Read, Refused> {
    let event: Event<'_> = serde_json::from_str(text).map_err(|error| {
        let mut refusal =
            Refusal::new(Code::InvalidRequest, format!("the event is no JSON object with a `type`: {error}"));
        refusal.detail = Some("invalid_json");
        Refused { refusal, event_id: None }
    })?;
    let event_id = event.event_id.map(Cow::into_owned);
    let named = event.session.and_then(|session| session.model).filter(|named| named != model);
    let renamed = match named {
        None => None,
        Some(named) if named == asked => with_model(text, model),
        Some(named) => {
            let message = format!("this session is with `{asked}`; for `{named}` open another one");
            let refusal = Refusal::new(Code::ModelNotAllowed, message).about("session.model");
            return Err(Refused { refusal, event_id });
        }
    };
    let asks = if event.r#type == "response.create" { Asks::Answer } else { Asks::Other };
    Ok(Read { asks, renamed, event_id })
}

/// `session.model` in place, every other byte as it came.
fn with_model(text: &str, model: &str) -> Option<String> {
    let member = |within: &str, name: &str| {
        let object = providers::json::top_level(within.as_bytes()).ok()?;
        let field = object.fields.iter().find(|field| field.key_is(within.as_bytes(), name))?;
        Some(field.value)
    };
    let session = member(text, "session")?;
    let value = member(text.get(session.start..session.end)?, "model")?;
    let (start, end) = (session.start + value.start, session.start + value.end);
    Some(format!("{}{}{}", text.get(..start)?, serde_json::Value::from(model), text.get(end..)?))
}

/// A refusal as an event of the server, as OpenAI's clients read it; `of` is the client's name for the event refused.
pub(super) fn error_event(refusal: &Refusal, of: Option<&str>) -> String {
    let failing = refusal.failing("");
    json!({
        "type": "error",
        "event_id": format!("event_{:032x}", u128::from_le_bytes(Dice::bytes())),
        "error": {
            "type": failing.kind,
            "code": failing.code,
            "message": failing.message,
            "param": failing.param,
            "event_id": of,
        },
    })
    .to_string()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_from_the_rest() {
        let asks = |text| read(text, "m", "up/m").unwrap();
        assert_eq!(asks(r#"{"type":"response.create"}"#).asks, Asks::Answer);
        assert_eq!(asks(r#"{"type":"resp\u006fnse.create","response":{"a":1}}"#).asks, Asks::Answer);
        for other in [r#"{"type":"a","session":{"model":"m"}}"#, r#"{"type":"a","session":{"voice":"x"}}"#] {
            assert_eq!(asks(other).asks, Asks::Other);
            assert_eq!(asks(other).renamed, None);
        }
    }

    #[test]
    fn the_callers_name_of_the_model_is_the_providers_on_the_way_up() {
        let text =
            "{ \"type\":\"a\", \"model\":\"x\",\"session\" : {\"v\":1.0, \"mod\\u0065l\":\"up\\/m\" } }";
        let renamed = read(text, "m\"", "up/m").unwrap().renamed.unwrap();
        assert_eq!(renamed, text.replace("\"up\\/m\"", "\"m\\\"\""));
    }

    #[test]
    fn no_other_model_is_smuggled_in() {
        let refused =
            read(r#"{"type":"a","event_id":"e","session":{"model":"dear"}}"#, "m", "up/m").unwrap_err();
        assert_eq!(refused.event_id.as_deref(), Some("e"));
        for smuggled in [
            r#"{"type":"session.update","session":{"model":"dear"}}"#,
            r#"{"type":"session.update","session":{"mod\u0065l":"dear"}}"#,
            r#"{"type":"session.update","session":{"model":"m","model":"dear"}}"#,
            r#"{"type":"session.update","session":{"model":"m"},"session":{"model":"dear"}}"#,
            r#"{"type":"a","type":"response.create"}"#,
            "{",
            "[]",
        ] {
            assert!(read(smuggled, "m", "up/m").is_err(), "{smuggled}");
        }
    }

    #[test]
    fn a_refusal_is_an_event() {
        let refusal = Refusal::new(Code::RateLimitExceeded, "later");
        let event: serde_json::Value = serde_json::from_str(&error_event(&refusal, Some("mine"))).unwrap();
        assert_eq!(event["error"]["event_id"], "mine");
        assert_eq!(event["type"], "error");
        assert_eq!(event["error"]["code"], "rate_limit_exceeded");
        assert_eq!(event["error"]["message"], "later");
        let next: serde_json::Value = serde_json::from_str(&error_event(&refusal, None)).unwrap();
        assert_ne!(next["event_id"], event["event_id"]);
    }
}
