//! What is bound to an environment and not to its releases: where its providers are, their credentials, its budgets.
//!
//! A release goes from `staging` to `prod`, and back to an earlier one, without these; so they are taken out of a document
//! before it becomes a release, and laid over it when it is put into force. Both are edits of the text, so that comments and
//! the order of what people wrote stay.

use super::value::base_url;
use crate::snapshot::Origin;
use std::fmt;
use toml_edit::{DocumentMut, Item, Table, TableLike};

/// Fields of a provider that are bound.
const OF_PROVIDER: [&str; 3] = ["base_url", "credential", "credentials"];
const BUDGETS: &str = "budgets";
const PROVIDERS: &str = "providers";

/// A text that is no TOML; in words.
#[derive(Clone, Eq, PartialEq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct BoundError(String);

/// The bound values of one environment: TOML with `[providers.NAME]` and `[[budgets]]`.
#[derive(Clone, Default)]
pub struct Bound(DocumentMut);

impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bound({:?})", self.0.to_string())
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Bound {
    /// Reads what [`Bound`]'s `Display` wrote.
    pub fn read(text: &str) -> Result<Bound, BoundError> {
        parse(text).map(Bound)
    }

    /// Takes the bound values out of a document: what a release keeps of it, and they.
    pub fn split(text: &str) -> Result<(String, Bound), BoundError> {
        let mut document = parse(text)?;
        let mut bound = DocumentMut::new();
        if let Some(providers) = document.get_mut(PROVIDERS).and_then(Item::as_table_like_mut) {
            let mut kept = Table::new();
            kept.set_implicit(true);
            for (name, provider) in providers.iter_mut() {
                let Some(provider) = provider.as_table_like_mut() else { continue };
                let mut own = Table::new();
                for field in OF_PROVIDER {
                    if let Some(value) = provider.remove(field) {
                        own.insert(field, value);
                    }
                }
                if !own.is_empty() {
                    kept.insert(&name, Item::Table(own));
                }
            }
            if !kept.is_empty() {
                bound.insert(PROVIDERS, Item::Table(kept));
            }
        }
        if let Some(budgets) = document.remove(BUDGETS) {
            bound.insert(BUDGETS, budgets);
        }
        Ok((document.to_string(), Bound(bound)))
    }

    /// What is bound after a document said `said`. A provider keeps what nobody said anew, except that a credential never
    /// goes along to another server: it was given to the one before. Budgets are what was said last.
    #[must_use]
    pub fn after(&self, said: &Bound) -> Bound {
        let mut bound = self.0.clone();
        match said.0.get(BUDGETS) {
            Some(budgets) => drop(bound.insert(BUDGETS, budgets.clone())),
            None => drop(bound.remove(BUDGETS)),
        }
        for (name, own) in said.providers() {
            let place = bound.entry(PROVIDERS).or_insert_with(implicit);
            let Some(place) = place.as_table_like_mut() else { continue };
            let place = place.entry(name).or_insert_with(|| Item::Table(Table::new()));
            let Some(known) = place.as_table_like_mut() else { continue };
            let moved =
                own.get("base_url").is_some_and(|url| origin(Some(url)) != origin(known.get("base_url")));
            let said_anew = ["credential", "credentials"].iter().any(|field| own.contains_key(field));
            if moved || said_anew {
                known.remove("credential");
                known.remove("credentials");
            }
            for (field, value) in own.iter() {
                known.insert(field, value.clone());
            }
        }
        Bound(bound)
    }

    /// A release's document with these values. Those of a provider that the release has not are left out.
    pub fn over(&self, released: &str) -> Result<String, BoundError> {
        let mut document = parse(released)?;
        if let Some(providers) = document.get_mut(PROVIDERS).and_then(Item::as_table_like_mut) {
            for (name, own) in self.providers() {
                let Some(provider) = providers.get_mut(name).and_then(Item::as_table_like_mut) else {
                    continue;
                };
                for (field, value) in own.iter() {
                    provider.insert(field, value.clone());
                }
            }
        }
        if let Some(budgets) = self.0.get(BUDGETS) {
            document.insert(BUDGETS, budgets.clone());
        }
        Ok(document.to_string())
    }

    fn providers(&self) -> impl Iterator<Item = (&str, &dyn TableLike)> {
        let providers = self.0.get(PROVIDERS).and_then(Item::as_table_like);
        providers
            .into_iter()
            .flat_map(|all| all.iter())
            .filter_map(|(name, own)| Some((name, own.as_table_like()?)))
    }
}

