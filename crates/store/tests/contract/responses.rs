//! Stored responses: kept once, found within their environment alone, gone when their time is over.

use std::time::Duration;

use policy::{KeyId, Timestamp};
use store::ResponseRow;

use crate::samples::at;
use crate::stand::Stand;

const HOUR: Duration = Duration::from_secs(3600);

fn row(id: &str, previous: Option<&str>, now: Timestamp) -> ResponseRow {
    ResponseRow {
        environment: "dev".into(),
        id: id.into(),
        previous: previous.map(Into::into),
        key: KeyId("key_1".into()),
        provider: None,
        model: "fake/ok".into(),
        background: false,
        running: None,
        created_at: now,
        expires_at: now.plus(HOUR),
        sealed: vec![0, 255, 7],
    }
}

pub(crate) async fn a_response_is_found_in_its_environment_alone(stand: &Stand) {
    let store = &stand.store;
    let now = stand.clock.now();
    let kept = ResponseRow { provider: Some("openai".into()), ..row("resp_1", None, now) };
    assert!(store.insert_response(kept.clone()).await.unwrap());
    assert_eq!(store.find_response("dev", "resp_1").await.unwrap(), Some(kept.clone()));
    assert_eq!(store.find_response("prod", "resp_1").await.unwrap(), None);
    assert!(store.response_chain("prod", "resp_1", 9, 9_999).await.unwrap().is_empty());
    assert!(!store.delete_response("prod", "resp_1").await.unwrap());
    assert!(!store.renew_response("prod", "resp_1", now).await.unwrap());
    // The first one of an id stays; the same id elsewhere is another's.
    assert!(!store.insert_response(row("resp_1", None, now)).await.unwrap());
    let other = ResponseRow { environment: "prod".into(), ..row("resp_1", None, now) };
    assert!(store.insert_response(other).await.unwrap());
    assert_eq!(store.find_response("dev", "resp_1").await.unwrap(), Some(kept));
    assert!(store.delete_response("dev", "resp_1").await.unwrap());
    assert!(!store.delete_response("dev", "resp_1").await.unwrap());
    assert!(store.find_response("prod", "resp_1").await.unwrap().is_some());
    let again = stand.again().await.unwrap();
    assert!(again.find_response("prod", "resp_1").await.unwrap().is_some());
    again.close().await;
}

pub(crate) async fn a_chain_is_read_to_its_end_or_its_bounds(stand: &Stand) {
    let store = &stand.store;
    let now = stand.clock.now();
    for number in 0..5 {
        let previous = (number > 0).then(|| format!("resp_{}", number - 1));
        store.insert_response(row(&format!("resp_{number}"), previous.as_deref(), now)).await.unwrap();
    }
    let ids = |rows: Vec<ResponseRow>| -> Vec<String> { rows.iter().map(|row| row.id.to_string()).collect() };
    let chain = |links, bytes| store.response_chain("dev", "resp_4", links, bytes);
    assert_eq!(ids(chain(99, 99_999).await.unwrap()), ["resp_4", "resp_3", "resp_2", "resp_1", "resp_0"]);
    assert_eq!(ids(chain(2, 99_999).await.unwrap()), ["resp_4", "resp_3"]);
    assert_eq!(ids(chain(99, 800).await.unwrap()), ["resp_4", "resp_3", "resp_2"]);
    // The end of a chain in another environment is not its end.
    store.delete_response("dev", "resp_2").await.unwrap();
    let elsewhere = ResponseRow { environment: "prod".into(), ..row("resp_2", None, now) };
    store.insert_response(elsewhere).await.unwrap();
    assert_eq!(ids(chain(99, 99_999).await.unwrap()), ["resp_4", "resp_3"]);
    // One that says it goes on from itself is read a bounded number of times.
    store.insert_response(row("resp_ring", Some("resp_ring"), now)).await.unwrap();
    assert_eq!(store.response_chain("dev", "resp_ring", 10, 99_999).await.unwrap().len(), 10);
}

pub(crate) async fn a_response_that_is_being_made_ends_once(stand: &Stand) {
    let store = &stand.store;
    let now = stand.clock.now();
    let running = ResponseRow { background: true, running: Some(at(60)), ..row("resp_1", None, now) };
    store.insert_response(running).await.unwrap();
    assert!(store.renew_response("dev", "resp_1", at(90)).await.unwrap());
    assert_eq!(store.find_response("dev", "resp_1").await.unwrap().unwrap().running, Some(at(90)));
    assert!(store.finish_response("dev", "resp_1", vec![1]).await.unwrap());
    assert!(!store.finish_response("dev", "resp_1", vec![2]).await.unwrap());
    assert!(!store.renew_response("dev", "resp_1", at(99)).await.unwrap());
    let found = store.find_response("dev", "resp_1").await.unwrap().unwrap();
    assert_eq!((found.running, found.sealed), (None, vec![1]));
}

pub(crate) async fn responses_go_when_their_time_is_over(stand: &Stand) {
    let store = &stand.store;
    let now = stand.clock.now();
    for number in 0..600 {
        store.insert_response(row(&format!("resp_{number}"), None, now)).await.unwrap();
    }
    let later = ResponseRow { expires_at: now.plus(HOUR * 3), ..row("resp_later", None, now) };
    store.insert_response(later).await.unwrap();
    let full = store.responses_size().await.unwrap();
    stand.hand.advance(HOUR * 2);
    assert_eq!(store.find_response("dev", "resp_1").await.unwrap(), None, "over, though not deleted yet");
    assert!(!store.delete_response("dev", "resp_1").await.unwrap());
    store.retain(HOUR * 24).await.unwrap();
    assert_eq!(store.responses_size().await.unwrap(), full / 601);
    assert!(store.find_response("dev", "resp_later").await.unwrap().is_some());
    assert_eq!(store.expire_responses().await.unwrap(), 0);
}
