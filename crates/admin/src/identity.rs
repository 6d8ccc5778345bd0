//! People and programs: how they come in, what they are given, and how it is taken away.
//!
//! Reading order: `secrets` (what is shown once), `passwords`, `throttle` (who must wait), `visitor` (what is known of whoever
//! asks), `sign_up`, `sign_in`, `sessions`, `me`; what they are given: `members`, `invitations`, `tokens`,
//! `organizations`; and the second factor, `totp`.

pub(crate) mod invitations;
pub(crate) mod mail;
pub(crate) mod me;
pub(crate) mod members;
pub(crate) mod names;
pub(crate) mod organizations;
pub(crate) mod passwords;
pub(crate) mod policy;
pub(crate) mod resets;
pub(crate) mod secrets;
pub(crate) mod sessions;
pub(crate) mod sign_in;
pub(crate) mod sign_up;
mod throttle;
pub(crate) mod tokens;
pub(crate) mod totp;
mod vault;
pub(crate) mod visitor;

use ::policy::{Server, SignUp};
use mail::Mail;
use passwords::Hashing;
use std::sync::Arc;
use throttle::Throttle;

/// What signing in needs of the process: who may, how many at once, who must wait.
pub struct Identity {
    pub(crate) sign_up: Option<SignUp>,
    /// The API is reached at a loopback address.
    pub(crate) loopback: bool,
    /// Cookies go over TLS alone.
    pub(crate) secure: bool,
    /// Where letters go; `None`: nowhere.
    pub(crate) mail: Option<Arc<dyn Mail>>,
    /// Where links in letters lead, if not where this process knows itself.
    pub(crate) console: Option<String>,
    pub(crate) hashing: Hashing,
    pub(crate) throttle: Throttle,
}

impl Identity {
    /// As the settings say.
    pub fn new(server: &Server, mail: Option<Arc<dyn Mail>>, console: Option<String>) -> Self {
        let address = server.admin_listen.unwrap_or(server.listen);
        Self {
            sign_up: server.sign_up,
            loopback: address.ip().is_loopback(),
            secure: server.tls.is_some() && server.admin_listen.is_none(),
            mail,
            console,
            hashing: Hashing::new(),
            throttle: Throttle::default(),
        }
    }
}
