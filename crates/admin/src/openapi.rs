//! The OpenAPI document, built from the route table and the schemas below.
//!
//! Kept by hand: so few routes are read faster than generated. The table supplies paths,
//! methods, parameters and permissions, so those cannot drift; a test checks that every schema named exists.

mod identity;
mod releases;

use crate::routes;
use axum::Json;
use serde_json::{Map, Value, json};

pub(crate) async fn read() -> Json<Value> {
    Json(document())
}

/// Operations that make something.
const CREATED: &[&str] = &[
    "createKey",
    "signUp",
    "createInvitation",
    "acceptInvitation",
    "createToken",
    "createServiceToken",
    "createPasswordReset",
    "enrolTotp",
    "createEnvironment",
    "makeRelease",
    "promoteRelease",
];

/// The whole document.
pub(crate) fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for route in routes::table() {
        let entry = paths.entry(route.path).or_insert_with(|| json!({}));
        entry[route.method.as_str().to_lowercase()] = operation(&route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tidegate admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "On the owner-only socket `control.sock` of the data folder all of it is open. On the network `x-permission` says what a caller must hold: \
                `public` nothing, `session` a person who is signed in (cookie, and `x-csrf-token` for writes), all others a role or a token that gives it.",
        },
        "paths": paths,
        "components": { "schemas": schemas() },
    })
}

fn operation(route: &routes::Route) -> Value {
    let mut parameters: Vec<Value> = route
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    parameters.extend(route.query.iter().map(
        |(name, meaning)| json!({ "name": name, "in": "query", "description": meaning, "schema": { "type": "string" } }),
    ));
    let success = match route.operation {
        "requestPasswordReset" => "202",
        operation if CREATED.contains(&operation) => "201",
        _ => "200",
    };
    let mut operation = json!({
        "operationId": route.operation,
        "summary": route.summary,
        "x-permission": route.permission.as_str(),
        "parameters": parameters,
        "responses": {
            success: answer("Done", route.gives.unwrap_or("OpenApi")),
            "default": answer("Refused or failed", "Error"),
        },
    });
    if let Some(schema) = route.takes {
        let content = json!({ "application/json": { "schema": reference(schema) } });
        operation["requestBody"] = json!({ "required": true, "content": content });
    }
    operation
}

