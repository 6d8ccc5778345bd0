//! What every failure of the API looks like: `{"error":{"code","message"}}` and one status per code.
//!
//! One exhaustive table, so that a new failure has to choose its code and status here.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::json;
use store::StoreError;

/// A refused or failed call of the admin API.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The request is not what the route takes; the message names the field.
    #[error("{0}")]
    Invalid(String),
    /// The door by which the request came grants too little.
    #[error(
        "this version has no API tokens yet: use the command line on the host, which talks through the \
         owner-only socket `control.sock` in the data folder"
    )]
    Unauthorized,
    /// Nothing by that name or id.
    #[error("{0}")]
    NotFound(String),
    /// The path exists under another method.
    #[error("this path takes another method")]
    MethodNotAllowed,
    /// It is there already, or is in a state that forbids this.
    #[error("{0}")]
    Conflict(String),
    /// The database cannot be reached; nothing was changed.
    #[error(
        "the database cannot be reached, so nothing was changed; model calls go on with the keys known here. {0}"
    )]
    StoreAway(String),
    /// The database answered with a failure of its own.
    #[error("{0}")]
    Store(String),
    /// A fault of ours.
    #[error("{0}")]
    Internal(String),
}

impl ApiError {
    /// The public code and status of this failure.
    pub fn code(&self) -> (StatusCode, &'static str) {
        match self {
            ApiError::Invalid(_) => (StatusCode::BAD_REQUEST, "invalid_request"),
            ApiError::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized"),
            ApiError::NotFound(_) => (StatusCode::NOT_FOUND, "not_found"),
            ApiError::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            ApiError::Conflict(_) => (StatusCode::CONFLICT, "conflict"),
            ApiError::StoreAway(_) => (StatusCode::SERVICE_UNAVAILABLE, "store_unavailable"),
            ApiError::Store(_) => (StatusCode::SERVICE_UNAVAILABLE, "store_failed"),
            ApiError::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let told = error.to_string();
        match error {
            StoreError::Unavailable(reason) => ApiError::StoreAway(reason),
            StoreError::Exists(_) => ApiError::Conflict(told),
            StoreError::Missing(_) => ApiError::NotFound(told),
            StoreError::Invalid(_) => ApiError::Invalid(told),
            StoreError::Refused { .. } | StoreError::Corrupt(_) => ApiError::Store(told),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code) = self.code();
        if status.is_server_error() {
            tracing::warn!(code, error = %self, "admin request failed");
        }
        (status, Json(json!({ "error": { "code": code, "message": self.to_string() } }))).into_response()
    }
}
