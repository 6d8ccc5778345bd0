//! People and places: what holds together, what happens once, and what keeps an owner.

use std::sync::Arc;
use std::time::Duration;

use policy::{KeyRecord, Name};
use store::{
    Declared, Founding, InvitationRow, MemberRow, OrganizationRow, PlaceRow, SessionRow, StoreError,
    TokenRow, UserRow,
};

use crate::control::key;
use crate::samples::at;
use crate::stand::Stand;

fn declared(environment: &str, layer: &str) -> (Declared, [Name; 3]) {
    let place = Declared {
        organization: "local".into(),
        workspace: "default".into(),
        environment: environment.into(),
        layer: layer.into(),
    };
    (place, ["org", "ws", "env"].map(|kind| format!("{kind}_{environment}").into()))
}

fn user(n: u8) -> UserRow {
    UserRow {
        id: format!("usr_{n}").into(),
        email: format!("user{n}@example.com").into(),
        name: "".into(),
        password: "argon2id$…".into(),
        totp: None,
        totp_since: None,
        totp_step: 0,
        created_at: at(0),
    }
}

fn member(n: u8, organization: &str, role: &str) -> MemberRow {
    MemberRow {
        id: format!("mem_{n}").into(),
        organization: organization.into(),
        workspace: "".into(),
        user: format!("usr_{n}").into(),
        role: role.into(),
        created_at: at(i64::from(n)),
    }
}

fn session(n: u8, user: u8) -> SessionRow {
    SessionRow {
        id: format!("ses_{n}").into(),
        user: format!("usr_{user}").into(),
        hash: format!("hash{n}").into(),
        address: "10.0.0.1".into(),
        agent: "a browser".into(),
        second: false,
        created_at: at(0),
        seen_at: at(0),
        expires_at: at(1_000_000_000),
    }
}

fn founding(n: u8, organization: &str) -> Founding {
    Founding {
        made: None,
        hosted: None,
        adopted: "local".into(),
        name: format!("name {n}"),
        user: user(n),
        member: member(n, organization, "owner"),
        session: session(n, n),
        key: KeyRecord { name: format!("first-{n}").into(), ..key(n) },
    }
}

pub(crate) async fn founded(stand: &Stand) -> Name {
    stand
        .store
        .ensure_places(&[declared("dev", "development"), declared("prod", "production")])
        .await
        .unwrap();
    let host = stand.store.find_organization("local").await.unwrap().unwrap();
    stand.store.found(&founding(1, &host.id)).await.unwrap();
    host.id
}

pub(crate) async fn declared_places_have_one_row_each(stand: &Stand) {
    let store = &stand.store;
    for _ in 0..2 {
        store
            .ensure_places(&[declared("dev", "development"), declared("prod", "development")])
            .await
            .unwrap();
    }
    store.ensure_places(&[declared("prod", "production")]).await.unwrap();
    let places = store.places(None, None).await.unwrap();
    let seen: Vec<_> = places.iter().map(|place| (&*place.handle, &*place.layer, &*place.id)).collect();
    assert_eq!(seen.len(), 2);
    assert!(
        seen.contains(&("dev", "development", "env_dev"))
            && seen.contains(&("prod", "production", "env_prod"))
    );
    assert!(places.iter().all(|place| *place.organization == *"org_dev" && *place.workspace == *"ws_dev"));
    assert_eq!(store.find_workspace("ws_dev").await.unwrap().unwrap().handle, "default".into());
    assert_eq!(store.find_workspace("ws_prod").await.unwrap(), None);
}

pub(crate) async fn an_organization_is_taken_over_once_and_whole(stand: &Stand) {
    let store = &stand.store;
    store.ensure_places(&[declared("dev", "development")]).await.unwrap();
    let host = store.find_organization("local").await.unwrap().unwrap();
    assert_eq!(host.adopted_at, None);
    // Two at the same moment: one.
    let (one, other) = (founding(1, &host.id), founding(2, &host.id));
    let (first, second) = tokio::join!(store.found(&one), store.found(&other));
    assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
    let lost = if first.is_ok() { 2 } else { 1 };
    assert_eq!(store.find_user(&user(lost).email).await.unwrap(), None, "nothing of the other stays");
    assert!(!store.keys().await.unwrap().iter().any(|record| record.id == key(lost).id));
    let host = store.find_organization(&host.id).await.unwrap().unwrap();
    assert!(host.adopted_at.is_some() && host.name.starts_with("name"));
    // A new one: places, person, session and key together, or nothing.
    let organization = OrganizationRow {
        id: "org_x".into(),
        handle: "org_x".into(),
        name: "X".into(),
        adopted_at: Some(at(1)),
        ..host
    };
    let place = PlaceRow {
        organization: "org_x".into(),
        organization_handle: "org_x".into(),
        organization_name: "X".into(),
        workspace: "ws_x".into(),
        workspace_handle: "ws_x".into(),
        workspace_name: "default".into(),
        id: "env_x".into(),
        handle: "env_x".into(),
        name: "dev".into(),
        layer: "development".into(),
    };
    let won = 3 - lost;
    let known = Founding {
        made: Some((organization, place.clone())),
        user: UserRow { id: "usr_9".into(), ..user(won) },
        ..founding(3, "org_x")
    };
    assert_eq!(store.found(&known).await, Err(StoreError::Exists("a user of this e-mail".into())));
    assert_eq!(store.find_organization("org_x").await.unwrap(), None);
    let fresh = Founding { user: user(3), ..known };
    store.found(&fresh).await.unwrap();
    assert_eq!(store.places(None, Some("usr_3")).await.unwrap(), [place]);
    assert_eq!(store.places(Some("org_x"), None).await.unwrap().len(), 1);
}

