//! Where the secrets of a settings file come from: the environment, or files. A document never holds one.

use crate::environment;
use policy::{Secret, SecretRef, Secrets};
use std::io::Read;
use std::path::Path;

/// A secret is a line, not a book.
const LONGEST: u64 = 64 * 1024;

/// The secrets that this process can read.
pub(crate) struct ProcessSecrets;

impl Secrets for ProcessSecrets {
    fn read(&self, reference: &SecretRef) -> Result<Secret, String> {
        match reference {
            SecretRef::Env(name) => environment::find(name)
                .map(Secret::new)
                .ok_or_else(|| format!("environment variable `{name}` is not set, or is empty")),
            SecretRef::File(path) => read_file(path).map(Secret::new),
            SecretRef::Vault(_) => Err("kept credentials are known to the running gateway alone".to_owned()),
        }
    }
}

/// The text of a secret's file without the line end that editors add.
pub(crate) fn read_file(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let file = std::fs::File::open(path).map_err(|error| format!("cannot read `{shown}`: {error}"))?;
    let mut text = String::new();
    let read = file.take(LONGEST + 1).read_to_string(&mut text);
    read.map_err(|error| format!("cannot read `{shown}`: {error}"))?;
    if u64::try_from(text.len()).is_ok_and(|length| length > LONGEST) {
        return Err(format!("`{shown}` is longer than {LONGEST} bytes"));
    }
    let secret = text.trim_end_matches(['\n', '\r']);
    if secret.is_empty() { Err(format!("`{shown}` is empty")) } else { Ok(secret.to_owned()) }
}

/// For `check --without-secrets`: the place where a file is checked is often not the place where it serves, so a secret
/// that is not here is only a warning.
pub(crate) struct SecretsElsewhere;

impl Secrets for SecretsElsewhere {
    fn read(&self, reference: &SecretRef) -> Result<Secret, String> {
        ProcessSecrets.read(reference)
    }

    fn may_be_absent(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_secret_says_its_name() {
        let told = ProcessSecrets.read(&SecretRef::Env("TIDEGATE_TEST_ABSENT_SECRET".into())).err();
        assert!(told.is_some_and(|told| told.contains("TIDEGATE_TEST_ABSENT_SECRET")));
    }
}
