//! Cohere, Jina and Google as makers of vectors and sorters of documents: each takes its own words and no others, tells
//! its own counts, and answers with vectors that say which input they are of: `[place, length of the text, 0.1]`.

use serde_json::{Value, json};

use super::{Asked, Manner, Reply, openai};

pub(super) fn answer(manner: Manner, asked: &Asked<'_>) -> Reply {
    if asked.header("authorization").is_none() {
        return Reply::json(401, &json!({ "message": "no api key supplied" }));
    }
    match (manner, asked.path) {
        (Manner::Cohere, "/v2/embed") => cohere_embed(asked.body),
        (Manner::Cohere, "/v2/rerank") => cohere_rerank(asked.body),
        (Manner::Cohere, path) if path.starts_with("/compatibility/v1/") => {
            openai::answer(&Asked { path: &path["/compatibility".len()..], ..*asked })
        }
        (Manner::Jina, "/v1/embeddings") => jina_embed(asked.body),
        (Manner::Jina, "/v1/rerank") => jina_rerank(asked.body),
        _ => Reply::json(404, &json!({ "message": "not found" })),
    }
}

/// The first member that the vendor does not know, or that it misses.
fn odd(body: &Value, needs: &[&str], takes: &[&str]) -> Option<String> {
    let empty = serde_json::Map::new();
    let members = body.as_object().unwrap_or(&empty);
    let missing = needs.iter().find(|name| !members.contains_key(**name));
    if let Some(missing) = missing {
        return Some(format!("invalid request: {missing} is required"));
    }
    let known = |name: &String| needs.contains(&name.as_str()) || takes.contains(&name.as_str());
    members.keys().find(|name| !known(name)).map(|name| format!("invalid request: unknown field {name}"))
}

fn vector(at: usize, input: &Value) -> Value {
    json!([at, input.as_str().map_or(-1, |text| i64::try_from(text.len()).unwrap_or(-1)), 0.1])
}

fn list(body: &Value, name: &str) -> Vec<Value> {
    body[name].as_array().cloned().unwrap_or_default()
}

/// The three floats of [`vector`] for a text of one letter at the first place, and others, in base64.
fn packed(at: usize, input: &Value) -> String {
    let length = input.as_str().map_or(-1.0, |text| f32::from(u8::try_from(text.len()).unwrap_or(0)));
    let floats = [f32::from(u16::try_from(at).unwrap_or(0)), length, 0.1];
    crate::upstream::base64(&floats.iter().flat_map(|f| f.to_le_bytes()).collect::<Vec<_>>())
}

fn cohere_embed(body: &Value) -> Reply {
    let takes = ["texts", "images", "inputs", "truncate", "output_dimension", "max_tokens", "priority"];
    if let Some(message) = odd(body, &["model", "input_type", "embedding_types"], &takes) {
        return Reply::json(400, &json!({ "id": "e-1", "message": message }));
    }
    let inputs = ["texts", "images", "inputs"].map(|name| list(body, name)).concat();
    if inputs.is_empty() || inputs.len() > 96 {
        let message = "invalid request: total number of texts must be at most 96";
        return Reply::json(400, &json!({ "id": "e-1", "message": message }));
    }
    let mut embeddings = serde_json::Map::new();
    for kind in list(body, "embedding_types") {
        let one = |(at, input): (usize, &Value)| match kind.as_str() {
            Some("base64") => json!(packed(at, input)),
            Some("float") => vector(at, input),
            _ => json!([at, 1]),
        };
        let all: Vec<Value> = inputs.iter().enumerate().map(one).collect();
        embeddings.insert(kind.as_str().unwrap_or_default().to_owned(), all.into());
    }
    Reply::json(
        200,
        &json!({ "id": "e-1", "embeddings": embeddings, "texts": body["texts"],
            "response_type": "embeddings_by_type",
            "meta": { "api_version": { "version": "2" }, "billed_units": { "input_tokens": 3 * inputs.len() } } }),
    )
}

/// The last document is the nearest.
fn ranked(body: &Value) -> Vec<Value> {
    let count = list(body, "documents").len();
    let most = body["top_n"].as_u64().and_then(|most| usize::try_from(most).ok()).unwrap_or(count);
    let scores = [0.98, 0.5, 0.25, 0.125];
    let line = |(at, index): (usize, usize)| {
        let score = scores[at.min(3)];
        json!({ "index": index, "relevance_score": score })
    };
    (0..count).rev().take(most).enumerate().map(line).collect()
}

