//! Environments that the console owns: what is in force, what was, and who was first.

use policy::Layer;
use store::{Approval, HostedEnvironment, PlaceRow, Publication, ReleaseRow, StoreError};

use crate::identity::founded;
use crate::samples::at;
use crate::stand::Stand;

fn publication(seq: u64, stable: u64, candidate: Option<u64>) -> Publication {
    Publication {
        seq,
        at: at(i64::try_from(seq).unwrap()),
        kind: "publish".into(),
        author: "ann@example.com".into(),
        message: "why".into(),
        stable,
        candidate,
        share: candidate.map_or(0, |_| 100_000),
        salt: candidate.map_or("", |_| "salt").into(),
    }
}

fn release(environment: &str, number: u64) -> ReleaseRow {
    ReleaseRow {
        environment: environment.into(),
        number,
        at: at(0),
        source: "console".into(),
        checksum: String::new(),
        message: String::new(),
        document: format!("# {number}\n"),
        author: "ann@example.com".into(),
        bound: None,
    }
}

/// A new environment `lab` in the workspace of `dev`, and what it begins with.
async fn lab(stand: &Stand) -> (PlaceRow, HostedEnvironment) {
    founded(stand).await;
    let beside = stand.store.places(None, None).await.unwrap().remove(0);
    let place = PlaceRow {
        id: "env_1".into(),
        handle: "env_1".into(),
        name: "lab".into(),
        layer: "innovation".into(),
        ..beside
    };
    let hosted = HostedEnvironment {
        handle: "env_1".into(),
        organization: "local".into(),
        workspace: "default".into(),
        name: "lab".into(),
        layer: Layer::Innovation,
        region: "eu".into(),
        approvals: None,
        bound: "a = 1\n".into(),
        publication: publication(1, 1, None),
        document: "# 1\n".into(),
        candidate: None,
        chosen: Vec::new(),
    };
    stand.store.host_new(&place, &hosted, &release("env_1", 1)).await.unwrap();
    (place, hosted)
}

pub(crate) async fn what_is_in_force_is_the_last_publication(stand: &Stand) {
    let store = &stand.store;
    assert_eq!(store.hosted().await.unwrap(), (0, Vec::new()));
    let (_, mut hosted) = lab(stand).await;
    assert_eq!(store.hosted().await.unwrap(), (1, vec![hosted.clone()]));
    store.insert_release(&release("env_1", 2)).await.unwrap();
    assert_eq!(store.revision().await.unwrap(), 1, "a release by itself changes nothing that is served");
    store.publish("env_1", &publication(2, 1, Some(2)), None).await.unwrap();
    store.choose("env_1", &["ann".into(), "bob".into()], Some("list")).await.unwrap();
    store.choose("env_1", &["bob".into()], None).await.unwrap();
    hosted.publication = publication(2, 1, Some(2));
    hosted.candidate = Some("# 2\n".into());
    hosted.chosen = vec!["ann".into()];
    assert_eq!(store.hosted().await.unwrap(), (4, vec![hosted.clone()]));
    store.publish("env_1", &publication(3, 2, None), Some("b = 2\n")).await.unwrap();
    let found = store.find_hosted("env_1").await.unwrap().unwrap();
    assert_eq!((found.document.as_str(), found.bound.as_str(), found.candidate), ("# 2\n", "b = 2\n", None));
    assert_eq!(store.find_hosted("env_2").await.unwrap(), None);
    let history = store.publications("env_1", u64::MAX >> 1, 2).await.unwrap();
    assert_eq!(history, [publication(3, 2, None), publication(2, 1, Some(2))]);
    assert_eq!(store.publications("env_1", 2, 10).await.unwrap(), [publication(1, 1, None)]);
    let numbers = |rows: Vec<ReleaseRow>| rows.iter().map(|row| row.number).collect::<Vec<_>>();
    assert_eq!(numbers(store.releases_of("env_1", u64::MAX >> 1, 10).await.unwrap()), [2, 1]);
    assert_eq!(numbers(store.releases_of("env_1", 2, 10).await.unwrap()), [1]);
}

pub(crate) async fn of_two_who_publish_at_once_one_is_told(stand: &Stand) {
    let store = &stand.store;
    lab(stand).await;
    store.insert_release(&release("env_1", 2)).await.unwrap();
    let (ann, bob) = (publication(2, 2, None), publication(2, 1, Some(2)));
    let (one, other) =
        tokio::join!(store.publish("env_1", &ann, None), store.publish("env_1", &bob, Some("x = 1\n")));
    assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
    assert!(matches!(one.and(other), Err(StoreError::Exists(_))));
    assert_eq!(store.revision().await.unwrap(), 2, "what was refused changed nothing");
}

pub(crate) async fn an_environment_is_made_whole_and_its_name_is_free(stand: &Stand) {
    let store = &stand.store;
    let (place, hosted) = lab(stand).await;
    let again = PlaceRow { id: "env_2".into(), handle: "env_2".into(), ..place.clone() };
    let second = HostedEnvironment { handle: "env_2".into(), ..hosted.clone() };
    let refused = store.host_new(&again, &second, &release("env_2", 1)).await;
    assert!(matches!(refused, Err(StoreError::Missing(_))), "{refused:?}");
    assert_eq!(store.find_release("env_2", 1).await.unwrap(), None);
    assert_eq!(store.hosted().await.unwrap().0, 1);
    assert!(matches!(store.host(&hosted).await, Err(StoreError::Exists(_))));
    // One that the settings described until now.
    store.insert_release(&release("dev", 7)).await.unwrap();
    let own =
        HostedEnvironment { handle: "dev".into(), publication: publication(1, 7, None), ..hosted.clone() };
    store.host(&own).await.unwrap();
    let found = store.find_hosted("dev").await.unwrap().unwrap();
    assert_eq!(
        (found.layer, found.document.as_str()),
        (Layer::Development, "# 7\n"),
        "who it is stands in its row"
    );
}

pub(crate) async fn approvals_are_counted_once_each(stand: &Stand) {
    let store = &stand.store;
    lab(stand).await;
    let by =
        |user: &str| Approval { user: user.into(), name: format!("{user}@example.com").into(), at: at(5) };
    for user in ["ann", "bob", "ann"] {
        store.approve("env_1", 1, &by(user)).await.unwrap();
    }
    assert_eq!(store.approvals("env_1", 1).await.unwrap(), [by("ann"), by("bob")]);
    assert_eq!(store.approvals("env_1", 2).await.unwrap(), []);
    store.set_approvals("env_1", Some(2)).await.unwrap();
    assert_eq!(store.find_hosted("env_1").await.unwrap().unwrap().approvals, Some(2));
    assert!(matches!(store.set_approvals("nowhere", None).await, Err(StoreError::Missing(_))));
}
