//! The whole admin API on one screen: method, path, permission, what it does.
//!
//! The router, the refusals on the network and the OpenAPI document are all built from this table, so none
//! can know a route that the others do not.

use crate::access::{Access, Permission};
use crate::{Admin, ApiError, budgets, explain, keys, logs, nodes, openapi, page, releases, status, usage};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{MethodRouter, get, post};
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
    vec![
        read("/api/keys", ReadKeys, "listKeys", "List virtual keys, without their secrets", keys::LIST_QUERY, "KeyList", || get(keys::list)),
        write("/api/keys", WriteKeys, "createKey", "Make a virtual key; its secret is answered once", Some("NewKey"), "KeyWithSecret", || post(keys::create)),
        write("/api/keys/{id}/rotate", WriteKeys, "rotateKey", "Give a key a new secret; the old one works for `grace`", Some("Rotation"), "KeyWithSecret", || post(keys::rotate)),
        write("/api/keys/{id}/revoke", WriteKeys, "revokeKey", "End a key at once", None, "KeyAlone", || post(keys::revoke)),

        read("/api/budgets", ReadUsage, "listBudgets", "What each budget has spent and holds, and what was lately reached", budgets::QUERY, "BudgetList", || get(budgets::list)),
        read("/api/usage", ReadUsage, "readUsage", "Sum requests, tokens and cost", usage::QUERY, "UsageList", || get(usage::read)),
        read("/api/logs", ReadLogs, "listLogs", "List requests, newest first", logs::QUERY, "LogList", || get(logs::list)),
        read("/api/releases", ReadReleases, "listReleases", "List accepted releases, newest first", releases::QUERY, "ReleaseList", || get(releases::list)),
        read("/api/releases/{number}", ReadReleases, "readRelease", "One release with its document", releases::ONE_QUERY, "Release", || get(releases::one)),
        read("/api/status", ReadStatus, "readStatus", "How the process is doing", &[], "Status", || get(status::read)),
        read("/api/providers", ReadStatus, "listProviders", "Each provider, and what of it is passed over", &[], "ProviderList", || get(status::providers)),
        read("/api/nodes", ReadStatus, "listNodes", "The gateways on this database; none where it is SQLite", &[], "NodeList", || get(nodes::list)),
        write("/api/nodes/{id}/forget", WriteNodes, "forgetNode", "Give the others what a gateway held of budgets that will not come back", None, "ForgottenNode", || post(nodes::forget)),
        write("/api/routes/explain", ReadRoutes, "explainRoute", "Where a request would go and why, without making it", Some("Explain"), "Explained", || post(explain::explain)),
        read("/api/openapi.json", Public, "readOpenApi", "This document", &[], "OpenApi", || get(openapi::read)),
    ]
}

/// The router for one door. A route that the door does not grant answers 401, whatever its handler would say.
pub fn router(admin: Admin, access: Access) -> Router {
    let mut router = Router::new();
    for route in table() {
        let method = (route.handler)();
        let guarded = if access.grants(route.permission) { method } else { refusal(&route.method) };
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

fn refusal(method: &Method) -> MethodRouter<Admin> {
    let refuse = || async { ApiError::Unauthorized };
    if *method == Method::POST { post(refuse) } else { get(refuse) }
}

async fn not_found(uri: http::Uri) -> ApiError {
    ApiError::NotFound(format!("nothing is at `{}`; the API is described at /api/openapi.json", uri.path()))
}
