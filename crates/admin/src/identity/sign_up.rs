//! `POST /api/sign-up`: from an e-mail and a password to a key that works, in one call.
//!
//! The very first one takes over the organization `local`, which the first start made, with its workspace and environment. A
//! later one makes an organization of its own, with an environment that the console owns; all of it is made, or nothing.

use super::policy::OrganizationPolicy;
use super::secrets;
use super::sign_in::{Entrance, begin_session};
use super::throttle::Counted;
use super::visitor::{Visitor, too_many};
use super::{names, passwords};
use crate::caller::HOST_ORGANIZATION;
use crate::permissions::Role;
use crate::read::Body;
use crate::{Admin, ApiError, environments, keys};
use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use http::{StatusCode, header};
use policy::{KeyId, KeyOrigin, KeyRecord, Layer, Limits, Name, SignUp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::{Declared, Founding, MemberRow, OrganizationRow, PlaceRow, Store, StoreError, UserRow};

/// The layer of the environment that a new organization begins with.
const FIRST_LAYER: Layer = Layer::Development;
/// Sign-ups of one address that are free of waiting.
const FREE: u32 = 10;

/// The body of `POST /api/sign-up`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewAccount {
    email: String,
    password: String,
    name: Option<String>,
    organization: Option<String>,
}

/// A place as answers show it.
#[derive(Serialize)]
pub(crate) struct Named<'a> {
    id: &'a str,
    name: &'a str,
    handle: &'a str,
}

/// `POST /api/sign-up`.
pub(crate) async fn sign_up(
    State(admin): State<Admin>,
    visitor: Visitor,
    Body(asked): Body<NewAccount>,
) -> Result<impl IntoResponse, ApiError> {
    let store = admin.store.load()?;
    let account = Account::checked(&admin, &store, &visitor, asked).await?;
    let place = place_for(&store, &account).await?;
    let entrance = begin_session(&admin, &visitor, &account.user.id, false, None);
    let (key, secret) = first_key(&admin, &place.0.handle, account.credit.as_ref())?;
    let founding = account.founding(&admin, &place, &entrance, key);
    let (user, place) = (founding.user.clone(), place.0);
    let live = admin.live.clone();
    let made = founding.key.clone();
    admin
        .to_its_end("sign_up", async move {
            store.found(&founding).await.map_err(told)?;
            if founding.hosted.is_some() {
                let (revision, all) = store.hosted().await?;
                live.take_hosted(revision, all);
            }
            live.upsert_key(founding.key);
            Ok(())
        })
        .await?;
    tracing::info!(user = %user.id, organization = %place.organization, "a user signed up");
    let body = answer(
        &user,
        &place,
        founding_name(&place, &account.organization),
        &made,
        secret.expose(),
        &entrance,
    );
    let cookie = visitor.cookie(&admin.identity, &entrance.secret, entrance.lasts);
    Ok((StatusCode::CREATED, [(header::SET_COOKIE, cookie)], Json(body)))
}

/// The answer, with the only sight of the key's secret.
fn answer(
    user: &UserRow,
    place: &PlaceRow,
    organization: &str,
    key: &KeyRecord,
    secret: &str,
    entrance: &Entrance,
) -> Value {
    json!({
        "organization": Named { id: &place.organization, name: organization, handle: &place.organization_handle },
        "workspace": Named { id: &place.workspace, name: &place.workspace_name, handle: &place.workspace_handle },
        "environment": Named { id: &place.id, name: &place.name, handle: &place.handle },
        "user": { "id": user.id, "email": user.email, "name": user.name },
        "key": { "id": key.id, "name": key.name, "secret": secret },
        "csrf_token": entrance.csrf,
    })
}

fn founding_name<'a>(place: &'a PlaceRow, asked: &'a str) -> &'a str {
    if asked.is_empty() { &place.organization_name } else { asked }
}

fn told(error: StoreError) -> ApiError {
    match error {
        StoreError::Missing(_) => {
            ApiError::Conflict("somebody else signed up at the same moment; try again".into())
        }
        other => other.into(),
    }
}

/// What was asked for, looked at.
struct Account {
    user: UserRow,
    organization: String,
    /// The host's organization has no owner yet.
    first: bool,
    credit: Option<policy::BudgetRule>,
    host: OrganizationRow,
}

impl Account {
    async fn checked(
        admin: &Admin,
        store: &Store,
        visitor: &Visitor,
        asked: NewAccount,
    ) -> Result<Self, ApiError> {
        let email = names::email(&asked.email)?;
        let name = asked.name.map(|name| names::name("name", &name)).transpose()?.unwrap_or_default();
        let organization = asked.organization.map(|name| names::name("organization", &name)).transpose()?;
        passwords::check(&asked.password, &email)?;
        // Whoever may not is told so before anything is looked up or counted.
        allowed(admin, visitor)?;
        let counted = [Counted::address("sign-up", &visitor.address, FREE)];
        admin.identity.throttle.take(&counted, admin.clock.moment()).map_err(too_many)?;
        let host = host_organization(admin, store).await?;
        let first = host.adopted_at.is_none();
        let policy = OrganizationPolicy::read(&host.policy);
        if !first && policy.open_sign_up == Some(false) {
            return Err(closed("nobody signs up here by themselves; ask an owner for an invitation"));
        }
        if !policy.takes(&email) {
            return Err(closed("e-mails of this domain do not sign up here"));
        }
        if store.find_user(&email).await?.is_some() {
            return Err(ApiError::Conflict("a user of this e-mail exists already; sign in instead".into()));
        }
        let password = admin.identity.hashing.hash(&asked.password).await?;
        let user = new_user(&email, &name, &password, admin.clock.now());
        let credit = policy.trial_credit.as_deref().filter(|_| !first).and_then(credit_of);
        Ok(Self { user, organization: organization.unwrap_or_default(), first, credit, host })
    }

