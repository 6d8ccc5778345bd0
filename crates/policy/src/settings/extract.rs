//! Documents of single environments out of settings files, and out of what was found without one.

use super::bound::{BoundError, parse};
use super::document::{EnvironmentDocument, ModelList};
use toml_edit::{DocumentMut, Item, Table, value};

/// What a settings file says beside its first environment.
const BESIDE: [&str; 6] = ["server", "store", "cluster", "smtp", "environments", "keys"];
/// What `[environments.NAME]` says of who the environment is, and its keys: none of it is part of a release.
const OF_NAMED: [&str; 4] = ["workspace", "layer", "region", "keys"];

/// What a settings file says of an environment, as a document of its own: that of its table, or of the top level where it has
/// none. Comments stay.
pub fn extract(text: &str, environment: &str) -> Result<String, BoundError> {
    let mut document = parse(text)?;
    let named = document.get_mut("environments").and_then(Item::as_table_like_mut);
    if let Some(named) = named.and_then(|all| all.get_mut(environment)).and_then(Item::as_table_like_mut) {
        let mut alone = DocumentMut::new();
        for (name, item) in named.iter().filter(|(name, _)| !OF_NAMED.contains(name)) {
            alone.insert(name, unnested(item.clone()));
        }
        return Ok(alone.to_string());
    }
    for name in BESIDE {
        document.remove(name);
    }
    Ok(document.to_string())
}

/// An inline table stands at the top level as a table.
fn unnested(item: Item) -> Item {
    match item.into_table() {
        Ok(mut table) => {
            table.set_position(None);
            Item::Table(table)
        }
        Err(other) => other,
    }
}

/// The document of an environment whose providers were found: what `tidegate export` prints to go on from.
pub fn found_text(environment: &EnvironmentDocument) -> String {
    let mut document = DocumentMut::new();
    let mut providers = Table::new();
    providers.set_implicit(true);
    for (name, said) in &environment.providers {
        let mut table = Table::new();
        if let Some(credential) = &said.credential {
            table.insert("credential", value(credential.value.to_string()));
        }
        if let Some(base_url) = &said.base_url {
            table.insert("base_url", value(base_url.value.as_str()));
        }
        if said.models == ModelList::Discover {
            table.insert("models", value("discover"));
        }
        providers.insert(name, Item::Table(table));
    }
    document.insert("providers", Item::Table(providers));
    document.to_string()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::settings::{Identity, parse_environment};
    use crate::snapshot::Layer;

    const FILE: &str = "[server]\nlisten = \"127.0.0.1:1\"\n# Ours.\n[providers.demo]\n[keys.app]\n[routes.chat]\n\
        targets = [{ model = \"demo/echo\" }]\n[environments.prod]\nlayer = \"production\"\n[environments.prod.routes.big]\n\
        targets = [\"openai/x\"] # big\n[environments.prod.providers.openai]\ncredential = \"env:K\"\n[environments.prod.keys.a]\n";

    #[test]
    fn each_environment_of_a_file_is_a_document() {
        let identity = |layer| Identity {
            organization: "o".into(),
            workspace: "w".into(),
            name: "n".into(),
            layer,
            region: "r".into(),
        };
        let top = extract(FILE, "dev").unwrap();
        assert!(top.contains("# Ours.") && !top.contains("prod") && !top.contains("keys"), "{top}");
        let (read, _) = parse_environment(&top, "top", &identity(Layer::Development), true).unwrap();
        assert!(read.routes.contains_key("chat"));
        let prod = extract(FILE, "prod").unwrap();
        assert!(
            prod.contains("# big") && !prod.contains("layer") && !prod.contains("environments"),
            "{prod}"
        );
        let (read, _) = parse_environment(&prod, "prod", &identity(Layer::Production), true).unwrap();
        assert!(
            read.routes.contains_key("big") && read.providers.contains_key("openai") && read.keys.is_empty()
        );
    }

    #[test]
    fn what_was_found_is_a_document_to_go_on_from() {
        let get = |name: &str| (name == "OPENAI_API_KEY").then(|| "sk".to_owned());
        let found = crate::document_from_environment(&get, "http://127.0.0.1:1/v1");
        let text = found_text(&found.environments[0]);
        assert!(text.contains("[providers.openai]") && text.contains("env:OPENAI_API_KEY"), "{text}");
        assert!(crate::settings::parse(&text, "t").is_ok(), "{text}");
    }
}
