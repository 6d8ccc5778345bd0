//! Reading requests: JSON bodies and queries whose refusals speak our error shape.

use crate::ApiError;
use axum::extract::{FromRequest, FromRequestParts, Request};
use http::request::Parts;
use serde::de::DeserializeOwned;

/// A JSON body, at most 64 KiB (the router's limit); refused with the field and the reason.
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        match axum::Json::<T>::from_request(request, state).await {
            Ok(axum::Json(value)) => Ok(Body(value)),
            Err(refused) => Err(ApiError::Invalid(refused.body_text())),
        }
    }
}

/// A JSON body that may be left out.
pub(crate) struct Optional<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for Optional<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let bytes = axum::body::Bytes::from_request(request, state)
            .await
            .map_err(|refused| ApiError::Invalid(refused.body_text()))?;
        if bytes.is_empty() {
            return Ok(Optional(T::default()));
        }
        serde_json::from_slice(&bytes).map(Optional).map_err(|error| ApiError::Invalid(error.to_string()))
    }
}

/// A query string; unknown names are refused like unknown fields of a body.
pub(crate) struct Asked<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(value)) => Ok(Asked(value)),
            Err(refused) => Err(ApiError::Invalid(refused.body_text())),
        }
    }
}
