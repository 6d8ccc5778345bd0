//! Azure OpenAI: its two forms of paths, its key, its filters in every answer, and limits that say nothing.

use serde_json::{Value, json};

use super::{Asked, Manner, Reply, openai};

const VERSION: &str = "2024-10-21";

pub(super) fn answer(manner: Manner, asked: &Asked<'_>) -> Reply {
    if asked.header("api-key").is_none() || asked.header("authorization").is_some() {
        let error = json!({ "code": "401", "message": "Access denied due to invalid subscription key." });
        return Reply::json(401, &json!({ "error": error }));
    }
    let missing =
        || Reply::json(404, &json!({ "error": { "code": "404", "message": "Resource not found" } }));
    let plain = if manner == Manner::AzureV1 {
        match asked.path.strip_prefix("/openai/v1") {
            Some(end) if asked.query.is_empty() => end.to_owned(),
            _ => return missing(),
        }
    } else {
        let rest = asked.path.strip_prefix("/openai/deployments/").and_then(|rest| rest.split_once('/'));
        match rest {
            Some((deployment, end))
                if !deployment.is_empty() && asked.query == format!("api-version={VERSION}") =>
            {
                format!("/{end}")
            }
            _ => return missing(),
        }
    };
    let path = format!("/v1{plain}");
    let mut reply = openai::answer(&Asked { path: &path, ..*asked });
    if reply.status == 200 && plain == "/chat/completions" {
        reply.body = if asked.streams() { streamed(&reply.body) } else { whole(&reply.body) };
    }
    reply.headers.push(("x-ratelimit-remaining-requests", "-1".to_owned()));
    reply.headers.push(("x-ratelimit-limit-tokens", "0".to_owned()));
    reply.headers.push(("x-ratelimit-remaining-tokens", "119000".to_owned()));
    reply
}

fn filters() -> Value {
    json!({ "hate": { "filtered": false, "severity": "safe" }, "violence": { "filtered": false, "severity": "low" } })
}

fn of_prompt() -> Value {
    json!([{ "prompt_index": 0, "content_filter_results": filters() }])
}

fn whole(body: &str) -> String {
    let mut answer: Value = serde_json::from_str(body).unwrap_or_default();
    answer["prompt_filter_results"] = of_prompt();
    answer["choices"][0]["content_filter_results"] = filters();
    answer.to_string()
}

/// The first event has no choices and no id; others carry what the filters found.
fn streamed(body: &str) -> String {
    let first = json!({ "choices": [], "created": 0, "id": "", "model": "", "object": "",
                        "prompt_filter_results": of_prompt() });
    let mut out = format!("data: {first}\n\n");
    for line in body.lines().filter_map(|line| line.strip_prefix("data: ")) {
        match serde_json::from_str::<Value>(line) {
            Ok(mut event) => {
                if event["choices"][0].is_object() {
                    event["choices"][0]["content_filter_results"] = filters();
                }
                out.push_str(&format!("data: {event}\n\n"));
            }
            Err(_) => out.push_str(&format!("data: {line}\n\n")),
        }
    }
    out
}
