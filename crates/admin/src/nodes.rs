//! `GET /api/nodes`: the gateways on this database. `POST /api/nodes/{id}/forget`: one of them will not come back.

use crate::{Admin, ApiError};
use axum::Json;
use axum::extract::{Path, State};
use policy::Name;
use serde::Serialize;
use store::StoreError;

/// The answer of `GET /api/nodes`.
#[derive(Serialize)]
pub(crate) struct NodeList {
    nodes: Vec<NodeView>,
}

#[derive(Serialize)]
struct NodeView {
    id: Name,
    name: Name,
    version: Name,
    started_at: String,
    seen_at: String,
    lives: bool,
}

/// The answer of a forgotten node.
#[derive(Serialize)]
pub(crate) struct Forgotten {
    forgotten: String,
}

pub(crate) async fn list(State(admin): State<Admin>) -> Result<Json<NodeList>, ApiError> {
    let nodes = admin.store.load()?.nodes().await?;
    let view = |node: store::Node| NodeView {
        id: node.id,
        name: node.name,
        version: node.version,
        started_at: node.started_at.to_string(),
        seen_at: node.seen_at.to_string(),
        lives: node.lives,
    };
    Ok(Json(NodeList { nodes: nodes.into_iter().map(view).collect() }))
}

pub(crate) async fn forget(
    State(admin): State<Admin>,
    Path(id): Path<String>,
) -> Result<Json<Forgotten>, ApiError> {
    match admin.store.load()?.forget_node(&id).await {
        Ok(()) => Ok(Json(Forgotten { forgotten: id })),
        Err(StoreError::Missing(_)) => Err(ApiError::NotFound(format!(
            "no gateway `{id}` is known that has not been seen for some seconds; `tidegate nodes list` shows them"
        ))),
        Err(error) => Err(error.into()),
    }
}
