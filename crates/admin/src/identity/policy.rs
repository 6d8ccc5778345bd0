//! What an organization asks of its people.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The policy of an organization. What is absent is not asked.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct OrganizationPolicy {
    /// Whoever has not shown a second factor has no rights here.
    pub(crate) mfa_required: bool,
    /// Sessions end after so many hours.
    pub(crate) session_hours: Option<u32>,
    /// Only e-mails of these domains are invited or sign up; empty: all.
    pub(crate) allowed_domains: Vec<String>,
    /// Of the host's organization: whether others may sign up. Absent: as the settings say.
    pub(crate) open_sign_up: Option<bool>,
    /// Of the host's organization: what a new organization's first key may spend in all, decimal USD.
    pub(crate) trial_credit: Option<String>,
}

impl OrganizationPolicy {
    /// From the document in the store. What cannot be read asks for the most, and not for nothing.
    pub(crate) fn read(document: &str) -> Self {
        serde_json::from_str(document).unwrap_or(Self { mfa_required: true, ..Self::default() })
    }

    /// How long a session may last.
    pub(crate) fn session(&self) -> Option<Duration> {
        self.session_hours.map(|hours| Duration::from_secs(u64::from(hours) * 3600))
    }

    /// Whether this e-mail may come in.
    pub(crate) fn takes(&self, email: &str) -> bool {
        let domain = super::names::domain(email);
        self.allowed_domains.is_empty() || self.allowed_domains.iter().any(|allowed| allowed == domain)
    }
}