    fn founding(
        &self,
        admin: &Admin,
        place: &(PlaceRow, bool),
        entrance: &Entrance,
        key: KeyRecord,
    ) -> Founding {
        let (place, made) = place;
        let hosted = || environments::first(admin, place, FIRST_LAYER, "local".into(), &self.user.email);
        let now = self.user.created_at;
        let organization = OrganizationRow {
            id: place.organization.clone(),
            name: place.organization_name.clone(),
            handle: place.organization_handle.clone(),
            policy: "{}".into(),
            created_at: now,
            adopted_at: Some(now),
        };
        let member = MemberRow {
            id: secrets::id("mem"),
            organization: place.organization.clone(),
            workspace: "".into(),
            user: self.user.id.clone(),
            role: Role::Owner.as_str().into(),
            created_at: now,
        };
        Founding {
            hosted: made.then(hosted),
            made: made.then(|| (organization, place.clone())),
            adopted: self.host.handle.clone(),
            name: self.organization.clone(),
            user: self.user.clone(),
            member,
            session: entrance.row.clone(),
            key,
        }
    }
}

/// A new person.
pub(crate) fn new_user(email: &str, name: &str, password: &str, now: policy::Timestamp) -> UserRow {
    UserRow {
        id: secrets::id("usr"),
        email: email.into(),
        name: name.into(),
        password: password.into(),
        totp: None,
        totp_since: None,
        totp_step: 0,
        created_at: now,
    }
}

/// What a new organization's key may spend in all; an amount that cannot be read is nothing.
fn credit_of(amount: &str) -> Option<policy::BudgetRule> {
    let amount = policy::Money::parse(amount, policy::Currency::USD).ok()?;
    Some(policy::BudgetRule::new("trial".into(), amount, policy::Window::Total))
}

fn closed(why: &str) -> ApiError {
    ApiError::Refused("sign_up_closed", why.into())
}

/// Whether the settings let whoever comes this way sign up.
fn allowed(admin: &Admin, visitor: &Visitor) -> Result<(), ApiError> {
    match visitor.sign_up(&admin.identity) {
        SignUp::Open => Ok(()),
        SignUp::Invite => Err(closed(
            "sign-up is by invitation: an owner, or `tidegate users invite` on the host, gives you one; \
             `server.sign_up` in the settings says who may sign up",
        )),
        SignUp::Closed => Err(closed("nobody signs up here (`server.sign_up` is \"closed\")")),
    }
}

/// The organization that the first start made, with rows for all that the settings declare.
async fn host_organization(admin: &Admin, store: &Store) -> Result<OrganizationRow, ApiError> {
    ensure_places(store, &admin.live.places()).await?;
    let found = store.find_organization(HOST_ORGANIZATION).await?;
    found.ok_or_else(|| ApiError::Internal("the organization `local` has no row".into()))
}

/// Rows for what the settings declare.
///
/// # Errors
/// See [`StoreError`].
pub async fn ensure_places(store: &Store, declared: &[Declared]) -> Result<(), StoreError> {
    let with_ids = declared
        .iter()
        .map(|place| (place.clone(), [secrets::id("org"), secrets::id("ws"), secrets::id("env")]));
    store.ensure_places(&with_ids.collect::<Vec<_>>()).await
}

/// Where the new user begins, and whether that place is new.
async fn place_for(store: &Store, account: &Account) -> Result<(PlaceRow, bool), ApiError> {
    if account.first {
        let mut places = store.places(Some(&account.host.id), None).await?;
        let usual = places.iter().position(|place| &*place.handle == "dev").unwrap_or(0);
        if places.is_empty() {
            return Err(ApiError::Conflict("no environment runs here that a user could begin with".into()));
        }
        return Ok((places.swap_remove(usual), false));
    }
    let name = match account.organization.as_str() {
        "" => names::domain(&account.user.email),
        asked => asked,
    };
    let place = new_place(name);
    Ok((place, true))
}

fn new_place(organization: &str) -> PlaceRow {
    let [org, workspace, environment] = ["org", "ws", "env"].map(secrets::id);
    PlaceRow {
        organization_handle: org.clone(),
        organization_name: organization.into(),
        organization: org,
        workspace_handle: workspace.clone(),
        workspace_name: "default".into(),
        workspace,
        handle: environment.clone(),
        id: environment,
        name: "dev".into(),
        layer: FIRST_LAYER.as_str().into(),
    }
}

/// The key that a new user begins with. Its name is its own, since another may have been made before.
fn first_key(
    admin: &Admin,
    environment: &Name,
    credit: Option<&policy::BudgetRule>,
) -> Result<(KeyRecord, policy::Secret), ApiError> {
    let (secret, hash, hint) = keys::minted(&admin.pepper)?;
    let id = KeyId::new(runtime::random_bytes());
    let tail = id.as_str().get(id.as_str().len() - 6..).unwrap_or_default();
    let record = KeyRecord {
        name: format!("first-{tail}").into(),
        id,
        environment: environment.clone(),
        hash: Some(hash),
        previous: None,
        hint,
        models: Vec::new(),
        limits: Limits::default(),
        budgets: credit.cloned().into_iter().collect(),
        durable: false,
        created_at: admin.clock.now(),
        expires_at: None,
        revoked_at: None,
        origin: KeyOrigin::Live,
    };
    Ok((record, secret))
}
