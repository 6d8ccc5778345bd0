//! `GET /api/status`: how the process is doing, for `doctor` and for people.

use crate::Admin;
use crate::live::LiveState;
use axum::Json;
use axum::extract::State;

pub(crate) async fn read(State(admin): State<Admin>) -> Json<LiveState> {
    Json(admin.live.state())
}
