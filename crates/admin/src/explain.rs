//! `POST /api/routes/explain`: where a request would go, and why, without making it.

use crate::{Admin, ApiError};
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A request that is not made.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Explain {
    /// The environment; the default is that of new keys.
    #[serde(default)]
    pub environment: Option<String>,
    /// The name of a key; without, one that may use everything.
    #[serde(default)]
    pub key: Option<String>,
    /// Which endpoint is asked; the default is `chat`.
    #[serde(default)]
    pub endpoint: String,
    /// What is asked for, where `request` does not say it.
    #[serde(default)]
    pub model: Option<String>,
    /// The body; the default is a short one.
    #[serde(default)]
    pub request: Option<Value>,
    /// Its headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}

impl Explain {
    /// The body that would be sent.
    fn body(&self) -> Result<Value, ApiError> {
        let mut body = match &self.request {
            None => {
                json!({ "messages": [{ "role": "user", "content": "hello" }], "input": "hello", "prompt": "hello" })
            }
            Some(request) => request.clone(),
        };
        let members =
            body.as_object_mut().ok_or_else(|| ApiError::Invalid("request: must be an object".to_owned()))?;
        if let Some(model) = &self.model {
            members.insert("model".to_owned(), model.as_str().into());
        }
        if !members.contains_key("model") {
            return Err(ApiError::Invalid("model: say what is asked for".to_owned()));
        }
        Ok(body)
    }
}

pub(crate) async fn explain(
    State(admin): State<Admin>,
    Json(mut asked): Json<Explain>,
) -> Result<Json<Value>, ApiError> {
    asked.request = Some(asked.body()?);
    if asked.environment.is_none() {
        let environments = admin.live.environments();
        asked.environment = environments.first().map(|name| name.to_string());
    }
    admin.live.explain(asked).map(Json).map_err(ApiError::Invalid)
}
