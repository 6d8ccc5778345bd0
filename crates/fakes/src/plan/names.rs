//! The model-name syntax: parts joined by `-`, the first of them `ok`, the others a word with a number after it
//! where it takes one.
//!
//! | part | plan | part | plan |
//! |---|---|---|---|
//! | `t40` | 40 tokens | `s429` | status 429 |
//! | `d5` | 5 ms between events | `ra2` | `retry-after: 2` |
//! | `f300` | 300 ms before the head | `i100` `c20` `r30` | input, cached, reasoning tokens |
//! | `ualways` `uchoices` `uevery` `unone` `utwice` `ulie` `unull` | usage | `nodone` | no `[DONE]` |
//! | `crlf` `cr` | line ends | `split1` `splitms5` | pieces of 1 byte, 5 ms apart |
//! | `ping3` | a comment each 3 events | `utf8` `think` `echo` `length` `filter` | as the fields |
//! | `tools2` | two tool calls | `html` `errjson` `empty` `garbage` | 200 with another body |
//! | `badtype` | wrong content type | `gzip` `bomb100` | packed |
//! | `huge1024` | one line of 1024 KiB | `endless` | never ends |
//! | `hang` `rst` `close` | instead of an answer | `silent3` `rst3` `close3` `err3` | after 3 events |
//! | `rstb99` `closeb99` | after 99 bytes of body | `late` | an abort does not stop billing |
//! | `uncapped` | ignores `max_tokens` | | |

use super::{Fault, Newline, Plan, UsageQuirk};

/// See [`Plan::from_name`].
pub(super) fn parse(name: &str) -> Option<Result<Plan, String>> {
    let mut parts = name.split('-');
    if parts.next() != Some("ok") {
        return None;
    }
    let mut plan = Plan::default();
    for part in parts {
        if let Err(reason) = apply(&mut plan, part) {
            return Some(Err(format!("model `{name}`: {reason}")));
        }
    }
    Some(Ok(plan))
}

fn apply(plan: &mut Plan, part: &str) -> Result<(), String> {
    if part == "utf8" {
        plan.utf8 = true;
        return Ok(());
    }
    let word = part.trim_end_matches(|sign: char| sign.is_ascii_digit());
    let digits = &part[word.len()..];
    let number = if digits.is_empty() {
        None
    } else {
        Some(digits.parse::<u64>().map_err(|_| format!("part `{part}`: the number is too large"))?)
    };
    let known = match number {
        Some(number) => numbered(plan, word, number),
        None => plain(plan, word),
    };
    if known { Ok(()) } else { Err(format!("part `{part}` is not known")) }
}

fn numbered(plan: &mut Plan, word: &str, number: u64) -> bool {
    match word {
        "t" => plan.tokens = number,
        "d" => plan.delay = number,
        "f" => plan.first = number,
        "i" => plan.input = Some(number),
        "c" => plan.cached = number,
        "r" => plan.reasoning = number,
        "s" => match u16::try_from(number) {
            Ok(status @ 200..=599) => plan.status = status,
            _ => return false,
        },
        "ra" => plan.retry_after = Some(number.to_string()),
        "split" => plan.split = usize::try_from(number).unwrap_or(usize::MAX),
        "splitms" => plan.split_delay = number,
        "ping" => plan.ping = number,
        "tools" => plan.tools = number,
        "bomb" => plan.bomb = number,
        "huge" => plan.huge = number,
        "silent" => plan.fault = Some(Fault::Silence(number)),
        "rst" => plan.fault = Some(Fault::Reset(number)),
        "close" => plan.fault = Some(Fault::Close(number)),
        "rstb" => plan.fault = Some(Fault::ResetAtByte(number)),
        "closeb" => plan.fault = Some(Fault::CloseAtByte(number)),
        "err" => plan.fault = Some(Fault::Error(number)),
        _ => return false,
    }
    true
}

fn plain(plan: &mut Plan, word: &str) -> bool {
    match word {
        "ualways" => plan.usage = UsageQuirk::Always,
        "uchoices" => plan.usage = UsageQuirk::OnChoices,
        "uevery" => plan.usage = UsageQuirk::EveryChunk,
        "unone" => plan.usage = UsageQuirk::Missing,
        "utwice" => plan.usage = UsageQuirk::Twice,
        "ulie" => plan.usage = UsageQuirk::Contradictory,
        "unull" => plan.usage = UsageQuirk::Null,
        "nodone" => plan.done = false,
        "crlf" => plan.newline = Newline::CrLf,
        "cr" => plan.newline = Newline::Cr,
        "think" => plan.think = true,
        "echo" => plan.echo = true,
        "length" => plan.length = true,
        "filter" => plan.filter = true,
        "gzip" => plan.gzip = true,
        "endless" => plan.endless = true,
        "uncapped" => plan.uncapped = true,
        "late" => plan.abort_stops_billing = false,
        "badtype" => plan.content_type = Some("application/octet-stream".to_owned()),
        "hang" => plan.fault = Some(Fault::Hang),
        "rst" => plan.fault = Some(Fault::ResetAtOnce),
        "close" => plan.fault = Some(Fault::CloseAtOnce),
        "html" => {
            let page = "<!doctype html><title>Sign in</title><p>This network asks you to sign in.";
            unbilled(plan, page);
            plan.content_type = Some("text/html; charset=utf-8".to_owned());
        }
        "errjson" => unbilled(plan, r#"{"error":{"message":"the engine is on fire","type":"server_error"}}"#),
        "empty" => unbilled(plan, ""),
        "garbage" => unbilled(plan, "\u{1}\u{2}{]not json at all\u{0}"),
        _ => return false,
    }
    true
}

fn unbilled(plan: &mut Plan, body: &str) {
    plan.body = Some(body.to_owned());
    plan.bills = false;
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn names_read_as_plans() {
        let plan = parse("ok-t40-d5-utf8-rst3-unone").unwrap().unwrap();
        let expected = Plan {
            tokens: 40,
            delay: 5,
            utf8: true,
            fault: Some(Fault::Reset(3)),
            usage: UsageQuirk::Missing,
            ..Plan::default()
        };
        assert_eq!(plan, expected);
        assert_eq!(parse("ok").unwrap().unwrap(), Plan::default());
        assert_eq!(parse("ok-rst").unwrap().unwrap().fault, Some(Fault::ResetAtOnce));
        assert!(parse("gpt-5-mini").is_none() && parse("okay").is_none());
        assert_eq!(parse("ok-wat3").unwrap().unwrap_err(), "model `ok-wat3`: part `wat3` is not known");
        assert!(parse("ok-t99999999999999999999").unwrap().is_err() && parse("ok-s999").unwrap().is_err());
    }

    #[test]
    fn plans_travel_as_json() {
        let plan: Plan = serde_json::from_str(r#"{"tokens": 3, "fault": {"close": 2}}"#).unwrap();
        assert_eq!((plan.tokens, plan.fault), (3, Some(Fault::Close(2))));
        assert!(serde_json::from_str::<Plan>(r#"{"token": 3}"#).is_err());
    }
}
