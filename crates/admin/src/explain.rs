//! `POST /api/routes/explain`: where a request would go, and why, without making it.

use crate::caller::Caller;
use crate::permissions::Permission;
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
    caller: Caller,
    Json(mut asked): Json<Explain>,
) -> Result<Json<Value>, ApiError> {
    asked.request = Some(asked.body()?);
    let scope = caller.scope(Permission::ReadRoutes);
    let mut environments = admin.live.environments();
    environments.retain(|handle| scope.contains(handle));
    let named = asked.environment.map(|named| caller.handle_of(&named));
    if let Some(named) = named.as_ref().filter(|named| !scope.contains(named)) {
        return Err(ApiError::Invalid(format!("environment: `{named}` does not run here")));
    }
    asked.environment = named.or_else(|| environments.first().cloned()).map(|handle| handle.to_string());
    if asked.environment.is_none() {
        return Err(ApiError::Invalid("environment: none runs here that you may see".into()));
    }
    admin.live.explain(asked).map(Json).map_err(ApiError::Invalid)
}
