//! `tidegate check FILE`: says what is wrong with a settings file, without starting anything.

use crate::cli::Shape;
use crate::located::Place;
use crate::outcome::{Outcome, WrongUsage};
use crate::secrets::{ProcessSecrets, SecretsElsewhere};
use crate::serve::cluster::read_url;
use crate::serve::folder::read_declared_master_key;
use crate::terminal::{Terminal, Tone};
use anyhow::Context;
use policy::{Discovered, Finding, Pepper, Secrets, Severity};
use runtime::Clock;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The simulated provider has no address while nothing runs; any loopback one does for checking.
const STAND_IN: &str = "http://127.0.0.1:1/v1";

/// A Redis is waited for at most this long.
const REDIS_PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate check tidegate.toml
  tidegate check tidegate.toml --json | jq .message
  tidegate check tidegate.toml --without-secrets     where the secrets are not, such as in CI

It says what `serve` would say, so a secret that cannot be read here is an error, unless --without-secrets.")]
pub(crate) struct Args {
    /// The settings file [default: --config, else ./tidegate.toml]
    file: Option<PathBuf>,
    /// Secrets may be absent here: one that cannot be read is only a warning
    #[arg(long)]
    without_secrets: bool,
    #[command(flatten)]
    shape: Shape,
}

pub(crate) async fn run(place: &Place, args: &Args) -> anyhow::Result<Outcome> {
    let file = args.file.clone().or_else(|| place.find_settings());
    let file = file.ok_or_else(|| WrongUsage("say which file: tidegate check FILE".into()))?;
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read `{}`", file.display()))?;
    let secrets: &dyn Secrets = if args.without_secrets { &SecretsElsewhere } else { &ProcessSecrets };
    let mut findings = examine(&text, &file, secrets);
    if !args.without_secrets {
        findings.extend(look_at_redis(&text, &file).await);
    }
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    let mut terminal = Terminal::stdout();
    for finding in &findings {
        if args.shape.json {
            terminal.json(&as_json(finding))?;
        } else {
            let tone = if finding.severity == Severity::Error { Tone::Bad } else { Tone::Warn };
            let text = crate::terminal::harmless(&finding.to_string(), true);
            terminal.line(&terminal.paint(tone, &text))?;
        }
    }
    if !args.shape.json {
        terminal.line(&verdict(&file, errors, findings.len() - errors))?;
    }
    Ok(if errors == 0 { Outcome::Done } else { Outcome::Failed })
}

/// Everything that can be said of the text.
pub(crate) fn examine(text: &str, file: &Path, secrets: &dyn Secrets) -> Vec<Finding> {
    let (mut document, mut findings) = match policy::settings::parse(text, &file.display().to_string()) {
        Ok(read) => read,
        Err(findings) => return findings,
    };
    if let Some(declared) = &document.server.master_key {
        findings.extend(read_declared_master_key(declared, &document.file, secrets).err());
    }
    findings.extend(read_url(document.cluster.as_ref(), &document.file, secrets).err());
    document.set_demo_base(STAND_IN);
    let (pepper, now) = (Pepper::derive(&[0; 32]), Clock::system().now());
    match policy::compile(&document, 1, secrets, &pepper, &Discovered::default(), now) {
        Ok(compiled) => findings.extend(compiled.warnings),
        Err(errors) => findings.extend(errors),
    }
    findings
}

/// A Redis that does not answer from here is only a warning: a gateway serves without it.
async fn look_at_redis(text: &str, file: &Path) -> Option<Finding> {
    let (document, _) = policy::settings::parse(text, &file.display().to_string()).ok()?;
    let url = read_url(document.cluster.as_ref(), &document.file, &ProcessSecrets).ok()??;
    let error = cluster::probe(&url, REDIS_PATIENCE).await.err()?;
    let at = document.cluster.and_then(|cluster| cluster.redis).map(|redis| redis.at).unwrap_or_default();
    Some(Finding {
        severity: Severity::Warning,
        file: file.display().to_string(),
        line: at.line as usize,
        column: at.column as usize,
        message: format!("`cluster.redis`: {error}"),
        help: Some("until it answers, each node admits its share of each limit".to_owned()),
    })
}

fn as_json(finding: &Finding) -> Value {
    json!({
        "severity": if finding.severity == Severity::Error { "error" } else { "warning" },
        "file": finding.file,
        "line": finding.line,
        "column": finding.column,
        "message": finding.message,
        "help": finding.help,
    })
}

fn verdict(file: &Path, errors: usize, warnings: usize) -> String {
    let count = |number: usize, noun: &str| match number {
        1 => format!("1 {noun}"),
        many => format!("{many} {noun}s"),
    };
    match (errors, warnings) {
        (0, 0) => format!("{}: fine", file.display()),
        (0, some) => format!("{}: usable, {}", file.display(), count(some, "warning")),
        (errors, 0) => format!("{}: {}", file.display(), count(errors, "error")),
        (errors, warnings) => {
            format!("{}: {}, {}", file.display(), count(errors, "error"), count(warnings, "warning"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_counts() {
        let file = Path::new("x.toml");
        assert_eq!(verdict(file, 0, 0), "x.toml: fine");
        assert_eq!(verdict(file, 1, 2), "x.toml: 1 error, 2 warnings");
    }

    #[test]
    fn a_file_with_a_mistake_is_found_with_its_place() {
        let text = "[server]\nlisten = \"127.0.0.1:1\"\nlimts = 3\n";
        let findings = examine(text, Path::new("x.toml"), &ProcessSecrets);
        assert!(
            findings.iter().any(|finding| finding.line == 3 && finding.message.contains("limts")),
            "{findings:?}"
        );
    }

    /// What `serve` would refuse is refused here, once and with its place.
    #[test]
    fn a_secret_that_is_not_here_is_an_error_unless_it_may_be_absent() {
        let text = "[server]\nmaster_key = \"env:TIDEGATE_TEST_ABSENT\"\n[providers.openai]\ncredential = \
                    \"env:TIDEGATE_TEST_ABSENT\"\n[routes.chat]\ntargets = [\"openai/gpt-5-mini\"]\n";
        for (secrets, severity) in
            [(&ProcessSecrets as &dyn Secrets, Severity::Error), (&SecretsElsewhere, Severity::Warning)]
        {
            let findings = examine(text, Path::new("x.toml"), secrets);
            let places: Vec<_> = findings.iter().map(|finding| (finding.line, finding.column)).collect();
            assert_eq!(places, [(2, 14), (4, 14)], "{findings:?}");
            assert!(findings.iter().all(|finding| finding.severity == severity), "{findings:?}");
        }
    }
}