fn cohere_rerank(body: &Value) -> Reply {
    let takes = ["top_n", "max_tokens_per_doc", "priority"];
    if let Some(message) = odd(body, &["model", "query", "documents"], &takes) {
        return Reply::json(400, &json!({ "id": "r-1", "message": message }));
    }
    if list(body, "documents").iter().any(|document| !document.is_string()) {
        return Reply::json(
            400,
            &json!({ "id": "r-1", "message": "invalid type: documents must be strings" }),
        );
    }
    let meta = json!({ "api_version": { "version": "2" }, "billed_units": { "search_units": 1 } });
    Reply::json(200, &json!({ "id": "r-1", "results": ranked(body), "meta": meta }))
}

fn jina_embed(body: &Value) -> Reply {
    let takes = ["task", "dimensions", "embedding_type", "truncate", "late_chunking", "normalized"];
    if let Some(message) = odd(body, &["model", "input"], &takes) {
        return Reply::json(422, &json!({ "detail": message }));
    }
    let inputs = match &body["input"] {
        one @ Value::String(_) => vec![one.clone()],
        _ => list(body, "input"),
    };
    let base64 = body["embedding_type"] == "base64";
    let one = |(index, input): (usize, &Value)| {
        let embedding = if base64 { json!(packed(index, input)) } else { vector(index, input) };
        json!({ "object": "embedding", "index": index, "embedding": embedding })
    };
    let data: Vec<Value> = inputs.iter().enumerate().map(one).collect();
    let tokens = 5 * inputs.len();
    let usage = json!({ "total_tokens": tokens, "prompt_tokens": tokens });
    Reply::json(
        200,
        &json!({ "model": "jina-embeddings-v3", "object": "list", "usage": usage, "data": data }),
    )
}

fn jina_rerank(body: &Value) -> Reply {
    if let Some(message) = odd(body, &["model", "query", "documents"], &["top_n", "return_documents"]) {
        return Reply::json(422, &json!({ "detail": message }));
    }
    let mut results = ranked(body);
    if body["return_documents"] != false {
        for result in &mut results {
            let index = result["index"].as_u64().and_then(|index| usize::try_from(index).ok()).unwrap_or(0);
            result["document"] = json!({ "text": body["documents"][index] });
        }
    }
    let usage = json!({ "total_tokens": 15 });
    Reply::json(
        200,
        &json!({ "model": "jina-reranker-v2", "object": "list", "usage": usage, "results": results }),
    )
}

/// `models/…:batchEmbedContents` and `:embedContent`; `None` where something else is asked.
pub(super) fn gemini(asked: &Asked<'_>) -> Option<Reply> {
    let (_, verb) = asked.path.rsplit_once(':')?;
    let takes = ["model", "taskType", "title", "outputDimensionality"];
    let refused = |message: String| {
        let error = json!({ "code": 400, "message": message, "status": "INVALID_ARGUMENT" });
        Some(Reply::json(400, &json!({ "error": error })))
    };
    let value =
        |at: usize, request: &Value| json!({ "values": vector(at, &request["content"]["parts"][0]["text"]) });
    match verb {
        "embedContent" => match odd(asked.body, &["content"], &takes) {
            Some(message) => refused(message),
            None => Some(Reply::json(200, &json!({ "embedding": value(0, asked.body) }))),
        },
        "batchEmbedContents" => {
            let requests = list(asked.body, "requests");
            if requests.is_empty() || requests.len() > 100 {
                return refused("at most 100 requests can be in one batch".to_owned());
            }
            if let Some(message) =
                requests.iter().find_map(|request| odd(request, &["content", "model"], &takes))
            {
                return refused(message);
            }
            let all: Vec<Value> =
                requests.iter().enumerate().map(|(at, request)| value(at, request)).collect();
            let usage = json!({ "promptTokenCount": 4 * requests.len() });
            Some(Reply::json(200, &json!({ "embeddings": all, "usageMetadata": usage })))
        }
        _ => None,
    }
}
