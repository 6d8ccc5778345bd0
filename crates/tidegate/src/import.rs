//! Other gateways' settings, read into ours.
//!
//! Pure: text in, text and findings out. Each reader takes the fields that it knows out of the tree; whatever is left
//! is a finding, so that nothing is lost in silence. A secret is never written: where the other file holds one, ours
//! names an environment variable and a finding says which.

mod bifrost;
mod draft;
mod fields;
mod litellm;
mod one_api;
mod portkey;
mod vendors;
mod write;

use draft::Draft;
use fields::Fields;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt;

/// A file of settings is not longer.
pub(crate) const LONGEST: usize = 8 << 20;

/// Whose settings they are.
#[derive(Copy, Clone, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// LiteLLM's config.yaml
    Litellm,
    /// Bifrost's config.json
    Bifrost,
    /// A Portkey config
    Portkey,
    /// Channels of one-api or new-api, as their API lists them
    OneApi,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Litellm => "LiteLLM",
            Kind::Bifrost => "Bifrost",
            Kind::Portkey => "Portkey",
            Kind::OneApi => "one-api",
        })
    }
}

/// What became of a file.
#[derive(Debug)]
pub(crate) struct Imported {
    /// Whose it was.
    pub(crate) kind: Kind,
    /// The text of a `tidegate.toml`, with the findings as comments.
    pub(crate) settings: String,
    /// What could not be carried, or has to be done by hand.
    pub(crate) findings: Vec<Finding>,
}

/// One thing that could not be carried as it was.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Finding {
    /// The way to the field: `model_list[2].litellm_params.rpm`.
    pub(crate) path: String,
    /// What about it. Never holds a value that could be a secret.
    pub(crate) message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.path, self.message)
    }
}

/// Why a file cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    /// Neither JSON nor YAML.
    #[error("the file is neither JSON nor YAML: {0}")]
    Text(String),
    /// Larger than any settings.
    #[error("the file has more than {LONGEST} bytes")]
    TooLong,
    /// Nothing in it looks like settings that are known.
    #[error(
        "the file looks like the settings of none of LiteLLM, Bifrost, Portkey and one-api: say which with --from"
    )]
    Unknown,
    /// It does not hold what settings of that kind hold.
    #[error("the file holds no {what}, so it is not {kind}'s")]
    Empty {
        /// Whose it was taken for.
        kind: Kind,
        /// What it lacks.
        what: &'static str,
    },
}

/// Reads a file and writes our settings.
pub(crate) fn import(text: &str, from: Option<Kind>) -> Result<Imported, ImportError> {
    if text.len() > LONGEST {
        return Err(ImportError::TooLong);
    }
    let tree = parse(text)?;
    let kind = from.or_else(|| guess(&tree)).ok_or(ImportError::Unknown)?;
    let mut draft = Draft::default();
    variables(&tree, &mut draft.named);
    let what = match kind {
        Kind::Litellm => litellm::read(Fields::root(tree), &mut draft).then_some(()).ok_or("`model_list`"),
        Kind::Bifrost => bifrost::read(Fields::root(tree), &mut draft).then_some(()).ok_or("`providers`"),
        Kind::Portkey => portkey::read(&tree, &mut draft).then_some(()).ok_or("`targets` and no `provider`"),
        Kind::OneApi => one_api::read(&tree, &mut draft).then_some(()).ok_or("channels"),
    };
    what.map_err(|what| ImportError::Empty { kind, what })?;
    let (settings, findings) = write::settings(draft, kind);
    Ok(Imported { kind, settings, findings })
}

/// JSON is YAML as well, but its own reader says better what is wrong with it.
fn parse(text: &str) -> Result<Value, ImportError> {
    let json = text.trim_start().starts_with(['{', '[']);
    let read = if json {
        serde_json::from_str(text).map_err(|error| error.to_string())
    } else {
        // The reader's own message quotes the text, which may be a secret: only the place is told.
        serde_saphyr::from_str(text).map_err(|error| match error.location() {
            Some(at) => format!("line {}, column {}", at.line(), at.column()),
            None => "it cannot be read".to_owned(),
        })
    };
    read.map_err(ImportError::Text)
}

/// Every environment variable that the file names, in the ways that these programs have.
fn variables(tree: &Value, named: &mut BTreeSet<String>) {
    match tree {
        Value::String(text) => {
            let name =
                ["os.environ/", "env.", "env:"].into_iter().find_map(|prefix| text.strip_prefix(prefix));
            named.extend(name.map(str::to_owned));
        }
        Value::Array(list) => list.iter().for_each(|value| variables(value, named)),
        Value::Object(map) => map.values().for_each(|value| variables(value, named)),
        _ => {}
    }
}

/// What stands around settings in an API's answer: what is neither the settings (`within`) nor known to say nothing is a finding.
fn envelope(tree: &Value, path: &str, within: &[&str], draft: &mut Draft) {
    let mut around = Fields::at(path.to_owned(), tree.clone());
    around.ignore(within);
    around.ignore(&["success", "message", "object", "total", "page", "page_size", "type_counts"]);
    around.ignore(&[
        "id",
        "name",
        "slug",
        "status",
        "is_default",
        "version_id",
        "created_at",
        "last_updated_at",
    ]);
    around.ignore(&["owner_id", "updated_by", "workspace_id", "organisation_id", "format", "type"]);
    around.finish(draft);
}

/// Headers that are sent with every call; those that could hold a secret are not written.
fn headers(headers: Fields, access: &mut draft::Access, draft: &mut Draft) {
    for (name, path, value) in headers.all() {
        let lower = name.to_ascii_lowercase();
        let telling = ["auth", "key", "token", "secret", "cookie", "password"];
        let secret = |text: &str| telling.iter().any(|part| lower.contains(part)) || looks_secret(text);
        match value
            .as_str()
            .filter(|text| !secret(text) && !text.contains("os.environ/") && !text.starts_with("env."))
        {
            Some(text) => drop(access.headers.insert(lower, text.to_owned())),
            None => draft.find(path, "is not carried: headers of settings hold no secrets"),
        }
    }
}

/// Whether a text could be a key: long, without spaces, letters and digits mixed.
fn looks_secret(text: &str) -> bool {
    let mixed = text.bytes().any(|c| c.is_ascii_digit()) && text.bytes().any(|c| c.is_ascii_alphabetic());
    let schemes = ["bearer ", "basic ", "sk-"];
    let lower = text.to_ascii_lowercase();
    schemes.iter().any(|scheme| lower.starts_with(scheme))
        || (text.len() >= 20 && mixed && !text.contains(' '))
}

/// Leaves each name where it stands first, twenty at most.
fn keep_first(names: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names.truncate(20);
}

/// Whose settings a tree is, by the fields that only theirs have.
fn guess(tree: &Value) -> Option<Kind> {
    let has = |name: &str| tree.get(name).is_some();
    let portkey = |tree: &Value| tree.get("strategy").is_some() || tree.get("targets").is_some();
    if has("model_list") {
        return Some(Kind::Litellm);
    }
    if tree.get("providers").is_some_and(Value::is_object) {
        return Some(Kind::Bifrost);
    }
    if one_api::looks_like(tree) {
        return Some(Kind::OneApi);
    }
    let config = portkey::inner(tree);
    let one = portkey(config) || (config.get("provider").is_some() || config.get("virtual_key").is_some());
    let known = has("configs") || one;
    known.then_some(Kind::Portkey)
}

#[cfg(test)]
#[path = "import/tests.rs"]
mod tests;
