//! Guardrails on requests: what they find does not reach a provider, by no endpoint, place of the key or stream mode; what they mask is all
//! that changes.

mod answers;
mod ends;
mod hidden;
mod kinds;

use crate::client::{Client, chat};
use crate::stand::{Setup, Stand};

const CARD: &str = "4111 1111 1111 1111";

/// Rails that look everywhere, as `action`.
async fn stand(action: &str, more: &str) -> Stand {
    let more =
        format!("[guardrails.personal]\nkind = \"pii\"\naction = \"{action}\"\neverywhere = true\n{more}\n");
    Stand::start(Setup { more, ..Setup::default() }).await
}

/// One call of each kind with `text` in it, streamed where it can be.
fn calls(text: &str) -> Vec<(&'static str, String)> {
    let mut all = Vec::new();
    for flag in ["", r#","stream":true"#] {
        all.push((
            "/v1/chat/completions",
            format!(r#"{{"model":"fake/ok","messages":[{{"role":"user","content":"{text}"}}]{flag}}}"#),
        ));
        all.push(("/v1/completions", format!(r#"{{"model":"fake/ok","prompt":["a","{text}"]{flag}}}"#)));
        all.push(("/v1/responses", format!(r#"{{"model":"fake/ok","input":[{{"role":"user","content":[{{"type":"input_text","text":"{text}"}}]}}]{flag}}}"#)));
        all.push(("/v1/messages", format!(r#"{{"model":"fake/ok","max_tokens":9,"system":"{text}","messages":[{{"role":"user","content":"hi"}}]{flag}}}"#)));
    }
    let gemini = format!(r#"{{"contents":[{{"role":"user","parts":[{{"text":"{text}"}}]}}]}}"#);
    all.push(("/v1beta/models/fake/ok:generateContent", gemini.clone()));
    all.push(("/v1beta/models/fake/ok:streamGenerateContent?alt=sse", gemini.clone()));
    all.push(("/v1beta/models/fake/ok:streamGenerateContent", gemini));
    all.push(("/v1/embeddings", format!(r#"{{"model":"fake/ok","input":["{text}"]}}"#)));
    all.push(("/v1/moderations", format!(r#"{{"model":"fake/ok","input":"{text}"}}"#)));
    all.push(("/v1/rerank", format!(r#"{{"model":"fake/ok","query":"q","documents":["{text}"]}}"#)));
    all.push(("/passthrough/fake/moderations", format!(r#"{{"any":"{text}"}}"#)));
    all
}

/// The key at each of its places.
fn clients(stand: &Stand) -> Vec<Client> {
    let bare = stand.client().with_key("");
    let of = |name: &str| bare.header(name, &stand.key);
    vec![stand.client(), of("x-api-key"), of("api-key"), of("x-goog-api-key")]
}

#[tokio::test]
async fn no_way_leads_past_a_block() {
    let stand = stand("block", "").await;
    for client in clients(&stand) {
        for (path, body) in calls(&format!("pay with {CARD}")) {
            let before = stand.upstream.journal().count();
            let reply = client.post(path, body).await;
            assert_eq!(reply.status, 400, "{path}: {}", reply.text());
            let text = reply.text();
            assert!(text.contains("guardrail `personal`") && !text.contains("4111"), "{path}: {text}");
            assert!(text.to_lowercase().contains("guardrail_blocked"), "{path}: {text}");
            assert_eq!(reply.header("x-tidegate-guardrails"), Some("personal=block"));
            assert_eq!(reply.header("x-should-retry"), Some("false"));
            assert_eq!(stand.upstream.journal().count(), before, "{path}");
        }
    }
    for (path, body) in calls("pay with 4111 1111 1111 1112") {
        let reply = stand.client().post(path, body).await;
        assert!(!reply.text().contains("guardrail"), "{path}: {}", reply.text());
        assert_eq!(reply.header("x-tidegate-guardrails"), None);
    }
    assert!(!stand.log().contains("4111"), "what was found is in the log");
    let metrics = stand.client().get("/metrics").await.unwrap().text();
    let wanted =
        "tidegate_guardrail_decisions_total{guardrail=\"personal\",action=\"block\",stage=\"request\"}";
    assert!(metrics.contains(wanted), "{metrics}");
}

#[tokio::test]
async fn what_is_masked_never_leaves_whatever_the_endpoint() {
    let stand = stand("mask", "").await;
    for (path, body) in calls(&format!("pay with {CARD}")) {
        let reply = stand.client().post(path, body).await;
        assert_eq!(reply.header("x-tidegate-guardrails"), Some("personal=mask"), "{path}: {}", reply.text());
        let sent = stand.upstream.journal().last().unwrap().body.unwrap();
        assert!(sent.contains("pay with [CARD]") && !sent.contains("1111"), "{path}: {sent}");
    }
}

#[tokio::test]
async fn only_what_is_masked_changes() {
    let stand = stand("mask", "").await;
    let body = |model: &str, text: &str| {
        format!(
            r#"{{ "messages" : [{{"role":"user", "content":"{text}"}},{{"content":"\u00e9\/","role":"user"}}],
               "n":1.0, "x":[12345678901234567890] ,"model":"{model}" }}"#
        )
    };
    let reply =
        stand.client().post("/v1/chat/completions", body("fake/ok", "to ann@ex\\u0061mple.com: hi")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let sent = stand.upstream.journal().last().unwrap();
    assert_eq!(sent.body.unwrap(), body("ok", "to [EMAIL]: hi"));
    let reply = stand.client().post("/v1/chat/completions", body("fake/ok", "hi")).await;
    assert_eq!(reply.header("x-tidegate-guardrails"), None);
    assert_eq!(stand.upstream.journal().last().unwrap().body.unwrap(), body("ok", "hi"));
}

#[tokio::test]
async fn routes_have_their_own_and_some_only_tell() {
    let more = "[guardrails.tell]\nkind = \"words\"\nwords = [\"hello\"]\naction = \"annotate\"\n\
                [guardrails.watch]\nkind = \"regex\"\npattern = \"th[e]re\"\naction = \"observe\"\n\
                [guardrails.short]\nkind = \"max_length\"\nmax = 20\n\
                [routes.r]\ntargets = [\"fake/ok\"]\nguardrails = [\"tell\", \"watch\"]\n\
                [routes.s]\ntargets = [\"fake/ok\"]\nguardrails = [\"short\"]\n";
    let mut stand = Stand::start(Setup { more: more.to_owned(), ..Setup::default() }).await;
    let reply = stand.client().chat("r").await;
    assert_eq!((reply.status, reply.header("x-tidegate-guardrails")), (200, Some("tell=annotate")));
    let streamed = stand.client().post("/v1/chat/completions", chat("r", r#","stream":true"#)).await;
    assert_eq!(streamed.header("x-tidegate-guardrails"), Some("tell=annotate"));
    assert!(stand.log().contains("watch"), "{}", stand.log());
    // A route named as the client's own fallback counts like the first.
    let also = stand.client().post("/v1/chat/completions", chat("fake/ok", r#","models":["r"]"#)).await;
    assert_eq!(also.header("x-tidegate-guardrails"), Some("tell=annotate"), "{}", also.text());
    let direct = stand.client().chat("fake/ok").await;
    assert_eq!((direct.status, direct.header("x-tidegate-guardrails")), (200, None));
    assert_eq!(stand.client().chat("s").await.status, 200);
    let long = chat("s", &format!(r#","user":"{}""#, "u".repeat(30)));
    let long = stand.client().post("/v1/chat/completions", long).await;
    assert_eq!((long.status, long.code().as_str()), (400, "guardrail_blocked"), "{}", long.text());
    stand.wait_drained().await;
}

#[tokio::test]
async fn what_cannot_be_read_follows_what_was_declared() {
    for (declared, status) in [("closed", 400), ("open", 200)] {
        let stand = stand("block", &format!("on_failure = \"{declared}\"")).await;
        let tokens = r#"{"model":"fake/ok","input":[1,2,3]}"#;
        let form = "--b\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nfake/ok\r\n--b\r\n\
                    content-disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nx\r\n--b--\r\n";
        let of_form = stand.client().header("content-type", "multipart/form-data; boundary=b");
        for reply in [
            stand.client().post("/v1/embeddings", tokens).await,
            of_form.post("/v1/audio/transcriptions", form).await,
        ] {
            assert_eq!(reply.status, status, "{}", reply.text());
            let told = format!("personal=failed_{declared}");
            assert_eq!(reply.header("x-tidegate-guardrails"), Some(&*told));
            assert!(declared == "open" || reply.code() == "guardrail_failed", "{}", reply.text());
        }
        assert!(stand.log().contains("cannot look"));
    }
}

#[tokio::test]
async fn check_says_what_is_wrong_and_where() {
    let more = "[guardrails.a]\nkind = \"regex\"\npattern = \"a(\"\n[guardrails.b]\nkind = \"pii\"\nentities = [\"emial\"]\n\
                [guardrails.c]\nkind = \"json_schema\"\nschema = { type = \"objekt\" }\n\
                [guardrails.f]\nkind = \"json_schema\"\nschema = \"{}\"\nstage = [\"request\", \"response\"]\n\
                [guardrails.g]\nkind = \"language\"\nlanguages = [\"en\"]\naction = \"mask\"\n\
                [guardrails.h]\nkind = \"words\"\nwords = [\"a\"]\nurl = \"http://127.0.0.1:9\"\n\
                [guardrails.d]\nkind = \"max_length\"\nmax = 5\naction = \"mask\"\n[guardrails.e]\nkind = \"words\"\n\
                [routes.r]\ntargets = [\"fake/ok\"]\nguardrails = [\"bb\"]\n";
    let stand = Stand::prepare(Setup { more: more.to_owned(), ..Setup::default() }).await;
    let (code, out, err) = stand.command(&["check"]);
    let told = format!("{out}{err}");
    assert_eq!(code, 1, "{told}");
    for wanted in [
        "guardrail `a`: unclosed group",
        "there is no entity `emial` of kind \"pii\"",
        "did you mean `email`?",
        "guardrail `c`: ",
        "guardrail `f`: a schema is for answers alone",
        "guardrail `g`: a language cannot be masked",
        "guardrail `h`: `url` is not a field of kind \"words\"",
        "guardrail `d`: a length cannot be masked",
        "guardrail `e`: kind \"words\" needs `words`",
        "route `r`: there is no guardrail `bb`",
    ] {
        assert!(told.contains(wanted), "{wanted}: {told}");
    }
}
