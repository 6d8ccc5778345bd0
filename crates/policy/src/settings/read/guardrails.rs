//! `[guardrails.NAME]`.

use super::{Node, Value, json};
use crate::guardrails::Action;
use crate::settings::document::GuardrailDocument;
use crate::settings::value;

pub(super) fn guardrail(node: &Node<'_, '_>) -> GuardrailDocument {
    let told = ["pattern", "words", "entities", "max", "languages", "schema", "url", "timeout", "credential"];
    let told = told.into_iter().filter(|name| node.find(name).is_some());
    let action = |wanted: &str| Action::NAMES.iter().find(|(name, _)| *name == wanted).map(|(_, it)| *it);
    let kind = node.name("kind").unwrap_or_default();
    // Nobody sends what a model is to keep to.
    let usual = if &*kind == "json_schema" { "response" } else { "request" };
    let stages = node.names("stage");
    let said = node.text("stage");
    let at = |stage: &str| match said {
        Some(said) => said == stage,
        None if stages.is_empty() => stage == usual,
        None => stages.iter().any(|said| &*said.value == stage),
    };
    let schema = node.find("schema").map(|(spot, _)| match spot.get_ref() {
        Value::String(text) => text.to_string(),
        table => json(table).to_string(),
    });
    GuardrailDocument {
        at: node.at,
        told: told.map(|name| (name, node.place(name))).collect(),
        pattern: node.text("pattern").unwrap_or_default().to_owned(),
        words: node.names("words"),
        entities: node.names("entities"),
        languages: node.names("languages"),
        schema,
        url: node.text("url").map(str::to_owned),
        credential: node.placed("credential", value::secret),
        timeout: node.duration("timeout"),
        max: node.count("max").unwrap_or(0),
        action: node.text("action").and_then(action),
        request: at("request"),
        response: at("response"),
        window: node.count("window"),
        everywhere: node.boolean("everywhere").unwrap_or(false),
        fail_open: node.text("on_failure") == Some("open"),
        kind,
    }
}