fn implicit() -> Item {
    let mut table = Table::new();
    table.set_implicit(true);
    Item::Table(table)
}

pub(super) fn parse(text: &str) -> Result<DocumentMut, BoundError> {
    text.parse().map_err(|error: toml_edit::TomlError| BoundError(error.message().to_owned()))
}

/// Where a base URL leads; of what is none, nowhere.
fn origin(url: Option<&Item>) -> Option<Origin> {
    base_url(url?.as_str()?).ok().map(|(origin, _)| origin)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const WRITTEN: &str = r#"# Ours.
[providers.openai] # the main one
credential = "env:OPENAI_API_KEY"
max_connections = 10 # few

[providers.local]
base_url = "http://127.0.0.1:8000/v1"
models = ["tiny"]

[routes.chat]
targets = [{ model = "local/tiny" }]

[[budgets]]
name = "all"
per = "environment"
amount = "5"
window = "month"
"#;

    #[test]
    fn what_is_bound_leaves_a_release_and_comes_back() {
        let (released, bound) = Bound::split(WRITTEN).unwrap();
        for gone in ["env:OPENAI", "127.0.0.1", "budgets", "amount"] {
            assert!(!released.contains(gone), "{gone}: {released}");
            assert!(bound.to_string().contains(gone), "{gone}: {bound}");
        }
        for stays in ["# Ours.", "# the main one", "max_connections = 10 # few", "models = [\"tiny\"]"] {
            assert!(released.contains(stays), "{stays}: {released}");
        }
        let whole = bound.over(&released).unwrap();
        let meaning = |text: &str| text.parse::<toml::Table>().unwrap();
        assert_eq!(meaning(&whole), meaning(WRITTEN));
        let kept = Bound::read(&bound.to_string()).unwrap();
        assert_eq!(meaning(&kept.over(&released).unwrap()), meaning(WRITTEN));
    }

    #[test]
    fn a_release_of_elsewhere_gets_the_values_of_here() {
        let (released, _) = Bound::split(WRITTEN).unwrap();
        let here = Bound::read("[providers.local]\nbase_url = \"http://10.0.0.1/v1\"\n[providers.gone]\ncredential = \"env:X\"\n").unwrap();
        let whole = here.over(&released).unwrap();
        assert!(
            whole.contains("10.0.0.1") && !whole.contains("gone") && !whole.contains("budgets"),
            "{whole}"
        );
    }

    #[test]
    fn a_credential_never_follows_to_another_server() {
        let was =
            Bound::read("[providers.x]\nbase_url = \"https://one.example/v1\"\ncredential = \"vault:x\"\n")
                .unwrap();
        let said = |text: &str| was.after(&Bound::read(text).unwrap()).to_string();
        assert!(
            said("[providers.x]\nbase_url = \"https://one.example/v2\"\n").contains("vault:x"),
            "the same server"
        );
        assert!(!said("[providers.x]\nbase_url = \"https://two.example/v1\"\n").contains("vault:x"));
        assert!(
            !said("[providers.x]\nbase_url = \"http://one.example/v1\"\n").contains("vault:x"),
            "without TLS"
        );
        let anew = said("[providers.x]\nbase_url = \"https://two.example/v1\"\ncredential = \"env:Y\"\n");
        assert!(anew.contains("env:Y") && !anew.contains("vault:x"), "{anew}");
        assert!(said("").contains("vault:x"), "nothing was said of it");
        let several = said("[providers.x.credentials.a]\ncredential = \"env:A\"\n");
        assert!(several.contains("env:A") && !several.contains("vault:x"), "{several}");
    }

    #[test]
    fn budgets_are_those_that_were_said_last() {
        let (_, bound) = Bound::split(WRITTEN).unwrap();
        assert!(!bound.after(&Bound::default()).to_string().contains("budgets"));
        assert!(Bound::default().after(&bound).to_string().contains("amount"));
        // Inline tables and dotted keys are tables as well.
        let (released, own) =
            Bound::split("providers.a = { base_url = \"http://h/v1\", models = [] }\n").unwrap();
        assert!(
            !released.contains("base_url") && own.to_string().contains("http://h/v1"),
            "{released} {own}"
        );
        assert!(Bound::split("a = ").is_err());
    }
}
