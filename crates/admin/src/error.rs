//! What every failure of the API looks like: `{"error":{"code","message"}}` and one status per code.
//!
//! One exhaustive table, so that a new failure has to choose its code and status here.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde_json::json;
use store::StoreError;

/// A refused or failed call of the admin API.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum ApiError {
    /// The request is not what the route takes; the message names the field.
    #[error("{0}")]
    Invalid(String),
    /// A document that cannot be used, with all that is wrong.
    #[error("{}", .0.join("\n"))]
    Findings(Vec<String>),
    /// Nobody is signed in, or no longer.
    #[error(
        "sign in first (`POST /api/sign-in`), or send an API token as `Authorization: Bearer tgt_…`; the command line on the host \
         needs neither: it talks through the owner-only socket `control.sock` in the data folder"
    )]
    Unauthorized,
    /// E-mail and password do not fit together, whichever is wrong.
    #[error("e-mail or password is wrong")]
    WrongCredentials,
    /// A code of the second factor is wrong, over, or was used before.
    #[error("the code is wrong, or was used before")]
    WrongCode,
    /// Whoever asks is known, and may not.
    #[error("{0}")]
    Forbidden(String),
    /// Not to be had here, by this code.
    #[error("{1}")]
    Refused(&'static str, String),
    /// The organization asks for a second factor that was not shown.
    #[error("your organization asks for a second factor: set one up, then sign in with it")]
    SecondFactorNeeded,
    /// Too many attempts; wait so many seconds.
    #[error("too many attempts; try again in {0} s")]
    TooMany(u64),
    /// Too many at this moment.
    #[error("too many sign in at this moment; try again in a second")]
    Busy,
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
            ApiError::Findings(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_document"),
            ApiError::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized"),
            ApiError::WrongCredentials => (StatusCode::UNAUTHORIZED, "wrong_credentials"),
            ApiError::WrongCode => (StatusCode::UNAUTHORIZED, "wrong_code"),
            ApiError::Forbidden(_) => (StatusCode::FORBIDDEN, "forbidden"),
            ApiError::Refused(code, _) => (StatusCode::FORBIDDEN, code),
            ApiError::SecondFactorNeeded => (StatusCode::FORBIDDEN, "second_factor_needed"),
            ApiError::TooMany(_) => (StatusCode::TOO_MANY_REQUESTS, "too_many_attempts"),
            ApiError::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
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
        let body = Json(json!({ "error": { "code": code, "message": self.to_string() } }));
        let wait = match self {
            ApiError::TooMany(seconds) => Some(seconds),
            ApiError::Busy => Some(1),
            _ => None,
        };
        match wait {
            Some(seconds) => (status, [(header::RETRY_AFTER, seconds.to_string())], body).into_response(),
            None => (status, body).into_response(),
        }
    }
}
