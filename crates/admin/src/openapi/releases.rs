//! The schemas of environments and releases.

use super::{list, maybe, object, reference, text};
use serde_json::{Value, json};

pub(super) fn schemas() -> Value {
    let (integer, number) = (|| json!({ "type": "integer" }), || json!({ "type": "number" }));
    let layer = json!({ "type": "string", "enum": ["development", "production", "innovation", "domestic"] });
    let owner = json!({ "type": "string", "enum": ["file", "console"] });
    let environment = [
        ("id", text()),
        ("handle", text()),
        ("name", text()),
        ("layer", layer.clone()),
        ("region", maybe("string")),
        ("organization", text()),
        ("workspace", text()),
        ("owner", owner.clone()),
        ("release", maybe("integer")),
        ("candidate", integer()),
        ("percent", number()),
        ("approvals", maybe("integer")),
        ("trouble", list(&text())),
    ];
    let new_environment = [("name", text()), ("layer", layer), ("region", text()), ("workspace", text())];
    let change = [("path", text()), ("before", json!({})), ("after", json!({})), ("words", text())];
    let published = [
        ("environment", text()),
        ("release", integer()),
        ("candidate", integer()),
        ("percent", number()),
        ("propagated_ms", integer()),
        ("waiting_for", list(&text())),
    ];
    let exported =
        [("environment", text()), ("owner", owner), ("release", maybe("integer")), ("document", text())];
    json!({
        "Environment": object(&environment, &["id", "handle", "name", "layer", "owner"]),
        "EnvironmentAlone": object(&[("environment", reference("Environment"))], &["environment"]),
        "EnvironmentList": object(&[("environments", list(&reference("Environment")))], &["environments"]),
        "NewEnvironment": object(&new_environment, &["name", "layer"]),
        "EnvironmentChange": object(&[("approvals", maybe("integer"))], &[]),
        "Exported": object(&exported, &["environment", "owner", "document"]),
        "Proposed": object(&[("document", text())], &["document"]),
        "Difference": object(&[("changes", list(&object(&change, &["path", "words"])))], &["changes"]),
        "NewRelease": object(&[("document", text()), ("message", text())], &["document"]),
        "MadeRelease": object(
            &[("release", reference("Release")), ("published", reference("Published")), ("warnings", list(&text()))],
            &["release", "warnings"],
        ),
        "Publish": object(&[("percent", number()), ("users", list(&text())), ("message", text())], &[]),
        "Published": object(&published, &["environment", "release", "propagated_ms", "waiting_for"]),
        "Rollback": object(&[("message", text())], &[]),
        "Approved": object(
            &[("release", integer()), ("approvals", list(&text())), ("needed", integer())],
            &["release", "approvals", "needed"],
        ),
        "Promotion": object(&[("to", text()), ("message", text())], &["to"]),
    })
}
