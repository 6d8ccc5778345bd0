//! Embeddings and rerank: each client in its own words, each provider in its own.

use super::*;

const VECTORS: [Provider<'static>; 4] = [
    ("openai", Manner::OpenAi, "/v1", ""),
    ("gemini", Manner::Gemini, "", "dialect = \"gemini\""),
    ("cohere", Manner::Cohere, "/compatibility/v1", ""),
    ("jina", Manner::Jina, "/v1", ""),
];

const PRICED: &str = r#"
[models."gemini/e"]
price = { input = "1.00", output = "0", currency = "USD" }
[models."cohere/e"]
price = { input = "2.00", output = "0", currency = "USD" }
[models."jina/e"]
price = { input = "3.00", output = "0", currency = "USD" }
[models."openai/e"]
price = { input = "4.00", output = "0", currency = "USD" }
"#;

async fn post(stand: &Stand, path: &str, body: &Value) -> Reply {
    stand.client().post(path, body.to_string()).await
}

fn cost(reply: &Reply) -> Option<&str> {
    reply.header("x-tidegate-cost")
}

#[tokio::test]
async fn openais_client_has_vectors_of_every_provider() {
    let (stand, vendors) = stand(&VECTORS, PRICED).await;
    for encoding in [None, Some("base64")] {
        let mut body = json!({ "model": "gemini/e", "input": ["a", "bc"], "dimensions": 3 });
        if let Some(encoding) = encoding {
            body["encoding_format"] = json!(encoding);
        }
        // 0.1, 1.0 and 2.0 as little-endian floats.
        let vectors = match encoding {
            None => json!([[0, 1, 0.1], [1, 2, 0.1]]),
            Some(_) => json!(["AAAAAAAAgD/NzMw9", "AACAPwAAAEDNzMw9"]),
        };
        for (model, vendor, path, tokens, price) in [
            ("gemini/e", 1, "/v1beta/models/e:batchEmbedContents", 8, "0.000008"),
            ("jina/e", 3, "/v1/embeddings", 10, "0.000030"),
        ] {
            body["model"] = json!(model);
            let reply = post(&stand, "/v1/embeddings", &body).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            let told = reply.json();
            let data: Vec<_> =
                told["data"].as_array().unwrap().iter().map(|one| one["embedding"].clone()).collect();
            assert_eq!(Value::from(data), vectors, "{told}");
            assert_eq!((&told["object"], &told["data"][1]["index"]), (&json!("list"), &json!(1)));
            assert_eq!(told["usage"], json!({ "prompt_tokens": tokens, "total_tokens": tokens }));
            assert_eq!(sent(&vendors[vendor]).0.path, path);
            assert_eq!(cost(&reply).map(|cost| cost.parse::<f64>().unwrap()), Some(price.parse().unwrap()));
            assert_eq!(
                (reply.header("x-tidegate-model"), reply.header("x-tidegate-dropped")),
                (Some(model), None)
            );
        }
        // Cohere's and OpenAI's own endpoints of the same dialect get the bytes.
        for (model, vendor, path) in
            [("cohere/e", 2, "/compatibility/v1/embeddings"), ("openai/e", 0, "/v1/embeddings")]
        {
            body["model"] = json!(model);
            let reply = post(&stand, "/v1/embeddings", &body).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            let (seen, _) = sent(&vendors[vendor]);
            assert_eq!((seen.path.as_str(), seen.body), (path, body.to_string().replace(model, "e")));
        }
    }
}