fn answer(description: &str, schema: &str) -> Value {
    json!({ "description": description, "content": { "application/json": { "schema": reference(schema) } } })
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

fn object(fields: &[(&str, Value)], required: &[&str]) -> Value {
    let properties: Map<String, Value> =
        fields.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
    json!({ "type": "object", "properties": properties, "required": required })
}

fn list(schema: &Value) -> Value {
    json!({ "type": "array", "items": schema })
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn maybe(kind: &str) -> Value {
    json!({ "type": [kind, "null"] })
}

fn time() -> Value {
    json!({ "type": "string", "format": "date-time" })
}

fn money() -> Value {
    json!({ "type": "string", "description": "decimal", "examples": ["25.00"] })
}

fn schemas() -> Value {
    let (integer, boolean) = (json!({ "type": "integer" }), json!({ "type": "boolean" }));
    let mut all = key_schemas(&integer, &boolean);
    let reading = reading_schemas(&integer, &boolean);
    for more in [reading, identity::schemas(), releases::schemas()] {
        if let (Some(all), Value::Object(more)) = (all.as_object_mut(), more) {
            all.extend(more);
        }
    }
    all
}

fn key_schemas(integer: &Value, boolean: &Value) -> Value {
    let limits = object(
        &[
            ("requests_per_minute", maybe("integer")),
            ("tokens_per_minute", maybe("integer")),
            ("concurrency", maybe("integer")),
        ],
        &[],
    );
    let window = json!({ "type": "string", "enum": ["hour", "day", "week", "month", "total"] });
    let new_budget = [("name", text()), ("amount", money()), ("currency", text()), ("window", window)];
    let mut budget = new_budget.to_vec();
    budget.extend([("spent", money()), ("reserved", money()), ("resets_at", maybe("string"))]);
    let shared = [
        ("name", text()),
        ("environment", text()),
        ("models", list(&text())),
        ("limits", limits),
        ("durable", boolean.clone()),
        ("expires_at", maybe("string")),
    ];
    let mut new_key = shared.to_vec();
    new_key.push(("budgets", list(&object(&new_budget, &["amount", "window"]))));
    let mut key = shared.to_vec();
    key.extend([
        ("id", text()),
        ("hint", text()),
        ("status", json!({ "type": "string", "enum": ["active", "revoked", "expired", "no_secret"] })),
        ("budgets", list(&object(&budget, &["name", "amount", "currency", "window", "spent", "reserved"]))),
        ("owner", json!({ "type": "string", "enum": ["file", "live"] })),
        ("created_at", time()),
        ("revoked_at", maybe("string")),
        ("previous_until", maybe("string")),
    ]);
    let secret = json!({ "type": "string", "description": "shown this once" });
    json!({
        "NewKey": object(&new_key, &["name"]),
        "Rotation": object(&[("grace", json!({ "type": "string", "examples": ["48h"] }))], &[]),
        "Key": object(&key, &["id", "name", "environment", "status"]),
        "KeyAlone": object(&[("key", reference("Key"))], &["key"]),
        "KeyWithSecret": object(&[("key", reference("Key")), ("secret", secret), ("warnings", list(&text()))], &["key", "secret", "warnings"]),
        "KeyList": object(&[("keys", list(&reference("Key"))), ("more", boolean.clone())], &["keys", "more"]),
        "Error": object(&[("error", object(&[("code", text()), ("message", text())], &["code", "message"]))], &["error"]),
        "Count": integer,
    })
}

fn reading_schemas(integer: &Value, boolean: &Value) -> Value {
    let usage = [
        ("requests", integer.clone()),
        ("input_tokens", integer.clone()),
        ("output_tokens", integer.clone()),
        ("cost", maybe("string")),
        ("currency", maybe("string")),
        ("unknown_cost_requests", integer.clone()),
    ];
    let log = [
        ("request_id", text()),
        ("time", time()),
        ("key", text()),
        ("model", text()),
        ("status", integer.clone()),
        ("attempts", integer.clone()),
        ("input_tokens", maybe("integer")),
        ("output_tokens", maybe("integer")),
        ("cost", maybe("string")),
        ("currency", maybe("string")),
        ("release", integer.clone()),
    ];
    let release = [
        ("environment", text()),
        ("number", integer.clone()),
        ("at", time()),
        ("source", text()),
        ("checksum", text()),
        ("message", text()),
        ("current", boolean.clone()),
        ("document", text()),
    ];
    let any = json!({ "type": "object" });
    json!({
        "UsageList": object(&[("since", time()), ("until", maybe("string")), ("by", list(&text())), ("usage", list(&object(&usage, &["requests"])))], &["usage"]),
        "LogList": object(&[("logs", list(&object(&log, &["request_id", "time", "status"]))), ("next", maybe("string"))], &["logs"]),
        "Release": object(&release, &["environment", "number"]),
        "ReleaseList": object(&[("releases", list(&reference("Release")))], &["releases"]),
        "Status": any,
        "ProviderList": object(&[("providers", list(&reference("Provider")))], &["providers"]),
        "Provider": object(&[
            ("environment", text()), ("name", text()), ("address", text()), ("simulated", boolean.clone()), ("discovers", boolean.clone()),
            ("discovered_models", integer.clone()), ("error", maybe("string")), ("credentials", list(&text())), ("standings", list(&reference("Standing"))),
            ("bearings", list(&reference("Bearing"))),
        ], &["environment", "name", "standings"]),
        "Bearing": object(&[
            ("name", text()), ("credential", text()), ("limit", integer.clone()), ("under_way", integer.clone()),
        ], &["name", "limit", "under_way"]),
        "Standing": object(&[
            ("name", text()), ("credential", text()), ("reason", text()), ("failures", integer.clone()),
            ("recent_attempts", integer.clone()), ("recent_failures", integer.clone()), ("away", boolean.clone()), ("tried_in_ms", integer.clone()),
        ], &["name", "reason", "failures", "away", "tried_in_ms"]),
        "NodeList": object(&[("nodes", list(&reference("Node")))], &["nodes"]),
        "Node": object(&[
            ("id", text()), ("name", text()), ("version", text()), ("started_at", time()), ("seen_at", time()), ("lives", boolean.clone()),
        ], &["id", "name", "lives"]),
        "ForgottenNode": object(&[("forgotten", text())], &["forgotten"]),
        "BudgetList": object(&[("budgets", list(&reference("BudgetState"))), ("reached", list(&any))], &["budgets", "reached"]),
        "BudgetState": object(&[
            ("scope", text()), ("name", text()), ("whose", text()), ("amount", text()), ("currency", text()), ("window", text()), ("time_zone", text()),
            ("warn_at", list(integer)), ("spent", text()), ("reserved", text()), ("spent_here", text()), ("leased", text()), ("elsewhere", text()), ("window_start", time()), ("resets_at", maybe("string")),
        ], &["scope", "name", "amount", "currency", "window", "spent", "reserved"]),
        "Explain": object(&[
            ("environment", text()), ("key", text()), ("endpoint", text()), ("model", text()), ("request", any.clone()), ("headers", any.clone()),
        ], &[]),
        "Explained": object(&[
            ("asked", text()), ("strategy", maybe("string")), ("tokens", integer.clone()), ("content", list(&text())), ("release", integer.clone()),
            ("attempts", list(&reference("ExplainedPlace"))), ("most_attempts", integer.clone()), ("left_out", list(&reference("ExplainedPlace"))),
        ], &["asked", "attempts", "left_out"]),
        "ExplainedPlace": object(&[("model", text()), ("credential", text()), ("because", text()), ("away", boolean.clone())], &["model", "because"]),
        "OpenApi": any,
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn every_schema_that_is_named_exists() {
        let document = document();
        let known = document["components"]["schemas"].as_object().unwrap().clone();
        let text = document.to_string();
        for part in text.split("#/components/schemas/").skip(1) {
            let name = part.split('"').next().unwrap();
            assert!(known.contains_key(name), "{name}");
        }
    }

    #[test]
    fn every_route_is_described_with_its_permission() {
        let document = document();
        for route in routes::table() {
            let operation = &document["paths"][route.path][route.method.as_str().to_lowercase()];
            assert_eq!(operation["x-permission"], route.permission.as_str(), "{}", route.path);
        }
    }
}
