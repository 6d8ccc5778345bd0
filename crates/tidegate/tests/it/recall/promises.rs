//! What is promised under an idempotency key.

use fakes::plan::{Fault, Plan};

use super::{PATH, ask, ask_and_hold, asked, in_flight, logged, stand, word};
use crate::client::chat;
use crate::stand::{Setup, Stand, offline_key};

#[tokio::test]
async fn an_idempotency_key_brings_the_same_answer() {
    let other = offline_key();
    let mut stand = Stand::prepare(Setup {
        environment: vec![("OTHER_KEY".to_owned(), other.clone())],
        more: "[keys.other]\nsecret = \"env:OTHER_KEY\"\n".to_owned(),
        ..Setup::default()
    })
    .await;
    stand.run().await;
    for (number, flag) in ["", r#","stream":true"#].into_iter().enumerate() {
        let client = stand.client().header("idempotency-key", &format!("order-{number}"));
        let before = stand.upstream.journal().count();
        let first = ask(&client, chat("fake/m", flag)).await;
        assert_eq!((first.status, first.header("idempotent-replayed")), (200, None));
        stand.upstream.set_plan(Plan { tokens: 2, ..Plan::default() });
        let again = ask(&client, chat("fake/m", flag)).await;
        assert_eq!((again.status, again.header("idempotent-replayed")), (200, Some("true")));
        assert_eq!((again.text(), again.header("x-tidegate-cache")), (first.text(), Some("off")));
        assert_eq!(stand.upstream.journal().count() - before, 1);
        // The key is another virtual key's too, and its answer its own.
        assert_eq!(
            ask(&client.with_key(&other), chat("fake/m", flag)).await.header("idempotent-replayed"),
            None
        );
        for (path, body) in [
            (PATH, chat("fake/m", r#","seed":1"#)),
            (PATH, chat("fake/n", flag)),
            (PATH, chat("fake/m", if number == 0 { r#","stream":true"# } else { "" })),
            ("/v1/completions", chat("fake/m", r#","prompt":"x""#)),
        ] {
            let refused = client.post(path, body).await;
            assert_eq!((refused.status, refused.code().as_str()), (422, "idempotency_key_reused"));
            assert_eq!(refused.header("x-should-retry"), Some("false"));
        }
    }
    let sent = stand.upstream.journal().all();
    assert!(sent.iter().all(|one| one.header("idempotency-key").is_none()));
    let bad = ask(&stand.client().header("idempotency-key", &"x".repeat(256)), chat("fake/m", "")).await;
    assert_eq!((bad.status, bad.code().as_str()), (400, "invalid_request"));
    let log = logged(&mut stand).await;
    assert_eq!(log.iter().filter(|line| line["cache"] == "replay").count(), 2);
}

#[tokio::test]
async fn what_was_carried_out_is_replayed_and_what_was_turned_away_is_not() {
    let stand = Stand::start(Setup::default()).await;
    let keyed = |key: &str| stand.client().header("idempotency-key", key);
    for (status, replayed) in [(400, true), (500, true), (429, false), (503, false)] {
        stand.upstream.set_plan(Plan { status, ..Plan::default() });
        let client = keyed(&format!("s{status}"));
        let first = ask(&client, chat("fake/m", "")).await;
        assert_eq!(first.status, status, "{}", first.text());
        stand.upstream.set_plan(Plan::default());
        let again = ask(&client, chat("fake/m", "")).await;
        if replayed {
            assert_eq!((again.status, &again.body), (status, &first.body));
            assert_eq!(again.header("idempotent-replayed"), Some("true"));
            for reply in [&first, &again] {
                assert_eq!(reply.header("x-should-retry"), Some("false"), "{status}");
            }
        } else {
            assert_eq!((again.status, again.header("idempotent-replayed")), (200, None), "{status}");
        }
    }
    // Nothing began: a provider that says nothing, and one that hangs up.
    for (fault, status) in [(Fault::Hang, 504), (Fault::CloseAtOnce, 502)] {
        stand.upstream.set_plan(Plan { fault: Some(fault), ..Plan::default() });
        let client = keyed(&format!("f{status}")).header("x-tidegate-timeout", "300ms");
        let first = ask(&client, chat("fake/m", "")).await;
        assert_eq!(first.status, status, "{}", first.text());
        stand.upstream.set_plan(Plan::default());
        let again = ask(&keyed(&format!("f{status}")), chat("fake/m", "")).await;
        assert_eq!((again.status, again.header("idempotent-replayed")), (200, None), "{status}");
    }
    // What is no conversation.
    let body = r#"{"model":"fake/m","prompt":"a tide"}"#;
    let first = keyed("image").post("/v1/images/generations", body).await;
    assert_eq!(first.status, 200, "{}", first.text());
    let before = stand.upstream.journal().count();
    let again = keyed("image").post("/v1/images/generations", body).await;
    assert_eq!((again.header("idempotent-replayed"), &again.body), (Some("true"), &first.body));
    assert_eq!(again.header("content-type"), first.header("content-type"));
    assert_eq!(stand.upstream.journal().count(), before);
    // The provider's business.
    for _ in 0..2 {
        let passed = keyed("file").send("GET", "/passthrough/fake/models", "").await.unwrap();
        assert_eq!((passed.status, passed.header("idempotent-replayed")), (200, None));
    }
    // A stream that broke off was begun: what its client got is what it gets.
    stand.upstream.set_plan(Plan { fault: Some(Fault::Reset(3)), ..Plan::default() });
    let client = keyed("broken");
    let first = ask(&client, chat("fake/m", r#","stream":true"#)).await;
    assert!(first.text().contains("upstream_closed"), "{}", first.text());
    stand.upstream.set_plan(Plan::default());
    assert_eq!(ask(&client, chat("fake/m", r#","stream":true"#)).await.text(), first.text());
    // What the gateway itself refuses leaves the key free.
    let client = keyed("free");
    assert_eq!(ask(&client, chat("nobody/m", "")).await.status, 404);
    assert_eq!(ask(&client, chat("fake/m", "")).await.status, 200);
}

#[tokio::test]
async fn a_request_repeated_while_it_is_under_way_waits_for_its_answer() {
    let stand = Stand::start(Setup::default()).await;
    for (number, flag) in ["", r#","stream":true"#].into_iter().enumerate() {
        stand.upstream.set_plan(Plan { first: 700, ..Plan::default() });
        let before = stand.upstream.journal().count();
        let client = stand.client().header("idempotency-key", &format!("k{number}"));
        let asking: Vec<_> = (0..20)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move { ask(&client, chat("fake/m", flag)).await })
            })
            .collect();
        let mut replies = Vec::new();
        for one in asking {
            replies.push(one.await.unwrap());
        }
        assert_eq!(stand.upstream.journal().count() - before, 1);
        assert!(replies.iter().all(|reply| reply.status == 200 && reply.body == replies[0].body));
        // A client that lost its connection asks again: the call went on without it.
        let before = stand.upstream.journal().count();
        let (body, key) = (chat("fake/m", flag), format!("lost{number}"));
        in_flight(&stand, 0.0).await;
        let lost = ask_and_hold(&stand, &body, &format!("idempotency-key: {key}\r\n")).await;
        asked(&stand, before + 1).await;
        drop(lost);
        let reply = ask(&stand.client().header("idempotency-key", &key), body).await;
        assert_eq!((reply.status, reply.header("idempotent-replayed")), (200, Some("true")));
        assert_eq!(stand.upstream.journal().count() - before, 1);
        // A wait of its own choosing.
        stand.upstream.set_plan(Plan { fault: Some(Fault::Hang), ..Plan::default() });
        let (body, header) = (chat("fake/m", flag), format!("idempotency-key: slow{number}\r\n"));
        in_flight(&stand, 0.0).await;
        let slow = ask_and_hold(&stand, &body, &header).await;
        in_flight(&stand, 1.0).await;
        let impatient = stand
            .client()
            .header("idempotency-key", &format!("slow{number}"))
            .header("x-tidegate-timeout", "200ms");
        let reply = ask(&impatient, body).await;
        assert_eq!((reply.status, reply.code().as_str()), (504, "upstream_timeout"));
        drop(slow);
        stand.upstream.cut_all();
        in_flight(&stand, 0.0).await;
    }
}

/// A cached answer that is promised too is both.
#[tokio::test]
async fn a_hit_is_what_an_idempotency_key_stands_for() {
    let stand = stand("").await;
    let first = ask(&stand.client(), chat("r", "")).await;
    let keyed = stand.client().header("idempotency-key", "k");
    assert_eq!(word(&ask(&keyed, chat("r", "")).await), "hit");
    stand.upstream.set_plan(Plan { tokens: 1, ..Plan::default() });
    assert_eq!(
        word(&ask(&stand.client().header("x-tidegate-cache", "refresh"), chat("r", "")).await),
        "miss"
    );
    let again = ask(&keyed, chat("r", "")).await;
    assert_eq!((again.header("idempotent-replayed"), &again.body), (Some("true"), &first.body));
}
