//! The whole admin API on one screen: method, path, permission, what it does.
//!
//! The router, the guard before every handler and the OpenAPI document are all built from this table, so none
//! can know a route that the others do not.

use crate::access::{self, Access, Guard};
use crate::identity::{
    invitations, mail, me, members, organizations, resets, sessions, sign_in, sign_up, tokens, totp,
};
use crate::permissions::Permission;
use crate::releases::{document, make, publish};
use crate::{
    Admin, ApiError, budgets, environments, explain, keys, logs, nodes, openapi, page, releases, status,
    usage,
};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{MethodRouter, delete, get, patch, post};
use http::Method;

/// The largest body that the API reads; a key with two hundred models is far below it.
const MAX_BODY: usize = 64 * 1024;

/// One line of the table.
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path, with `{parameters}`.
    pub path: &'static str,
    /// What the caller must hold.
    pub permission: Permission,
    /// The operation's name for generated clients.
    pub operation: &'static str,
    /// What it does, in a sentence.
    pub summary: &'static str,
    /// Query parameters: name and meaning.
    pub query: &'static [(&'static str, &'static str)],
    /// The schema of the body it takes.
    pub takes: Option<&'static str>,
    /// The schema of the answer; `None` for a page.
    pub gives: Option<&'static str>,
    handler: fn() -> MethodRouter<Admin>,
}

