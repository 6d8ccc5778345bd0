//! The control plane: who may do what, and a JSON API over keys, usage, logs, releases and state, and the start page.
//!
//! What it is not: it never sees a model call, never reads the clock or randomness except through
//! `runtime`, and never holds state of its own. What is durable is in `store`; what is live is behind
//! the trait [`Live`], which the binary implements, so that `gateway` and this crate never meet.
//!
//! Reading order: [`routes`] (the whole API on one screen), [`permissions`] (who may do what), [`access`] and `caller` (who asks),
//! `identity/` (people: how they come in and what they are given), `keys` (what clients present), `usage`, `logs`,
//! `releases`, `status` (readers), `page` (what a browser sees), `error` (what every failure looks like).

pub mod access;
mod budgets;
pub mod caller;
mod environments;
mod error;
mod explain;
mod identity;
mod keys;
pub mod live;
mod logs;
mod nodes;
mod openapi;
mod page;
pub mod permissions;
mod read;
mod releases;
pub mod routes;
mod spans;
mod status;
mod store_handle;
mod usage;

pub use access::Access;
pub use budgets::{BudgetPlace, KnownBudget};
pub use caller::Caller;
pub use error::ApiError;
pub use explain::Explain;
pub use identity::Identity;
pub use identity::mail::{Letter, Mail, Mailbox};
pub use identity::sign_up::ensure_places;
pub use keys::minted;
pub use live::{Live, LiveState};
pub use page::ApiAddress;
pub use routes::router;
pub use spans::parse_span;
pub use store_handle::StoreHandle;

use policy::Pepper;
use runtime::{Clock, Tasks};
use std::future::Future;
use std::sync::Arc;

/// Everything the control plane works with; built once by the binary and shared by both doors.
#[derive(Clone)]
pub struct Admin {
    /// The database, which may come up after us or go away under us.
    pub store: StoreHandle,
    /// What the data plane is doing now, and the way to tell it of a changed key.
    pub live: Arc<dyn Live>,
    /// The only source of time.
    pub clock: Clock,
    /// Writes run in named tasks, so that a caller who hangs up cannot stop one half-way.
    pub tasks: Tasks,
    /// Turns a new secret into the hash that is kept.
    pub pepper: Arc<Pepper>,
    /// Where the model API is reached, as the start page says it.
    pub api: ApiAddress,
    /// Who may sign up, and who must wait.
    pub identity: Arc<Identity>,
    /// One key change at a time: each is read, changed and written back.
    pub turn: Arc<tokio::sync::Mutex<()>>,
}

impl Admin {
    /// A link of the console, with a token that works once. It stands behind `#`, so that it is in no log of a proxy.
    pub(crate) fn link(&self, page: &str, token: &policy::Secret) -> String {
        let origin = self.identity.console.as_ref().unwrap_or(&self.api.console);
        format!("{origin}/#/{page}?token={}", token.expose())
    }

    /// Runs a change in a task of its own: a caller who hangs up cannot stop it half-way.
    pub(crate) async fn to_its_end<T: Send + 'static>(
        &self,
        name: &'static str,
        change: impl Future<Output = Result<T, ApiError>> + Send + 'static,
    ) -> Result<T, ApiError> {
        let (done, outcome) = tokio::sync::oneshot::channel();
        self.tasks.spawn(name, async move {
            // The caller may have hung up; the change stands all the same.
            let _ = done.send(change.await);
        });
        outcome.await.map_err(|_| {
            ApiError::Internal("the change was cut short; look what became of it before trying again".into())
        })?
    }
}
