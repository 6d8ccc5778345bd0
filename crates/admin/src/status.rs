//! `GET /api/status`: how the process is doing, for `doctor` and for people; `GET /api/providers`: how its providers are.

use crate::Admin;
use crate::caller::Caller;
use crate::live::{LiveState, ProviderState};
use crate::permissions::Permission;
use axum::Json;
use axum::extract::State;
use serde::Serialize;

pub(crate) async fn read(State(admin): State<Admin>) -> Json<LiveState> {
    Json(admin.live.state())
}

/// The answer of `GET /api/providers`.
#[derive(Serialize)]
pub(crate) struct ProviderList {
    providers: Vec<ProviderState>,
}

pub(crate) async fn providers(State(admin): State<Admin>, caller: Caller) -> Json<ProviderList> {
    let scope = caller.scope(Permission::ReadProviders);
    let mut providers = admin.live.state().providers;
    providers.retain(|provider| scope.contains(&provider.environment));
    Json(ProviderList { providers })
}
