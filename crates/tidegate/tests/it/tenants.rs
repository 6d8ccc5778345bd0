//! What a provider keeps for one environment is not seen from another.

use crate::stand::{Setup, Stand, offline_key};

/// Settings of a second environment, with the key `stranger` and a provider at the same place.
fn other(base: &str, credential: &str) -> String {
    format!(
        "[environments.other]\nlayer = \"production\"\nworkspace = \"default\"\n\
         [environments.other.providers.theirs]\ndialect = \"openai\"\nbase_url = \"{base}\"\n\
         credential = \"env:{credential}\"\n\
         [environments.other.keys.stranger]\nsecret = \"env:STRANGER_KEY\"\n"
    )
}

#[tokio::test]
async fn an_account_of_two_environments_shows_neither_what_it_keeps() {
    let stranger = offline_key();
    let environment = vec![
        ("STRANGER_KEY".to_owned(), stranger.clone()),
        ("ACCOUNT".to_owned(), "sk-one".to_owned()),
        ("ALIAS".to_owned(), "sk-one".to_owned()),
        ("APART".to_owned(), "sk-two".to_owned()),
    ];
    for (credential, status) in [("ALIAS", 403), ("APART", 200)] {
        let provider = "credential = \"env:ACCOUNT\"\n".to_owned();
        let setup = Setup { provider, environment: environment.clone(), ..Setup::default() };
        let mut stand = Stand::prepare(setup).await;
        let base = stand.upstream.base_url();
        stand.write_settings(&other(&base, credential));
        stand.run().await;
        let clients = [(stand.client(), "fake"), (stand.client().with_key(&stranger), "theirs")];
        for (client, provider) in clients {
            let passage = format!("/passthrough/{provider}/files");
            for (method, path) in [
                ("GET", "/v1/files"),
                ("POST", "/v1/files"),
                ("DELETE", "/v1/files/file-1"),
                ("GET", "/v1/batches/b"),
                ("POST", "/v1/batches"),
                ("GET", "/v1/videos/v/content"),
                ("GET", passage.as_str()),
            ] {
                let before = stand.upstream.journal().count();
                let reply = client.send(method, path, "").await.unwrap();
                assert_eq!(reply.status, status, "{credential} {method} {path}: {}", reply.text());
                let reached = stand.upstream.journal().count() - before;
                assert_eq!(reached, u64::from(status == 200), "{credential} {method} {path}");
                if status == 403 {
                    assert_eq!(reply.code(), "shared_account");
                    assert!(reply.text().contains(&format!("`{provider}`")), "{}", reply.text());
                }
            }
            // Calls of models keep nothing, and go on.
            let body = format!(r#"{{"model":"{provider}/m","input":"x"}}"#);
            assert_eq!(client.post("/v1/moderations", body).await.status, 200);
        }
    }
}
