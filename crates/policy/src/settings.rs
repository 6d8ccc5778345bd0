//! The settings document: what `tidegate.toml` says.
//!
//! Three steps. `check` walks the parsed text along the table in `shape`, which knows every field and its
//! form, and reports everything that is wrong at once, each with its line and column; `read` turns the
//! checked tree into a [`Document`]; [`json_schema`] prints the same table for editors. So a field exists in
//! one place, and check, reader and schema cannot drift apart.

mod bound;
mod changes;
mod check;
mod cluster;
mod document;
mod extract;
mod finding;
mod hosted;
mod overload;
mod people;
mod read;
mod schema;
mod shape;
mod source;
mod value;

pub use bound::{Bound, BoundError};
pub use changes::{Change, changes};
pub use cluster::{ClusterSettings, CountedBy, RedisUrl};
pub use document::{
    Api, BudgetDocument, ByteSize, CacheDocument, CredentialDocument, Document, DrainTimes,
    EnvironmentDocument, GuardrailDocument, KeyDocument, LogFormat, ModelDocument, ModelList, Network, Place,
    Placed, ProviderDocument, RolloutDocument, RouteDocument, SecretRef, Server, SignUp, StoreSettings,
    StoreUrl, TargetDocument, TimeoutsDocument, Tls,
};
pub use extract::{extract, found_text};
pub(crate) use finding::Findings;
pub use finding::{Finding, Severity};
pub use hosted::{Identity, parse_environment};
pub use overload::Overload;
pub use people::{SmtpSettings, SmtpTls};
pub use schema::json_schema;
pub(crate) use value::base_url;

/// Reads a settings document. `file` is only named in findings.
///
/// On success the findings are warnings. On failure they hold every error that was found (at most 100) and the
/// warnings, sorted by place. Never panics, whatever the text.
pub fn parse(text: &str, file: &str) -> Result<(Document, Vec<Finding>), Vec<Finding>> {
    let mut findings = Findings::new(file, text);
    let document = source::tables(text, &mut findings).and_then(|root| {
        check::root(&root, &mut findings);
        if findings.has_errors() { None } else { Some(read::document(&root, file, &mut findings)) }
    });
    match document {
        Some(document) if !findings.has_errors() => Ok((document, findings.sorted())),
        _ => Err(findings.sorted()),
    }
}

#[cfg(test)]
#[path = "settings/tests.rs"]
mod tests;
