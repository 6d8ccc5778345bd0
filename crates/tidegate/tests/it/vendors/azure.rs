//! Azure OpenAI in both of its forms.

use super::*;

#[tokio::test]
async fn both_forms_are_called_as_azure_wants_it() {
    let classic: Provider<'_> = ("azure-classic", Manner::AzureClassic, "", "");
    let (stand, vendors) = stand(&[classic, ("azure", Manner::AzureV1, "", "")], "").await;
    let client = stand.client();
    let paths = [
        ("azure-classic", "/openai/deployments/prod-mini", "?api-version=2024-10-21"),
        ("azure", "/openai/v1", ""),
    ];
    for ((name, base, query), vendor) in paths.into_iter().zip(&vendors) {
        let model = format!("{name}/prod-mini");
        for stream in [false, true] {
            let (reply, message) = chat(&client, &ask(&model, json!({ "stream": stream }))).await;
            assert_eq!(message["content"], "said in chat");
            let (seen, _) = sent(vendor);
            assert_eq!(seen.path, format!("{base}/chat/completions{query}"));
            assert_eq!((seen.header("api-key"), seen.header("authorization")), (Some("vendor-key"), None));
            // What Azure's filters found stays, also in the first event, which has no choices.
            let text = reply.text();
            assert!(
                text.contains("prompt_filter_results") && text.contains("content_filter_results"),
                "{text}"
            );
            if stream {
                assert_eq!(events(&text)[0]["choices"], json!([]), "{text}");
                assert_eq!(
                    events(&text).iter().filter(|event| event["usage"].is_object()).count(),
                    0,
                    "{text}"
                );
            }
            // Limits of zero and less say nothing; the others are told.
            assert_eq!(reply.header("x-ratelimit-remaining-requests"), None);
            assert_eq!(reply.header("x-ratelimit-limit-tokens"), None);
            assert_eq!(reply.header("x-ratelimit-remaining-tokens"), Some("119000"));
            let body = ask(&model, json!({ "max_tokens": 9, "stream": stream }));
            let reply = client.post("/v1/messages", body.to_string()).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            assert!(reply.text().contains("said in chat"), "{}", reply.text());
            assert_eq!(sent(vendor).0.path, format!("{base}/chat/completions{query}"));
        }
        let reply = client.post("/v1/embeddings", json!({ "model": model, "input": "x" }).to_string()).await;
        assert_eq!(
            (reply.status, sent(vendor).0.path),
            (200, format!("{base}/embeddings{query}")),
            "{}",
            reply.text()
        );
        assert_eq!(reply.json()["data"][0]["embedding"][0], 0.5);
    }
}

/// The client of Azure's own SDK: its paths, its key header.
#[tokio::test]
async fn azures_client_reaches_azures_older_form() {
    let (stand, vendors) = stand(&[("azure-classic", Manner::AzureClassic, "", "")], "").await;
    let client = stand.client().with_key("").header("api-key", &stand.key);
    // The SDK says the deployment twice.
    let body = ask("azure-classic/prod-mini", json!({}));
    let path = "/openai/deployments/azure-classic%2Fprod-mini/chat/completions?api-version=2024-06-01";
    let reply = client.post(path, body.to_string()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(
        sent(&vendors[0]).0.path,
        "/openai/deployments/prod-mini/chat/completions?api-version=2024-10-21"
    );
    // Who calls by hand says it once.
    let body = json!({ "messages": [{ "role": "user", "content": "x" }] });
    let reply = client.post(path, body.to_string()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(sent(&vendors[0]).1["model"], "prod-mini");
    let odd =
        stand.client().post("/v1/chat/completions", ask("azure-classic/a?b", json!({})).to_string()).await;
    assert_eq!(odd.status, 400, "{}", odd.text());
}

#[tokio::test]
async fn azures_v1_form_serves_responses_models_to_chat() {
    let (stand, vendors) = stand(&[("azure", Manner::AzureV1, "", "")], "").await;
    let body = ask("azure/gpt-5.1-codex", json!({}));
    let (_, message) = chat(&stand.client(), &body).await;
    assert_eq!(message["content"], "said in responses");
    assert_eq!(sent(&vendors[0]).0.path, "/openai/v1/responses");
}
