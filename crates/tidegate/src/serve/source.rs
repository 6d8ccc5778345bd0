//! Where the settings come from: a file, or the environment when there is none.

use crate::environment;
use anyhow::Context;
use policy::{Document, Finding};
use std::io::Read as _;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A settings file longer than this is something else.
const LONGEST: u64 = 8 * 1024 * 1024;

/// Where the settings come from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Source {
    File(PathBuf),
    Environment,
}

/// What the command line says over the settings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overrides {
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) data_dir: Option<PathBuf>,
}

/// A document that could be read, not yet compiled.
pub(crate) struct Read {
    pub(crate) document: Document,
    pub(crate) warnings: Vec<Finding>,
    /// What the release keeps of it: the file's text, or the meaning of what was found.
    pub(crate) text: String,
}

/// Why a document cannot be used, ready to print.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) Vec<String>);

impl From<Vec<Finding>> for Refused {
    fn from(findings: Vec<Finding>) -> Self {
        Refused(findings.iter().map(ToString::to_string).collect())
    }
}

/// What tells one state of a file from another. Editors replace files and ConfigMaps swap links, so the time
/// alone is not enough.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Stamp(i64, i64, u64, u64);

impl Source {
    pub(crate) fn describe(&self) -> String {
        match self {
            Source::File(path) => path.display().to_string(),
            Source::Environment => "environment".to_owned(),
        }
    }

    /// The file's present stamp; `None` without a file, or while it is away.
    pub(crate) fn stamp(&self) -> Option<Stamp> {
        let Source::File(path) = self else { return None };
        let about = std::fs::metadata(path).ok()?;
        Some(Stamp(about.mtime(), about.mtime_nsec(), about.size(), about.ino()))
    }

    /// Reads the settings and lays the command line over them.
    pub(crate) fn read(&self, overrides: &Overrides, demo_base: &str) -> Result<Read, Refused> {
        let mut read = match self {
            Source::File(path) => {
                let text = read_text(path).map_err(|error| Refused(vec![format!("{error:#}")]))?;
                let (document, warnings) = policy::settings::parse(&text, &path.display().to_string())?;
                Read { document, warnings, text: without_passwords(&text) }
            }
            Source::Environment => {
                let document = policy::document_from_environment(&environment::find, demo_base);
                let text = serde_json::to_string_pretty(&document.environments).unwrap_or_default();
                Read { document, warnings: Vec::new(), text }
            }
        };
        read.document.set_demo_base(demo_base);
        if let Some(listen) = overrides.listen {
            read.document.server.listen = listen;
        }
        if let Some(dir) = &overrides.data_dir {
            read.document.server.data_dir.clone_from(dir);
        }
        Ok(read)
    }
}

fn read_text(path: &Path) -> anyhow::Result<String> {
    let shown = path.display();
    let file = std::fs::File::open(path).with_context(|| format!("{shown}: error: cannot be read"))?;
    let mut text = String::new();
    file.take(LONGEST + 1)
        .read_to_string(&mut text)
        .with_context(|| format!("{shown}: error: cannot be read"))?;
    anyhow::ensure!(u64::try_from(text.len())? <= LONGEST, "{shown}: error: longer than {LONGEST} bytes");
    Ok(text)
}

/// The text without the passwords of database addresses: a release is kept and shown, a password never is.
fn without_passwords(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        kept.push_str(before);
        let end = after
            .find(|c: char| c == '"' || c == '\'' || c == '/' || c.is_whitespace())
            .unwrap_or(after.len());
        let (authority, tail) = after.split_at(end);
        match authority.rsplit_once('@').and_then(|(user, host)| Some((user.split_once(':')?.0, host))) {
            Some((user, host)) => kept.extend([user, ":…@", host]),
            None => kept.push_str(authority),
        }
        rest = tail;
    }
    kept.push_str(rest);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_keeps_no_password() {
        let text = "url = \"postgres://gate:s3cr@t@db:5432/x\" # http://a/b\nbase = 'https://h/v1'\n";
        let kept = without_passwords(text);
        assert_eq!(kept, "url = \"postgres://gate:…@db:5432/x\" # http://a/b\nbase = 'https://h/v1'\n");
    }

    #[test]
    fn a_file_that_is_not_there_is_refused_by_name() {
        let source = Source::File("/nonexistent/tidegate.toml".into());
        let refused = source.read(&Overrides::default(), "http://127.0.0.1:1/v1").err();
        assert!(refused.is_some_and(|refused| refused.0[0].contains("/nonexistent/tidegate.toml")));
        assert_eq!(source.stamp(), None);
    }
}
