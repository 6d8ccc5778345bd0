//! The simulated models: a table, so that adding a character is adding a row.

use std::time::Duration;

/// One simulated model.
#[derive(Debug)]
pub struct Model {
    /// Its name at the provider, for example `echo`; clients of the gateway say `demo/echo`.
    pub name: &'static str,
    /// One sentence for people: what it does.
    pub says: &'static str,
    pub(crate) kind: Kind,
    /// Time to the first token.
    first: Duration,
    /// Tokens a second after the first.
    rate: u32,
}

impl Model {
    /// When token number `index` (from 0) is due after the request, at the model's own or the asked pace.
    pub(crate) fn due(&self, index: u64, pace: Option<u32>) -> Duration {
        match pace {
            Some(0) => Duration::ZERO,
            Some(rate) => {
                self.first + Duration::from_nanos(index.saturating_mul(1_000_000_000) / u64::from(rate))
            }
            None => self.due(index, Some(self.rate)),
        }
    }
}

/// What makes a model's character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Echo,
    Story,
    Fast,
    Slow,
    Long,
    Terse,
    Tools,
    Vision,
    Json,
    Refuse,
    Fail,
    Flaky,
    Embed,
    Realtime,
}

const fn model(kind: Kind, name: &'static str, first_ms: u64, rate: u32, says: &'static str) -> Model {
    Model { name, says, kind, first: Duration::from_millis(first_ms), rate }
}

static MODELS: [Model; 14] = [
    model(Kind::Echo, "echo", 60, 100, "repeats your last message"),
    model(Kind::Story, "story", 300, 50, "tells a short story, always the same one for the same question"),
    model(Kind::Fast, "fast", 80, 120, "answers after 80 ms at 120 tokens a second"),
    model(Kind::Slow, "slow", 1_200, 15, "answers after 1.2 s at 15 tokens a second"),
    model(Kind::Long, "long", 250, 90, "answers in about 2,000 tokens"),
    model(Kind::Terse, "terse", 100, 60, "answers in a few words"),
    model(
        Kind::Tools,
        "tools",
        200,
        60,
        "calls the tools it is given, two at once if there are two, then answers in text",
    ),
    model(Kind::Vision, "vision", 400, 50, "says how many images it was shown, of what kind and size"),
    model(Kind::Json, "json", 200, 80, "answers in valid JSON, by the schema if one is given"),
    model(Kind::Refuse, "refuse", 150, 60, "refuses, in the refusal field"),
    model(Kind::Fail, "fail", 50, 60, "always fails with status 500"),
    model(Kind::Flaky, "flaky", 150, 80, "fails every third request, in turn with 503 and 429"),
    model(
        Kind::Embed,
        "embed",
        30,
        1_000,
        "embeds text in unit vectors; texts that share words are near one another",
    ),
    model(
        Kind::Realtime,
        "realtime",
        50,
        500,
        "talks in sessions over a WebSocket, in text and simulated sound",
    ),
];

/// Every simulated model, in the order in which `GET /v1/models` lists them.
#[must_use]
pub fn models() -> &'static [Model] {
    &MODELS
}

/// Finds a model by its name, with or without the gateway's prefix `demo/`.
pub(crate) fn find(name: &str) -> Option<&'static Model> {
    let bare = name.strip_prefix("demo/").unwrap_or(name);
    MODELS.iter().find(|model| model.name == bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pace_is_first_delay_then_rate() {
        let slow = find("demo/slow").unwrap_or(&MODELS[0]);
        assert_eq!(slow.name, "slow");
        assert_eq!(slow.due(0, None), Duration::from_millis(1_200));
        assert_eq!(slow.due(15, None), Duration::from_millis(2_200));
        assert_eq!(slow.due(15, Some(0)), Duration::ZERO);
        assert_eq!(slow.due(30, Some(30)), Duration::from_millis(2_200));
    }

    #[test]
    fn names_are_unique() {
        for (index, model) in models().iter().enumerate() {
            assert!(models()[..index].iter().all(|other| other.name != model.name), "{} twice", model.name);
        }
        assert!(models().len() >= 10);
    }
}
