//! What is allowed, where a call goes, what it costs.
//!
//! Pure: no clock, no randomness, no environment, no network and no files. Whatever changes from one
//! run to the next (`now`, random bytes, secrets, models that an upstream lists) is a parameter, so every
//! decision in here can be replayed in a test.
//!
//! What it is not: it holds no balances (crate `ledger`), opens no connection (crate `gateway`) and reads
//! no settings file (crate `tidegate` hands over the text).
//!
//! Reading order: [`money`], [`time`], [`ids`] (the words) → [`key`], [`keyring`], [`limits`] (who may
//! call, how often), [`queue`] (who waits) → [`price`], [`catalogue`] (what it costs) → [`settings`] (the document), [`mod@compile`]
//! (document to snapshot), [`snapshot`] (what the data plane reads), [`definition`] (what a name leads to, hashed) → [`discover`] (no document at all).

pub mod adaptive;
pub mod catalogue;
pub mod compile;
pub mod definition;
pub mod discover;
pub mod guardrails;
pub mod ids;
pub mod key;
pub mod keyring;
pub mod limits;
pub mod money;
mod nearest;
pub mod price;
pub mod queue;
pub mod reach;
pub mod rollout;
pub mod route;
pub mod settings;
pub mod snapshot;
pub mod time;
pub mod window;

pub use adaptive::{Adaptive, Pace};
pub use catalogue::{Quirk, ThroughChat};
pub use compile::{Compiled, Discovered, FileKey, HOST_ORGANIZATION, Secrets, compile};
pub use definition::Mix;
pub use discover::document_from_environment;
pub use guardrails::{Action, Detector, Found, Guardrail, Hook, Sieve, Stage};
pub use ids::{IdError, KeyId, Name, NameMap, RequestId};
pub use key::{KeyFormatError, KeyHash, Pepper, Presented, Secret};
pub use keyring::{
    BudgetRule, KeyRecord, KeyRefusal, KeyState, Keyring, Origin as KeyOrigin, PreviousHash, SharedBudget,
    Verbatim,
};
pub use limits::{
    Bucket, Counted, Elsewhere, Full, Granted, LimitRule, Limits, Meters, Part, Per, Permit, Permits,
    Rate as LimitRate, Refused, Span, Standing, Taken, Verdict, Wanted, bucket, fits as name_fits,
};
pub use money::{Currency, Money, MoneyError};
pub use price::{Price, Rate, Tier, Usage};
pub use reach::Reach;
pub use rollout::{MILLION, Rollout};
pub use route::{
    Causes, Choice, Condition, Facts, LeftOut, Order, Ranked, Route, Said, Stand, Sticky, Strategy, Turn,
    View,
};
pub use settings::{
    Bound, ByteSize, Change, ClusterSettings, CountedBy, Document, DrainTimes, EnvironmentDocument, Finding,
    Identity, LogFormat, Network, Overload, Place, Placed, ProviderDocument, RedisUrl, RolloutDocument,
    SecretRef, Server, Severity, SignUp, SmtpSettings, SmtpTls, StoreSettings, StoreUrl, Tls, changes,
    json_schema, parse_environment,
};
pub use snapshot::{
    Auth, Deployment, Dialect, Doubt, Endpoint, Environment, Layer, ModelEntry, Origin, Provider,
    ResolveError, Shaped, Snapshot, Target, Timeouts, VectorShape,
};
pub use time::{Moment, TimeError, Timestamp};
pub use window::{Window, Zone};