#[tokio::test]
async fn googles_client_has_vectors_of_every_provider() {
    let (stand, vendors) = stand(&VECTORS, PRICED).await;
    let request = |text: &str| {
        json!({ "model": "models/x", "content": { "parts": [{ "text": text }] },
                                       "taskType": "RETRIEVAL_QUERY", "outputDimensionality": 3 })
    };
    let batch = json!({ "requests": [request("a"), request("bc")] });
    for (model, vendor, path, vectors, dropped) in [
        ("cohere/e", 2, "/v2/embed", json!([[0, 1, 0.1], [1, 2, 0.1]]), None),
        ("jina/e", 3, "/v1/embeddings", json!([[0, 1, 0.1], [1, 2, 0.1]]), None),
        ("openai/e", 0, "/v1/embeddings", json!([[0.5, -0.5], [0.5, -0.5]]), Some("taskType")),
        ("gemini/e", 1, "/v1beta/models/e:batchEmbedContents", json!([[0, 1, 0.1], [1, 2, 0.1]]), None),
    ] {
        let reply = post(&stand, &format!("/v1beta/models/{model}:batchEmbedContents"), &batch).await;
        assert_eq!(reply.status, 200, "{model}: {}", reply.text());
        let told: Vec<_> =
            reply.json()["embeddings"].as_array().unwrap().iter().map(|one| one["values"].clone()).collect();
        assert_eq!((Value::from(told), reply.header("x-tidegate-dropped")), (vectors, dropped), "{model}");
        assert_eq!(sent(&vendors[vendor]).0.path, path);
        assert!(cost(&reply).is_some(), "{model}");
        let one = post(&stand, &format!("/v1beta/models/{model}:embedContent"), &request("a")).await;
        assert_eq!(one.status, 200, "{model}: {}", one.text());
        assert!(one.json()["embedding"]["values"].is_array(), "{}", one.text());
    }
    assert_eq!(sent(&vendors[2]).1["input_type"], "search_query");
    // What Cohere must know and nobody said is left to its OpenAI-compatible door.
    let plain = json!({ "requests": [{ "content": { "parts": [{ "text": "a" }] } }] });
    let reply = post(&stand, "/v1beta/models/cohere/e:batchEmbedContents", &plain).await;
    assert_eq!((reply.status, sent(&vendors[2]).0.path.as_str()), (200, "/compatibility/v1/embeddings"));
}

#[tokio::test]
async fn coheres_client_has_vectors_of_every_provider() {
    let (stand, vendors) = stand(&VECTORS, PRICED).await;
    let mut body = json!({ "model": "", "texts": ["a", "bc"], "input_type": "search_document",
                           "embedding_types": ["float", "base64"], "truncate": "END" });
    for (model, vendor, path, dropped, tokens) in [
        ("gemini/e", 1, "/v1beta/models/e:batchEmbedContents", Some("truncate"), 8),
        ("jina/e", 3, "/v1/embeddings", None, 10),
        ("openai/e", 0, "/v1/embeddings", Some("input_type, truncate"), 2),
        ("cohere/e", 2, "/v2/embed", None, 6),
    ] {
        body["model"] = json!(model);
        let reply = post(&stand, "/v2/embed", &body).await;
        assert_eq!(reply.status, 200, "{model}: {}", reply.text());
        let told = reply.json();
        assert_eq!(told["response_type"], "embeddings_by_type");
        assert_eq!(told["meta"]["billed_units"]["input_tokens"], json!(tokens), "{told}");
        let (floats, packed) = (&told["embeddings"]["float"], &told["embeddings"]["base64"]);
        if model == "openai/e" {
            assert_eq!((&floats[0], &packed[0]), (&json!([0.5, -0.5]), &json!("AAAAPwAAAL8=")));
        } else {
            assert_eq!(
                (&floats[1], &packed[1]),
                (&json!([1, 2, 0.1]), &json!("AACAPwAAAEDNzMw9")),
                "{model}"
            );
        }
        assert_eq!(reply.header("x-tidegate-dropped"), dropped, "{model}");
        assert!(cost(&reply).is_some(), "{model}");
        let (seen, _) = sent(&vendors[vendor]);
        assert_eq!(seen.path, path);
        if model == "cohere/e" {
            assert_eq!(seen.body, body.to_string().replace(model, "e"));
        }
    }
    body["model"] = json!("openai/e");
    let strict = stand.client().header("x-tidegate-strict", "true");
    let reply = strict.post("/v2/embed", body.to_string()).await;
    assert_eq!((reply.status, reply.code().as_str()), (400, "unsupported_parameter"), "{}", reply.text());
    assert!(reply.text().contains("input_type"), "{}", reply.text());
}

