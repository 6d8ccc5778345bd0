//! What a client is told of that could not be said: in its own words.

use super::Dialect;
use crate::blocks::{Answer, Part};

/// The client's name of a parameter that the form knows by another.
pub fn name_of(client: Dialect, name: &str) -> &str {
    match (client, name) {
        (Dialect::Messages, "filename") => "title",
        (Dialect::Messages, "user") => "metadata.user_id",
        (Dialect::Messages, "reasoning_effort") => "thinking",
        (Dialect::Messages, "thinking_budget") => "thinking.budget_tokens",
        (Dialect::Messages, "max_completion_tokens") => "max_tokens",
        (Dialect::Messages, "response_format") => "output_config.format",
        (Dialect::Messages, "stop") => "stop_sequences",
        (Dialect::Responses, "messages") => "input",
        (Dialect::Responses, "response_format") => "text.format",
        (Dialect::Responses, "reasoning_effort") => "reasoning.effort",
        (Dialect::Responses, "max_completion_tokens") => "max_output_tokens",
        (Dialect::Responses, "logprobs") => "top_logprobs",
        (Dialect::Gemini, "messages") => "contents",
        (Dialect::Gemini, "filename") => "displayName",
        (Dialect::Gemini, "response_format") => "responseSchema",
        (Dialect::Gemini, "reasoning_effort") => "thinkingConfig",
        (Dialect::Gemini, "thinking_budget") => "thinkingConfig.thinkingBudget",
        (Dialect::Gemini, "max_completion_tokens") => "maxOutputTokens",
        (Dialect::Gemini, "stop") => "stopSequences",
        (Dialect::Gemini, "logprobs") => "responseLogprobs",
        (Dialect::Gemini, "top_logprobs") => "logprobs",
        (Dialect::Gemini, "n") => "candidateCount",
        (Dialect::Gemini, "tool_choice") => "toolConfig",
        _ => name,
    }
}

/// What of an answer the client's dialect has no place for, each kind once: `image`, `citations`, or the provider's own
/// name of it. Of further choices than the first nothing is told, where the client asked for one.
pub fn unsaid(client: Dialect, answer: &Answer) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut add = |name: &str| {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    };
    for part in answer.choices.first().into_iter().flat_map(|choice| &choice.parts) {
        match part {
            Part::Media(_) if matches!(client, Dialect::Messages | Dialect::Responses) => add("image"),
            Part::Unknown { dialect, kind, .. } if *dialect != client => add(kind),
            Part::Text { citations, .. } if citations.iter().any(|raw| !is_said(client, raw.get())) => {
                add("citations");
            }
            _ => {}
        }
    }
    names
}

/// Whether a citation is passed on to clients of a dialect: within one's own, and between those of OpenAI.
fn is_said(client: Dialect, citation: &str) -> bool {
    #[derive(serde::Deserialize)]
    struct Kind<'a> {
        #[serde(rename = "type", default)]
        kind: &'a str,
    }
    let kind = serde_json::from_str::<Kind<'_>>(citation).map(|told| told.kind).unwrap_or_default();
    match kind {
        "url_citation" => matches!(client, Dialect::Chat | Dialect::Responses),
        "file_citation" | "container_file_citation" | "file_path" => client == Dialect::Responses,
        // Google's name no type.
        "" => client == Dialect::Gemini,
        _ => client == Dialect::Messages,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::{Choice, Raw};

    fn answer(parts: Vec<Part>) -> Answer {
        Answer { choices: vec![Choice { parts, ..Choice::default() }], ..Answer::default() }
    }

    #[test]
    fn what_has_no_place_is_named_once() {
        let citation = Raw::parse(r#"{"type":"url_citation","url":"http://h"}"#);
        let text = Part::Text {
            text: "x".into(),
            citations: citation.into_iter().collect(),
            opaque: None,
            cache: None,
        };
        let raw = Raw::parse("{}").into_iter();
        let code =
            raw.map(|raw| Part::Unknown { dialect: Dialect::Gemini, kind: "executableCode".into(), raw });
        let parts: Vec<Part> = [text.clone(), text].into_iter().chain(code).collect();
        let answer = answer(parts);
        assert_eq!(unsaid(Dialect::Messages, &answer), ["citations", "executableCode"]);
        assert_eq!(unsaid(Dialect::Responses, &answer), ["executableCode"]);
        assert_eq!(unsaid(Dialect::Gemini, &answer), ["citations"]);
    }
}
