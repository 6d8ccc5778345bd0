//! The document of a single environment: the same language as a settings file, without what describes the process.
//!
//! It is what a release keeps. Who the environment is (its tenant, its name, its layer) is not said by the document but by
//! whoever keeps it, so a document can be put into force in another environment as it is. Keys are live state and stand in
//! no release.

use super::document::{EnvironmentDocument, Placed, SecretRef};
use super::finding::{Finding, Findings};
use super::source::Tree;
use super::{check, read, source};
use crate::ids::Name;
use crate::snapshot::Layer;
use std::collections::BTreeMap;

/// Who an environment is.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Identity {
    /// The tenant.
    pub organization: Name,
    /// The team's place.
    pub workspace: Name,
    /// The name that keys, records and logs have for it: unique among all environments.
    pub name: Name,
    /// Its class.
    pub layer: Layer,
    /// Where its data stays.
    pub region: Name,
}

/// What a document of an environment may not say, and where it is said instead.
const ELSEWHERE: [(&str, &str); 6] = [
    ("server", "it describes the process: it belongs into the file that `tidegate serve` reads"),
    ("store", "it describes the process: it belongs into the file that `tidegate serve` reads"),
    ("cluster", "it describes the process: it belongs into the file that `tidegate serve` reads"),
    ("smtp", "it describes the process: it belongs into the file that `tidegate serve` reads"),
    ("environments", "a document describes one environment: write its tables at the top level"),
    ("keys", "keys are live state and no part of a release: make them with `tidegate keys create`"),
];

/// Reads the document of an environment. `host`: whoever wrote it may name secrets and files of this host.
///
/// On success the findings are warnings; on failure they hold every error that was found, sorted by place.
pub fn parse_environment(
    text: &str,
    file: &str,
    identity: &Identity,
    host: bool,
) -> Result<(EnvironmentDocument, Vec<Finding>), Vec<Finding>> {
    let mut findings = Findings::new(file, text);
    let read = source::tables(text, &mut findings).and_then(|tree| {
        elsewhere(&tree, &mut findings);
        check::root(&tree, &mut findings);
        (!findings.has_errors()).then(|| read::hosted(&tree, base(identity), &mut findings))
    });
    let Some(environment) = read.filter(|_| !findings.has_errors()) else { return Err(findings.sorted()) };
    if !host {
        foreign(&environment, &mut findings);
    }
    if findings.has_errors() { Err(findings.sorted()) } else { Ok((environment, findings.sorted())) }
}

fn base(identity: &Identity) -> EnvironmentDocument {
    EnvironmentDocument {
        organization: identity.organization.clone(),
        workspace: identity.workspace.clone(),
        name: identity.name.clone(),
        layer: identity.layer,
        region: identity.region.clone(),
        providers: BTreeMap::new(),
        ..EnvironmentDocument::dev()
    }
}

fn elsewhere(tree: &Tree<'_>, findings: &mut Findings) {
    for (key, _) in tree {
        let name: &str = key.get_ref();
        if let Some((_, where_)) = ELSEWHERE.iter().find(|(table, _)| *table == name) {
            let at = findings.place(key.span().start);
            findings.error(
                at,
                format!("`{name}` cannot stand in the document of an environment"),
                Some((*where_).to_owned()),
            );
        }
    }
}

/// Whoever is not the host's own may not have its variables and files sent to a server of their choice.
fn foreign(environment: &EnvironmentDocument, findings: &mut Findings) {
    let mut refuse = |at, what: &str| {
        let help = "keep the credential here with `PUT /api/environments/{id}/credentials/{name}`".to_owned();
        findings.error(
            at,
            format!("`{what}` names a secret or a file of this host, which only its owner may do"),
            Some(help),
        );
    };
    let outside = |reference: &Placed<SecretRef>| !matches!(reference.value, SecretRef::Vault(_));
    for provider in environment.providers.values() {
        let each = provider.credentials.values().map(|said| &said.credential);
        for reference in provider.credential.iter().chain(each).filter(|reference| outside(reference)) {
            refuse(reference.at, &reference.value.to_string());
        }
        if provider.ca.is_some() {
            refuse(provider.at, "ca");
        }
    }
    for guardrail in environment.guardrails.values() {
        if let Some(reference) = guardrail.credential.as_ref().filter(|reference| outside(reference)) {
            refuse(reference.at, &reference.value.to_string());
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn prod() -> Identity {
        Identity {
            organization: "acme".into(),
            workspace: "web".into(),
            name: "env_1".into(),
            layer: Layer::Production,
            region: "eu".into(),
        }
    }

    #[test]
    fn it_is_whoever_its_keeper_says() {
        let text = "[routes.chat]\ntargets = [{ model = \"demo/echo\" }]\n[providers.demo]\n";
        let (read, _) = parse_environment(text, "draft", &prod(), true).unwrap();
        assert_eq!((&*read.organization, &*read.name, read.layer), ("acme", "env_1", Layer::Production));
        assert_eq!(read.routes.len(), 1);
        // Nothing is there that nobody asked for.
        assert_eq!(parse_environment("", "draft", &prod(), true).unwrap().0.providers.len(), 0);
    }

    #[test]
    fn what_is_no_part_of_a_release_is_refused_with_the_place_where_it_belongs() {
        let text =
            "[server]\nlisten = \"127.0.0.1:1\"\n[keys.app]\n[environments.x]\nlayer = \"production\"\n";
        let findings = parse_environment(text, "draft", &prod(), true).unwrap_err();
        let said: Vec<String> = findings.iter().map(ToString::to_string).collect();
        for (name, line) in [("server", "draft:1:"), ("keys", "draft:3:"), ("environments", "draft:4:")] {
            assert!(
                said.iter().any(|one| one.contains(&format!("`{name}`")) && one.contains(line)),
                "{said:#?}"
            );
        }
        let unknown = parse_environment("[route.chat]\n", "draft", &prod(), true).unwrap_err();
        assert!(unknown[0].to_string().contains("routes"), "{unknown:?}");
    }

    #[test]
    fn secrets_of_the_host_are_named_by_its_owner_alone() {
        for said in
            ["credential = \"env:HOME\"", "credential = \"file:/etc/shadow\"", "ca = \"file:/etc/passwd\""]
        {
            let text = format!("[providers.x]\nbase_url = \"https://x.example/v1\"\n{said}\n");
            assert!(parse_environment(&text, "draft", &prod(), true).is_ok(), "{said}");
            let refused = parse_environment(&text, "draft", &prod(), false).unwrap_err();
            assert!(refused[0].to_string().contains("only its owner"), "{refused:?}");
        }
        let kept = "[providers.openai]\ncredential = \"vault:openai\"\n";
        assert!(parse_environment(kept, "draft", &prod(), false).is_ok());
    }
}