#[tokio::test]
async fn jinas_client_has_vectors_of_every_provider() {
    let (stand, vendors) = stand(&VECTORS, PRICED).await;
    let mut body =
        json!({ "model": "", "input": ["a", "bc"], "task": "retrieval.passage", "embedding_type": "base64" });
    for (model, vendor, path, dropped) in [
        ("gemini/e", 1, "/v1beta/models/e:batchEmbedContents", None),
        ("cohere/e", 2, "/v2/embed", None),
        ("openai/e", 0, "/v1/embeddings", Some("task")),
        ("jina/e", 3, "/v1/embeddings", None),
    ] {
        body["model"] = json!(model);
        let reply = post(&stand, "/v1/embeddings", &body).await;
        assert_eq!(reply.status, 200, "{model}: {}", reply.text());
        let vector = if model == "openai/e" { "AAAAPwAAAL8=" } else { "AACAPwAAAEDNzMw9" };
        assert_eq!(reply.json()["data"][1]["embedding"], vector, "{model}");
        assert_eq!(
            (reply.header("x-tidegate-dropped"), sent(&vendors[vendor]).0.path.as_str()),
            (dropped, path)
        );
    }
    assert_eq!(sent(&vendors[1]).1["requests"][0]["taskType"], "RETRIEVAL_DOCUMENT");
    // A server that nobody knows may understand Jina's words: its bytes are the client's.
    body["model"] = json!("fake/e");
    let reply = post(&stand, "/v1/embeddings", &body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let sent = stand.upstream.journal().last().unwrap().body.unwrap();
    assert_eq!(sent, body.to_string().replace("fake/e", "e"));
}

#[tokio::test]
async fn what_a_provider_cannot_be_asked_is_refused_by_name() {
    let (stand, vendors) = stand(&VECTORS, PRICED).await;
    let many = vec!["a"; 101];
    let bits = json!({ "model": "gemini/e", "texts": ["a"], "input_type": "clustering", "embedding_types": ["ubinary"] });
    for (path, body, param, says) in [
        ("/v1/embeddings", json!({ "model": "gemini/e", "input": [1, 2] }), "input", "arrays of tokens"),
        ("/v1/embeddings", json!({ "model": "jina/e", "input": [[1], [2]] }), "input", "arrays of tokens"),
        ("/v1/embeddings", json!({ "model": "gemini/e", "input": many }), "input", "at most 100"),
        ("/v2/embed", bits, "embedding_types", "`ubinary`"),
        ("/v1/embeddings", json!({ "model": "gemini/e", "input": 5 }), "input", "must be"),
    ] {
        let reply = post(&stand, path, &body).await;
        let error = &reply.json()["error"];
        assert_eq!((reply.status, &error["param"]), (400, &json!(param)), "{}", reply.text());
        assert!(reply.text().contains(says), "{}", reply.text());
    }
    assert!(vendors.iter().all(|vendor| vendor.seen().is_empty()));
    // Another dialect's refusal is told in the client's.
    let reply =
        post(&stand, "/v2/embed", &json!({ "model": "jina/e", "texts": ["a"], "input_type": "x" })).await;
    assert_eq!((reply.status, reply.header("x-tidegate-dropped")), (200, Some("input_type")));
}

#[tokio::test]
async fn rerank_in_either_dialect_from_either_provider() {
    let (mut stand, vendors) = stand(&VECTORS, PRICED).await;
    let ranks = |reply: &Reply| {
        let told = reply.json();
        let line = |one: &Value| (one["index"].as_u64().unwrap(), one["relevance_score"].as_f64().unwrap());
        told["results"].as_array().unwrap().iter().map(line).collect::<Vec<_>>()
    };
    let ask = |model: &str| json!({ "model": model, "query": "q", "documents": ["a", "b", "c"], "top_n": 2 });
    for (path, model, vendor, theirs) in [
        ("/v1/rerank", "cohere/e", 2, "/v2/rerank"),
        ("/v2/rerank", "cohere/e", 2, "/v2/rerank"),
        ("/v1/rerank", "jina/e", 3, "/v1/rerank"),
        ("/v2/rerank", "jina/e", 3, "/v1/rerank"),
        ("/rerank", "jina/e", 3, "/v1/rerank"),
    ] {
        let reply = post(&stand, path, &ask(model)).await;
        assert_eq!(reply.status, 200, "{path} {model}: {}", reply.text());
        assert_eq!(ranks(&reply), [(2, 0.98), (1, 0.5)], "{path} {model}");
        let (seen, body) = sent(&vendors[vendor]);
        assert_eq!((seen.path.as_str(), &body["documents"]), (theirs, &json!(["a", "b", "c"])));
        let told = reply.json();
        let documents = told["results"][0]["document"]["text"] == "c";
        assert_eq!(documents, path != "/v2/rerank", "{path} {model}: {told}");
        assert_eq!(
            told["meta"]["billed_units"]["search_units"] == 1,
            path == "/v2/rerank" && vendor == 2,
            "{told}"
        );
        // Cohere tells units and no tokens: what it costs is not known, and not nothing.
        assert_eq!(cost(&reply).is_some(), vendor == 3, "{path} {model}");
        stand.wait_drained().await;
        let (_, out, _) = stand.command(&["logs", "--json", "--limit", "1"]);
        let line: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
        let tokens = if vendor == 3 { json!(15) } else { Value::Null };
        assert_eq!((&line["endpoint"], &line["input_tokens"]), (&json!("rerank"), &tokens), "{line}");
    }
    // The same path serves Cohere's older SDK, which names itself.
    let older = stand.client().header("x-fern-sdk-name", "cohere");
    let mut body = ask("cohere/e");
    let reply = older.post("/v1/rerank", body.to_string()).await;
    assert!(reply.json()["results"][0]["document"].is_null(), "{}", reply.text());
    assert_eq!(reply.json()["meta"]["api_version"]["version"], "1");
    body["return_documents"] = json!(true);
    let reply = older.post("/v1/rerank", body.to_string()).await;
    assert_eq!(reply.json()["results"][0]["document"]["text"], "c", "{}", reply.text());
    // What one of them cannot take is named.
    let mut odd = ask("jina/e");
    odd["max_tokens_per_doc"] = json!(9);
    assert_eq!(
        post(&stand, "/v2/rerank", &odd).await.header("x-tidegate-dropped"),
        Some("max_tokens_per_doc")
    );
    odd["model"] = json!("cohere/e");
    odd["documents"] = json!(["a", { "image": "https://x/y.png" }]);
    let reply = post(&stand, "/v1/rerank", &odd).await;
    assert_eq!(
        (reply.status, &reply.json()["error"]["param"]),
        (400, &json!("documents")),
        "{}",
        reply.text()
    );
}

#[tokio::test]
async fn the_simulated_model_makes_vectors_for_every_client() {
    let stand = Stand::start(Setup::default()).await;
    let openai = json!({ "model": "demo/embed", "input": ["a b"], "dimensions": 4 });
    let openai = post(&stand, "/v1/embeddings", &openai).await;
    let vector = openai.json()["data"][0]["embedding"].clone();
    assert_eq!(vector.as_array().map(Vec::len), Some(4), "{}", openai.text());
    let part = json!({ "content": { "parts": [{ "text": "a b" }] }, "outputDimensionality": 4 });
    let google = post(&stand, "/v1beta/models/demo/embed:embedContent", &part).await;
    assert_eq!(google.json()["embedding"]["values"], vector, "{}", google.text());
    let texts = json!({ "model": "demo/embed", "texts": ["a b"], "input_type": "search_query",
                        "embedding_types": ["float"], "output_dimension": 4 });
    let cohere = post(&stand, "/v2/embed", &texts).await;
    assert_eq!(cohere.json()["embeddings"]["float"][0], vector, "{}", cohere.text());
    assert_eq!(cohere.header("x-tidegate-dropped"), Some("input_type"));
}