/// Every route, grouped by noun.
#[rustfmt::skip]
pub fn table() -> Vec<Route> {
    use Permission::*;
    let read = |path, permission, operation, summary, query, gives, handler| Route {
        method: Method::GET, path, permission, operation, summary, query, takes: None, gives: Some(gives), handler,
    };
    let write = |path, permission, operation, summary, takes, gives, handler| Route {
        method: Method::POST, path, permission, operation, summary, query: &[], takes, gives: Some(gives), handler,
    };
    let change = |path, permission, operation, summary, takes, gives, handler| Route {
        method: Method::PATCH, path, permission, operation, summary, query: &[], takes: Some(takes), gives: Some(gives), handler,
    };
    let remove = |path, permission, operation, summary, handler| Route {
        method: Method::DELETE, path, permission, operation, summary, query: &[], takes: None, gives: Some("Ended"), handler,
    };
    vec![
        write("/api/sign-up", Public, "signUp", "Make an account: organization, workspace, environment and first key exist when it answers", Some("NewAccount"), "SignedUp", || post(sign_up::sign_up)),
        write("/api/sign-in", Public, "signIn", "Begin a session; its cookie is set", Some("Credentials"), "SignedIn", || post(sign_in::sign_in)),
        write("/api/sign-out", Session, "signOut", "End the session that asks", None, "SignedOut", || post(sign_in::sign_out)),
        read("/api/me", Known, "readMe", "Who one is, and what one may do where", &[], "Me", || get(me::read)),
        read("/api/sessions", Session, "listSessions", "List one's own sessions", &[], "SessionList", || get(sessions::list)),
        remove("/api/sessions/{id}", Session, "endSession", "End one of one's own sessions at once", || delete(sessions::end)),
        write("/api/password", Session, "setPassword", "Set a new password; every other session ends", Some("NewPassword"), "Changed", || post(sessions::set_password)),

        write("/api/sign-in/totp", Public, "signInTotp", "Answer the challenge of a sign-in with a code", Some("Answered"), "SignedIn", || post(totp::sign_in)),
        write("/api/totp", Session, "enrolTotp", "Begin a second factor; its secret is answered once", Some("Confirmed"), "Enrolled", || post(totp::enrol)),
        write("/api/totp/confirm", Session, "confirmTotp", "Ask for it from now on; recovery codes are answered once", Some("Code"), "RecoveryCodes", || post(totp::confirm)),
        write("/api/totp/disable", Session, "disableTotp", "Take the second factor away", Some("Confirmed"), "Changed", || post(totp::disable)),
        read("/api/organizations/{id}", ReadOrganization, "readOrganization", "An organization and its policy", &[], "Organization", || get(organizations::read)),
        change("/api/organizations/{id}", WriteOrganization, "setOrganization", "Rename it, or set its policy", "OrganizationChange", "Organization", || patch(organizations::change)),
        write("/api/password-resets", WriteUsers, "createPasswordReset", "A token with which somebody sets a new password; answered once", Some("Forgotten"), "PasswordReset", || post(resets::create)),
        write("/api/password-resets/request", Public, "requestPasswordReset", "Have such a token sent to one's own e-mail; answered alike whether there is such a user", Some("Forgotten"), "Requested", || post(resets::request)),
        read("/api/mailbox", WriteUsers, "readMailbox", "Letters that are not sent, on a loopback install without `[smtp]`", &[], "Mailbox", || get(mail::read)),
        write("/api/password-resets/accept", Public, "acceptPasswordReset", "Set a new password with such a token; every session ends", Some("Reset"), "Changed", || post(resets::accept)),

        read("/api/members", ReadMembers, "listMembers", "Who has which role", members::QUERY, "MemberList", || get(members::list)),
        change("/api/members/{id}", WriteMembers, "setRole", "Give a member another role", "NewRole", "Ended", || patch(members::change)),
        remove("/api/members/{id}", WriteMembers, "removeMember", "Take a member's role away", || delete(members::remove)),
        read("/api/invitations", ReadMembers, "listInvitations", "List invitations, without their tokens", members::QUERY, "InvitationList", || get(invitations::list)),
        write("/api/invitations", WriteMembers, "createInvitation", "Invite; the token is answered once", Some("NewInvitation"), "Invited", || post(invitations::create)),
        remove("/api/invitations/{id}", WriteMembers, "revokeInvitation", "Take an invitation back", || delete(invitations::revoke)),
        write("/api/invitations/accept", Public, "acceptInvitation", "Accept an invitation: with a new password, or signed in", Some("Acceptance"), "Joined", || post(invitations::accept)),
        read("/api/tokens", Session, "listTokens", "List one's own API tokens", &[], "TokenList", || get(tokens::list)),
        write("/api/tokens", Session, "createToken", "Make an API token of one's own; its secret is answered once", Some("NewToken"), "TokenWithSecret", || post(tokens::create)),
        remove("/api/tokens/{id}", Session, "revokeToken", "End one of one's own tokens at once", || delete(tokens::revoke)),
        read("/api/service-tokens", ReadTokens, "listServiceTokens", "List the tokens of an organization's programs", members::QUERY, "TokenList", || get(tokens::list_service)),
        write("/api/service-tokens", WriteTokens, "createServiceToken", "Make a token for a program; its secret is answered once", Some("NewServiceToken"), "TokenWithSecret", || post(tokens::create_service)),
        remove("/api/service-tokens/{id}", WriteTokens, "revokeServiceToken", "End a program's token at once", || delete(tokens::revoke_service)),

        read("/api/keys", ReadKeys, "listKeys", "List virtual keys, without their secrets", keys::LIST_QUERY, "KeyList", || get(keys::list)),
        write("/api/keys", WriteKeys, "createKey", "Make a virtual key; its secret is answered once", Some("NewKey"), "KeyWithSecret", || post(keys::create)),
        write("/api/keys/{id}/rotate", WriteKeys, "rotateKey", "Give a key a new secret; the old one works for `grace`", Some("Rotation"), "KeyWithSecret", || post(keys::rotate)),
        write("/api/keys/{id}/revoke", WriteKeys, "revokeKey", "End a key at once", None, "KeyAlone", || post(keys::revoke)),

        read("/api/budgets", ReadUsage, "listBudgets", "What each budget has spent and holds, and what was lately reached", budgets::QUERY, "BudgetList", || get(budgets::list)),
        read("/api/usage", ReadUsage, "readUsage", "Sum requests, tokens and cost", usage::QUERY, "UsageList", || get(usage::read)),
        read("/api/logs", ReadLogs, "listLogs", "List requests, newest first", logs::QUERY, "LogList", || get(logs::list)),
        read("/api/releases", ReadReleases, "listReleases", "List accepted releases, newest first", releases::QUERY, "ReleaseList", || get(releases::list)),
        read("/api/releases/{number}", ReadReleases, "readRelease", "One release with its document", releases::ONE_QUERY, "Release", || get(releases::one)),
        read("/api/environments", ReadReleases, "listEnvironments", "List environments, and what each runs on", &[], "EnvironmentList", || get(environments::list)),
        write("/api/environments", WriteEnvironments, "createEnvironment", "Make an environment, with an empty first release", Some("NewEnvironment"), "EnvironmentAlone", || post(environments::create)),
        read("/api/environments/{id}", ReadReleases, "readEnvironment", "One environment", &[], "EnvironmentAlone", || get(environments::one)),
        Route { method: Method::PATCH, ..write("/api/environments/{id}", WriteEnvironments, "changeEnvironment", "Say how many must approve a release", Some("EnvironmentChange"), "EnvironmentAlone", || patch(environments::change)) },
        read("/api/environments/{id}/export", ReadReleases, "exportEnvironment", "What an environment runs on, as a document", &[], "Exported", || get(document::export)),
        write("/api/environments/{id}/diff", ReadReleases, "diffDocument", "What a document would change, field by field", Some("Proposed"), "Difference", || post(document::propose).layer(DefaultBodyLimit::max(make::LONGEST))),
        write("/api/environments/{id}/releases", WriteReleases, "makeRelease", "Make a release of a document; `development` publishes it at once", Some("NewRelease"), "MadeRelease", || post(make::make).layer(DefaultBodyLimit::max(make::LONGEST))),
        read("/api/environments/{id}/releases/{number}/diff", ReadReleases, "diffReleases", "What a release says otherwise than another", document::DIFF_QUERY, "Difference", || get(document::diff)),
        write("/api/environments/{id}/releases/{number}/publish", PublishReleases, "publishRelease", "Put a release into force, for all or for some end users", Some("Publish"), "Published", || post(publish::publish)),
        write("/api/environments/{id}/releases/{number}/rollback", PublishReleases, "rollBack", "Go back to a release that was in force", Some("Rollback"), "Published", || post(publish::rollback)),
        write("/api/environments/{id}/releases/{number}/approve", ApproveReleases, "approveRelease", "Approve a release that somebody else made", None, "Approved", || post(publish::approve)),
        write("/api/environments/{id}/releases/{number}/promote", ReadReleases, "promoteRelease", "Make the same release in another environment", Some("Promotion"), "MadeRelease", || post(make::promote)),
        read("/api/status", ReadStatus, "readStatus", "How the process is doing", &[], "Status", || get(status::read)),
        read("/api/providers", ReadProviders, "listProviders", "Each provider, and what of it is passed over", &[], "ProviderList", || get(status::providers)),
        read("/api/nodes", ReadStatus, "listNodes", "The gateways on this database; none where it is SQLite", &[], "NodeList", || get(nodes::list)),
        write("/api/nodes/{id}/forget", WriteNodes, "forgetNode", "Give the others what a gateway held of budgets that will not come back", None, "ForgottenNode", || post(nodes::forget)),
        write("/api/routes/explain", ReadRoutes, "explainRoute", "Where a request would go and why, without making it", Some("Explain"), "Explained", || post(explain::explain)),
        read("/api/openapi.json", Public, "readOpenApi", "This document", &[], "OpenApi", || get(openapi::read)),
    ]
}

/// The router for one door. Before every handler stands who may call it; there is no route without.
pub fn router(admin: Admin, access: Access) -> Router {
    let mut router = Router::new();
    for route in table() {
        let guard = Guard { admin: admin.clone(), access, permission: route.permission };
        let guarded = (route.handler)().route_layer(middleware::from_fn_with_state(guard, access::guard));
        router = router.route(route.path, guarded);
    }
    router
        .route("/", get(page::show))
        .route("/assets/{name}", get(page::asset))
        .fallback(not_found)
        .method_not_allowed_fallback(|| async { ApiError::MethodNotAllowed })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(admin)
}

async fn not_found(uri: http::Uri) -> ApiError {
    ApiError::NotFound(format!("nothing is at `{}`; the API is described at /api/openapi.json", uri.path()))
}
