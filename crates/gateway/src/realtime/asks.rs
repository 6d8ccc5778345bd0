//! What a client's event asks, as far as policy must know, and how it is refused.
//!
//! A session is granted for one model: an event that names another one would go past the key's list of models. What
//! cannot be read is refused as well, since the provider might read it otherwise.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::json;

use crate::refusal::{Code, Refusal};

/// An event, as far as it matters.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Asks {
    /// For an answer of the model.
    Answer,
    Other,
}

/// Only what must be known is read; a field that is given twice is an error.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(borrow, default)]
    session: Option<Session<'a>>,
}

#[derive(Deserialize)]
struct Session<'a> {
    #[serde(borrow, default)]
    model: Option<Cow<'a, str>>,
}

/// Reads a client's event. `model` is what the provider calls the session's model.
pub(super) fn read(text: &str, model: &str) -> Result<Asks, Box<Refusal>> {
    let event: Event<'_> = serde_json::from_str(text).map_err(|error| {
        let mut refusal =
            Refusal::new(Code::InvalidRequest, format!("the event is no JSON object with a `type`: {error}"));
        refusal.detail = Some("invalid_json");
        refusal
    })?;
    if let Some(other) = event.session.and_then(|session| session.model).filter(|other| other != model) {
        let message = format!("this session is with `{model}`; for `{other}` open another one");
        return Err(Refusal::new(Code::ModelNotAllowed, message).about("session.model"));
    }
    Ok(if event.r#type == "response.create" { Asks::Answer } else { Asks::Other })
}

/// A refusal as an event of the server, as OpenAI's clients read it.
pub(super) fn error_event(refusal: &Refusal) -> String {
    let failing = refusal.failing("");
    json!({
        "type": "error",
        "event_id": "event_tidegate",
        "error": {
            "type": failing.kind,
            "code": failing.code,
            "message": failing.message,
            "param": failing.param,
            "event_id": null,
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
        assert_eq!(read(r#"{"type":"response.create"}"#, "m").unwrap(), Asks::Answer);
        assert_eq!(read(r#"{"type":"resp\u006fnse.create","response":{"a":1}}"#, "m").unwrap(), Asks::Answer);
        assert_eq!(read(r#"{"type":"session.update","session":{"model":"m"}}"#, "m").unwrap(), Asks::Other);
        assert_eq!(read(r#"{"type":"session.update","session":{"voice":"x"}}"#, "m").unwrap(), Asks::Other);
    }

    #[test]
    fn no_other_model_is_smuggled_in() {
        for smuggled in [
            r#"{"type":"session.update","session":{"model":"dear"}}"#,
            r#"{"type":"session.update","session":{"mod\u0065l":"dear"}}"#,
            r#"{"type":"session.update","session":{"model":"m","model":"dear"}}"#,
            r#"{"type":"session.update","session":{"model":"m"},"session":{"model":"dear"}}"#,
            r#"{"type":"a","type":"response.create"}"#,
            "{",
            "[]",
        ] {
            assert!(read(smuggled, "m").is_err(), "{smuggled}");
        }
    }

    #[test]
    fn a_refusal_is_an_event() {
        let refusal = Refusal::new(Code::RateLimitExceeded, "later");
        let event: serde_json::Value = serde_json::from_str(&error_event(&refusal)).unwrap();
        assert_eq!(event["type"], "error");
        assert_eq!(event["error"]["code"], "rate_limit_exceeded");
        assert_eq!(event["error"]["message"], "later");
    }
}
