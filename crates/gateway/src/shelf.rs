//! What the gateway asks of whoever keeps stored responses: it never sees a database itself.
//!
//! A [`Kept`] is either the note that a provider keeps a response, so that what is asked of it later goes there and
//! nowhere else, or its content. Everything is found by environment and id together.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use policy::{KeyId, Name, Timestamp};

/// What a shelf answers, later.
pub type Shelving<T> = Pin<Box<dyn Future<Output = Result<T, ShelfError>> + Send>>;

/// Why a shelf did not do what it was asked.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ShelfError {
    /// It cannot be reached, or did not answer in time.
    #[error("stored responses cannot be reached now: {0}")]
    Away(String),
    /// There is no room for more.
    #[error("there is no room for more stored responses: {0}")]
    Full(String),
}

/// A stored response.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Whose keys may see it.
    pub environment: Name,
    /// `resp_…`
    pub id: Name,
    /// Which response it goes on from.
    pub previous: Option<Name>,
    /// Whose call made it.
    pub key: KeyId,
    /// The provider that keeps it; absent where its content is here.
    pub provider: Option<Name>,
    /// The deployment that answered; for a response that is being made, the model that was asked.
    pub model: Name,
    /// It was asked for in the background.
    pub background: bool,
    /// It is being made, and whoever makes it says so again before this.
    pub running: Option<Timestamp>,
    /// Request and answer. Never logged.
    pub content: Bytes,
}

/// Keeps stored responses.
pub trait Shelf: Send + Sync {
    /// Keeps one; what is there of its id stays. Done when it outlives this process.
    fn keep(&self, kept: Kept) -> Shelving<()>;

    /// One.
    fn find(&self, environment: &Name, id: &str) -> Shelving<Option<Kept>>;

    /// One and those that it goes on from, the latest first, as far as there are any and as far as is bearable.
    fn chain(&self, environment: &Name, id: &str) -> Shelving<Vec<Kept>>;

    /// Says that one is still being made; whether anybody wants it still.
    fn renew(&self, environment: &Name, id: &str, until: Timestamp) -> Shelving<bool>;

    /// Puts down how one ended that was being made; whether it still was.
    fn finish(&self, environment: &Name, id: &str, content: Bytes) -> Shelving<bool>;

    /// Forgets one; whether it was there.
    fn remove(&self, environment: &Name, id: &str) -> Shelving<bool>;
}
