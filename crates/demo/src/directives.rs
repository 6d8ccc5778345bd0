//! What a request may ask of the simulation itself: `[[name=value]]` in the last user message, or the same
//! names in `metadata`. The table is in the crate's documentation.

use std::time::Duration;

use serde_json::Value;

use crate::refusal::Refusal;

/// The most tokens of one answer, all choices together; also what bounds the memory of one answer.
pub(crate) const MAX_TOKENS: u64 = 20_000;
const MAX_DELAY: Duration = Duration::from_secs(600);

/// The directives of one request; absent ones are `None` or zero.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Directives {
    pub(crate) delay: Duration,
    pub(crate) pace: Option<u32>,
    pub(crate) tokens: Option<u64>,
    pub(crate) status: Option<u16>,
    pub(crate) retry_after: Option<u32>,
    pub(crate) die: Option<u64>,
    pub(crate) stall: Option<u64>,
}

impl Directives {
    /// Reads `metadata` and takes the directives out of `text`.
    pub(crate) fn take(metadata: &Value, text: &mut String) -> Result<Self, Refusal> {
        let mut found = Self::default();
        if let Some(object) = metadata.as_object() {
            for (name, value) in object {
                let written = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                found.set(name, &written)?;
            }
        }
        let mut rest = String::new();
        let mut left = text.as_str();
        while let Some(start) = left.find("[[") {
            let Some(length) = left[start..].find("]]") else { break };
            let inside = &left[start + 2..start + length];
            let known = match inside.split_once('=') {
                Some((name, value)) => found.set(name.trim(), value.trim())?,
                None => false,
            };
            let end = start + length + 2;
            rest.push_str(if known { left[..start].trim_end() } else { &left[..end] });
            left = &left[end..];
        }
        rest.push_str(left);
        *text = rest.trim().to_owned();
        Ok(found)
    }

    /// Sets one directive; `false` if there is none of this name, so that ordinary text and metadata pass.
    fn set(&mut self, name: &str, value: &str) -> Result<bool, Refusal> {
        match name {
            "delay" => self.delay = duration(value)?,
            "pace" => self.pace = Some(number(name, value, 1_000_000)?),
            "tokens" => self.tokens = Some(number(name, value, MAX_TOKENS)?),
            "retry_after" => self.retry_after = Some(number(name, value, 86_400)?),
            "die" => self.die = Some(number(name, value, MAX_TOKENS)?),
            "stall" => self.stall = Some(number(name, value, MAX_TOKENS)?),
            "status" => {
                let status: u16 = number(name, value, 599)?;
                if status < 400 {
                    return Err(wrong(name, value, "a status from 400 to 599"));
                }
                self.status = Some(status);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn wrong(name: &str, value: &str, wanted: &str) -> Refusal {
    Refusal::bad("messages", format!("directive `{name}={value}`: expected {wanted}"))
}

fn number<N: TryFrom<u64>>(name: &str, value: &str, most: u64) -> Result<N, Refusal> {
    let parsed = value.parse::<u64>().ok().filter(|number| *number <= most);
    parsed
        .and_then(|number| N::try_from(number).ok())
        .ok_or_else(|| wrong(name, value, &format!("a number up to {most}")))
}

fn duration(value: &str) -> Result<Duration, Refusal> {
    let parsed = if let Some(ms) = value.strip_suffix("ms") {
        ms.parse().ok().map(Duration::from_millis)
    } else {
        value.strip_suffix('s').and_then(|s| s.parse().ok()).map(Duration::from_secs)
    };
    parsed
        .filter(|wait| *wait <= MAX_DELAY)
        .ok_or_else(|| wrong("delay", value, "for example 500ms or 2s, up to 600s"))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn directives_leave_the_text_and_unknown_ones_stay() {
        let mut text = "hello [[delay=500ms]] big [[world]] [[tokens=20]][[status=429]]".to_owned();
        let found =
            Directives::take(&serde_json::json!({"retry_after": "3", "team": "x"}), &mut text).unwrap();
        assert_eq!(text, "hello big [[world]]");
        assert_eq!(found.delay, Duration::from_millis(500));
        assert_eq!((found.tokens, found.status, found.retry_after), (Some(20), Some(429), Some(3)));
    }

    #[test]
    fn a_wrong_value_is_named() {
        for text in
            ["[[delay=soon]]", "[[status=200]]", "[[tokens=99999999]]", "[[die=-1]]", "[[delay=3600s]]"]
        {
            let refusal = Directives::take(&Value::Null, &mut text.to_owned()).unwrap_err();
            assert_eq!(refusal.status, 400);
            assert!(refusal.message.contains(&text[2..text.len() - 2]), "{}", refusal.message);
        }
    }
}
