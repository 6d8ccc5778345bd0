//! Errors in the shape that OpenAI's SDKs expect.

use bytes::Bytes;
use http::{Response, StatusCode, header};
use serde_json::json;

use crate::pace::Body;

/// An answer that is an error: status, message, the offending parameter and a code if there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) message: String,
    pub(crate) param: Option<&'static str>,
    pub(crate) code: Option<&'static str>,
    pub(crate) retry_after: Option<u32>,
}

impl Refusal {
    /// The request is wrong: 400, naming the parameter.
    pub(crate) fn bad(param: &'static str, message: impl Into<String>) -> Self {
        Self { status: 400, message: message.into(), param: Some(param), code: None, retry_after: None }
    }

    /// An error status without a parameter.
    pub(crate) fn status(status: u16, code: Option<&'static str>, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), param: None, code, retry_after: None }
    }

    fn kind(&self) -> &'static str {
        match self.status {
            401 => "authentication_error",
            403 => "permission_error",
            429 => "rate_limit_error",
            400..=499 => "invalid_request_error",
            _ => "server_error",
        }
    }

    /// The HTTP answer.
    pub(crate) fn response(&self) -> Response<Body> {
        let error = json!({"error": {
            "message": self.message, "type": self.kind(), "param": self.param, "code": self.code,
        }});
        let mut response = Response::new(Body::whole(Bytes::from(error.to_string())));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, header::HeaderValue::from(seconds));
        }
        response
    }
}