pub(crate) async fn a_session_ends_at_once_and_with_its_password(stand: &Stand) {
    let store = &stand.store;
    founded(stand).await;
    let found = store.find_session("hash1").await.unwrap().unwrap();
    assert_eq!(found, (session(1, 1), user(1)));
    store.insert_session(&session(2, 1)).await.unwrap();
    assert_eq!(store.sessions("usr_1").await.unwrap().len(), 2);
    assert!(!store.end_session("usr_2", "ses_2").await.unwrap(), "not theirs");
    assert!(store.end_session("usr_1", "ses_2").await.unwrap());
    assert_eq!(store.find_session("hash2").await.unwrap(), None);
    store.insert_session(&session(3, 1)).await.unwrap();
    store.insert_reset("rst_1", "usr_1", "reset", at(1_000)).await.unwrap();
    store.set_password("usr_1", "new", "ses_3").await.unwrap();
    let left: Vec<Name> = store.sessions("usr_1").await.unwrap().into_iter().map(|one| one.id).collect();
    assert_eq!(left, ["ses_3".into()]);
    assert_eq!(store.find_reset("reset").await.unwrap(), None, "a changed password needs no reset");
    // One that is over is forgotten when the next begins.
    stand.hand.advance(Duration::from_secs(2_000));
    store.insert_session(&SessionRow { expires_at: at(9_000_000_000_000), ..session(4, 1) }).await.unwrap();
    assert_eq!(store.find_session("hash3").await.unwrap(), None);
}

pub(crate) async fn a_reset_works_once_and_ends_every_session(stand: &Stand) {
    let store = &stand.store;
    founded(stand).await;
    store.insert_reset("rst_1", "usr_1", "one", at(60_000_000)).await.unwrap();
    store.insert_reset("rst_2", "usr_1", "two", at(60_000_000)).await.unwrap();
    assert_eq!(store.find_reset("one").await.unwrap(), None, "the later one replaces it");
    let (reset, user) = store.find_reset("two").await.unwrap().unwrap();
    let (first, second) =
        tokio::join!(store.use_reset(&reset, &user, "a"), store.use_reset(&reset, &user, "b"));
    assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
    assert!(store.sessions("usr_1").await.unwrap().is_empty());
    store.insert_reset("rst_3", "usr_1", "three", at(60_000_000)).await.unwrap();
    stand.hand.advance(Duration::from_secs(61));
    assert_eq!(store.find_reset("three").await.unwrap(), None, "it is over");
}

pub(crate) async fn an_organization_keeps_an_owner(stand: &Stand) {
    let store = &stand.store;
    let organization = founded(stand).await;
    let owner = store.find_member("mem_1").await.unwrap().unwrap();
    let last = Err(StoreError::Missing("other owner of the organization".into()));
    assert_eq!(store.set_role(&owner, "admin").await, last);
    assert_eq!(store.drop_member(&owner).await, last);
    store.set_role(&owner, "owner").await.unwrap();
    let waiting = invitation(1, &organization);
    store.insert_invitation(&waiting).await.unwrap();
    let second = member(2, &organization, "owner");
    store.accept_invitation("inv_1", &second, Some((&user(2), &session(2, 2)))).await.unwrap();
    // Both go at the same moment: one stays.
    let (first, other) = tokio::join!(store.drop_member(&owner), store.set_role(&second, "viewer"));
    assert!(first.is_ok() != other.is_ok(), "{first:?} {other:?}");
    let left = store.members(&organization).await.unwrap();
    assert_eq!(left.iter().filter(|one| *one.member.role == *"owner").count(), 1);
}

fn invitation(n: u8, organization: &str) -> InvitationRow {
    InvitationRow {
        id: format!("inv_{n}").into(),
        organization: organization.into(),
        workspace: "".into(),
        role: "owner".into(),
        email: "".into(),
        hash: format!("inv-hash{n}").into(),
        made_by: "usr_1".into(),
        created_at: at(0),
        expires_at: at(3_600_000_000),
        accepted_at: None,
        revoked_at: None,
    }
}

