//! Conditions on a request, in CEL (the Common Expression Language): `tokens > 20000 && "image" in content`.
//!
//! Compiled with the settings, so that a mistyped name is found there; a condition that cannot be evaluated for a request (a tag
//! that it does not have) does not hold.

use crate::ids::Name;
use crate::nearest;
use crate::time::Timestamp;
use cel::{Context, Env, Program, Value};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

/// A condition is no longer than this, bytes.
const LONGEST: usize = 1_000;

/// What a condition may speak of: the fields of [`Facts`], with `hour`, `minute` and `weekday` (1 to 7, from Monday) of its time, in UTC.
const NAMES: [&str; 15] = [
    "model",
    "operation",
    "tokens",
    "max_output",
    "stream",
    "content",
    "key",
    "environment",
    "end_user",
    "session",
    "tags",
    "headers",
    "hour",
    "minute",
    "weekday",
];

/// The functions of the language that are of use here.
const FUNCTIONS: [&str; 8] =
    ["size", "contains", "startsWith", "endsWith", "matches", "int", "double", "string"];

/// The language; it is made once.
static LANGUAGE: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// A condition that was compiled.
pub struct Condition {
    text: Arc<str>,
    program: Program,
    uses: Vec<&'static str>,
}

/// Why a text is no condition.
#[derive(Clone, Eq, PartialEq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct ConditionError {
    /// Lower case, no full stop.
    pub message: String,
    /// The way out.
    pub help: String,
}

/// What conditions are asked of: one request.
pub struct Facts<'a> {
    /// The name that is asked for.
    pub model: &'a str,
    /// The endpoint.
    pub operation: &'a str,
    /// Of input, estimated.
    pub tokens: u64,
    /// Tokens.
    pub max_output: Option<u64>,
    /// Whether a stream is asked for.
    pub stream: bool,
    /// What there is besides text.
    pub content: &'a [&'static str],
    /// The name of the key.
    pub key: &'a str,
    /// Its name.
    pub environment: &'a str,
    /// Empty where nobody is named.
    pub end_user: &'a str,
    /// The same.
    pub session: &'a str,
    /// By name.
    pub tags: &'a [(Name, Name)],
    /// By name in lower case; asked for only where a condition speaks of them.
    pub headers: &'a dyn Fn() -> HashMap<String, String>,
    /// The time of the request.
    pub at: Timestamp,
}

impl Condition {
    /// Compiles a text.
    pub fn new(text: &str) -> Result<Condition, ConditionError> {
        let wrong = |message: String, help: &str| ConditionError { message, help: help.to_owned() };
        let example = "write a condition in CEL, such as \"tokens > 20000 && 'image' in content\"";
        if text.len() > LONGEST {
            return Err(wrong(format!("is longer than {LONGEST} bytes"), "use a shorter condition"));
        }
        let program = Program::compile(text).map_err(|errors| {
            let first = errors.errors.first();
            let (column, what) = first.map_or((1, String::new()), |error| (error.pos.1, error.msg.clone()));
            let what =
                what.lines().next().unwrap_or_default().trim_start_matches("Syntax error: ").to_owned();
            let what: String = what.chars().take(160).collect();
            wrong(format!("is no condition: at its column {column}, {what}"), example)
        })?;
        let uses = Condition::uses(&program, text)?;
        Ok(Condition { text: text.into(), program, uses })
    }

    fn uses(program: &Program, text: &str) -> Result<Vec<&'static str>, ConditionError> {
        let wrong = |message: String, help: String| Err(ConditionError { message, help });
        let references = program.references();
        let mut uses = Vec::new();
        for variable in references.variables() {
            if let Some(name) = NAMES.iter().find(|name| **name == variable) {
                uses.push(*name);
                continue;
            }
            // The own names of `content.exists(c, …)`: declared by the text itself, before a comma.
            if text.contains(&format!("({variable},")) || text.contains(&format!("({variable} ,")) {
                continue;
            }
            let help = match nearest::one(variable, NAMES.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known are {}", NAMES.join(", ")),
            };
            return wrong(format!("speaks of `{variable}`, which is not known of a request"), help);
        }
        let operator = |name: &str| name.contains(['_', '@', '!', '-']);
        let known = |name: &str| operator(name) || FUNCTIONS.contains(&name);
        if let Some(unknown) = references.functions().into_iter().find(|name| !known(name)) {
            let help = format!("known are {}", FUNCTIONS.join(", "));
            return wrong(format!("calls `{unknown}`, which is no function"), help);
        }
        Ok(uses)
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it holds, or why that cannot be said.
    pub fn evaluate(&self, facts: &Facts<'_>) -> Result<bool, String> {
        let mut context = Context::with_env(Arc::clone(&LANGUAGE));
        for name in &self.uses {
            context.add_variable_from_value(*name, facts.value(name));
        }
        match self.program.execute(&context) {
            Ok(Value::Bool(holds)) => Ok(holds),
            Ok(other) => Err(format!("is {:?}, and not true or false", other.type_of())),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Facts<'_> {
    fn value(&self, name: &str) -> Value {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let minutes = self.at.as_seconds().rem_euclid(86_400) / 60;
        match name {
            "model" => self.model.to_owned().into(),
            "operation" => self.operation.to_owned().into(),
            "tokens" => number(self.tokens).into(),
            "max_output" => number(self.max_output.unwrap_or(0)).into(),
            "stream" => self.stream.into(),
            "content" => self.content.iter().map(|kind| (*kind).to_owned()).collect::<Vec<_>>().into(),
            "key" => self.key.to_owned().into(),
            "environment" => self.environment.to_owned().into(),
            "end_user" => self.end_user.to_owned().into(),
            "session" => self.session.to_owned().into(),
            "tags" => {
                let tag = |(name, value): &(Name, Name)| (name.to_string(), value.to_string());
                self.tags.iter().map(tag).collect::<HashMap<_, _>>().into()
            }
            "headers" => (self.headers)().into(),
            "hour" => (minutes / 60).into(),
            "minute" => (minutes % 60).into(),
            // The first of January 1970 was a Thursday.
            "weekday" => ((self.at.as_seconds().div_euclid(86_400) + 3).rem_euclid(7) + 1).into(),
            _ => Value::Null,
        }
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Condition({})", self.text)
    }
}

impl serde::Serialize for Condition {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn facts<'a>(tags: &'a [(Name, Name)], headers: &'a dyn Fn() -> HashMap<String, String>) -> Facts<'a> {
        Facts {
            model: "chat",
            operation: "chat",
            tokens: 9_000,
            max_output: None,
            stream: true,
            content: &["image", "tools"],
            key: "app",
            environment: "dev",
            end_user: "u1",
            session: "",
            tags,
            headers,
            // A Friday, 22:30.
            at: "2026-11-27T22:30:00Z".parse().unwrap(),
        }
    }

    #[test]
    fn conditions_hold_or_not() {
        let tags: [(Name, Name); 1] = [("tier".into(), "gold".into())];
        let headers = || HashMap::from([("x-team".to_owned(), "search".to_owned())]);
        for (text, holds) in [
            ("tokens > 8000 && 'image' in content", true),
            ("tokens <= 8000 || stream == false", false),
            ("tags.tier == 'gold'", true),
            ("has(tags.nothing) && tags.nothing == 'x'", false),
            ("headers['x-team'].startsWith('sea')", true),
            ("hour >= 22 || hour < 6", true),
            ("weekday == 5 && minute == 30", true),
            ("key == 'app' && environment == 'dev' && end_user == 'u1' && session == ''", true),
            ("content.exists(kind, kind == 'tools')", true),
            ("model.matches('^ch.t$') && max_output == 0", true),
        ] {
            let condition = Condition::new(text).unwrap();
            assert_eq!(condition.evaluate(&facts(&tags, &headers)), Ok(holds), "{text}");
        }
        for text in ["tags.nothing == 'x'", "tokens + 1", "tokens / 0 == 1"] {
            assert!(Condition::new(text).unwrap().evaluate(&facts(&tags, &headers)).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_no_condition_is_told_with_its_place() {
        for (text, says, helps) in [
            ("tokens >", "column 9", "write a condition"),
            ("token > 5", "`token`, which is not known", "did you mean `tokens`?"),
            ("zebra", "`zebra`", "known are model"),
            ("model.lenght() > 3", "`lenght`", "known are size"),
            ("", "column 1", "write a condition"),
            ("tokens > 99999999999999999999", "column 10", "write a condition"),
        ] {
            let error = Condition::new(text).unwrap_err();
            assert!(error.message.contains(says), "{text}: {}", error.message);
            assert!(error.help.contains(helps), "{text}: {}", error.help);
        }
        assert!(Condition::new(&"(".repeat(2_000)).is_err());
        assert!(Condition::new(&format!("{}true{}", "(".repeat(400), ")".repeat(400))).is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_condition_or_not(text in "[a-z0-9_ .()\\[\\]'\"<>=!&|+*/?:,{}-]{0,60}") {
            if let Ok(condition) = Condition::new(&text) {
                let _ = condition.evaluate(&facts(&[], &|| HashMap::new()));
            }
        }
    }
}