pub(crate) async fn an_invitation_is_accepted_once(stand: &Stand) {
    let store = Arc::new(stand.store.clone());
    let organization = founded(stand).await;
    for n in [1, 2, 3] {
        store.insert_invitation(&invitation(n, &organization)).await.unwrap();
    }
    assert_eq!(store.find_invitation("inv-hash1").await.unwrap(), Some(invitation(1, &organization)));
    let (two, three) = (member(2, &organization, "viewer"), member(3, &organization, "viewer"));
    let (users, sessions) = ([user(2), user(3)], [session(2, 2), session(3, 3)]);
    let (first, second) = tokio::join!(
        store.accept_invitation("inv_1", &two, Some((&users[0], &sessions[0]))),
        store.accept_invitation("inv_1", &three, Some((&users[1], &sessions[1]))),
    );
    assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
    assert_eq!(store.members(&organization).await.unwrap().len(), 2);
    // Somebody who is there already: the invitation still waits.
    let again = MemberRow { id: "mem_9".into(), ..member(1, &organization, "viewer") };
    assert_eq!(
        store.accept_invitation("inv_2", &again, None).await,
        Err(StoreError::Exists("a role of this user there".into()))
    );
    assert_eq!(store.find_invitation_by_id("inv_2").await.unwrap().unwrap().accepted_at, None);
    store.revoke_invitation("inv_2").await.unwrap();
    assert!(store.revoke_invitation("inv_2").await.is_err());
    stand.hand.advance(Duration::from_secs(3_601));
    let late = member(4, &organization, "viewer");
    assert!(store.accept_invitation("inv_3", &late, Some((&user(4), &session(4, 4)))).await.is_err(), "over");
    assert_eq!(store.find_user(&user(4).email).await.unwrap(), None);
}

pub(crate) async fn who_is_invited_first_takes_the_organization_over(stand: &Stand) {
    let store = &stand.store;
    store.ensure_places(&[declared("dev", "development")]).await.unwrap();
    let host = store.find_organization("local").await.unwrap().unwrap();
    store.insert_invitation(&InvitationRow { made_by: "".into(), ..invitation(1, &host.id) }).await.unwrap();
    let second = member(2, &host.id, "owner");
    store.accept_invitation("inv_1", &second, Some((&user(2), &session(2, 2)))).await.unwrap();
    assert!(store.find_organization("local").await.unwrap().unwrap().adopted_at.is_some());
    assert!(store.found(&founding(1, &host.id)).await.is_err(), "nobody else does");
    assert_eq!(store.find_user(&user(1).email).await.unwrap(), None);
}

pub(crate) async fn a_token_is_found_until_it_is_taken_back(stand: &Stand) {
    let store = &stand.store;
    let row = TokenRow {
        id: "tok_1".into(),
        kind: "service".into(),
        organization: "org_1".into(),
        workspace: "".into(),
        user: "".into(),
        name: "robot".into(),
        hash: "token".into(),
        hint: "tgt_ab…yz".into(),
        scopes: "keys:read".into(),
        created_at: at(0),
        expires_at: Some(at(1)),
        used_at: None,
        revoked_at: None,
    };
    store.insert_token(&row).await.unwrap();
    let own = TokenRow {
        id: "tok_2".into(),
        kind: "personal".into(),
        user: "usr_1".into(),
        hash: "other".into(),
        ..row.clone()
    };
    store.insert_token(&own).await.unwrap();
    assert_eq!(store.find_token("token").await.unwrap(), Some(row.clone()));
    assert_eq!(store.tokens("", "org_1").await.unwrap(), [row]);
    assert_eq!(store.tokens("usr_1", "").await.unwrap(), [own]);
    store.see_token("tok_1").await.unwrap();
    assert!(store.find_token_by_id("tok_1").await.unwrap().unwrap().used_at.is_some());
    store.revoke_token("tok_1").await.unwrap();
    assert_eq!(store.find_token("token").await.unwrap(), None);
    assert!(store.revoke_token("tok_1").await.is_err());
}

pub(crate) async fn a_code_works_once(stand: &Stand) {
    let store = &stand.store;
    founded(stand).await;
    let codes = ["a".to_owned(), "b".to_owned()];
    store.set_totp("usr_1", Some(vec![1, 2, 3]), Some(at(5)), 7, &codes).await.unwrap();
    let found = store.find_user_by_id("usr_1").await.unwrap().unwrap();
    assert_eq!((found.totp, found.totp_since, found.totp_step), (Some(vec![1, 2, 3]), Some(at(5)), 7));
    assert!(
        !store.use_totp_step("usr_1", 7).await.unwrap() && store.use_totp_step("usr_1", 8).await.unwrap()
    );
    assert!(!store.use_totp_step("usr_1", 8).await.unwrap());
    assert!(
        store.use_recovery("usr_1", "a").await.unwrap() && !store.use_recovery("usr_1", "a").await.unwrap()
    );
    store.set_totp("usr_1", None, None, 0, &[]).await.unwrap();
    assert!(!store.use_recovery("usr_1", "b").await.unwrap(), "they go with the factor");
    assert_eq!(store.find_user_by_id("usr_1").await.unwrap().unwrap().totp, None);
}
