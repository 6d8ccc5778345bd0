//! `tidegate import FILE`: another gateway's settings as ours, with a finding for each field that could not be carried.

use super::check;
use crate::import::{Kind, import};
use crate::outcome::Outcome;
use crate::secrets::SecretsElsewhere;
use crate::terminal::{Terminal, complain, harmless};
use anyhow::Context;
use policy::Severity;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate import litellm.yaml > tidegate.toml
  tidegate import config.json --from bifrost --output tidegate.toml
  tidegate check tidegate.toml --without-secrets

Findings go to standard error and stand in the file as comments. Secrets are never written: where the other file holds
one, ours names an environment variable, and a finding says which to set.")]
pub(crate) struct Args {
    /// LiteLLM's config.yaml, Bifrost's config.json, a Portkey config, or channels of one-api or new-api
    file: PathBuf,
    /// Whose settings they are [default: seen from what is in them]
    #[arg(long, value_enum, value_name = "KIND")]
    from: Option<Kind>,
    /// Write here; an existing file is left alone [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let text = read(&args.file)?;
    let imported =
        import(&text, args.from).with_context(|| format!("cannot import `{}`", args.file.display()))?;
    match &args.output {
        None => Terminal::stdout().part(&imported.settings)?,
        Some(path) => write(path, &imported.settings)?,
    }
    for finding in &imported.findings {
        complain(&harmless(&format!("{}: {finding}", args.file.display()), false));
    }
    let written = args.output.as_deref().unwrap_or(Path::new("the result"));
    // The secrets are mostly not set yet: the findings above say which to set.
    let findings = check::examine(&imported.settings, written, &SecretsElsewhere);
    let wrong = findings.iter().filter(|finding| finding.severity == Severity::Error);
    let wrong = wrong.inspect(|finding| complain(&harmless(&finding.to_string(), true))).count();
    let count = imported.findings.len();
    let ending = if count == 1 { "1 finding".to_owned() } else { format!("{count} findings") };
    complain(&format!("read as settings of {}: {ending}", imported.kind));
    Ok(if wrong == 0 { Outcome::Done } else { Outcome::Failed })
}

/// The file, bounded: a log or a database given by mistake is not read into memory.
fn read(path: &Path) -> anyhow::Result<String> {
    let shown = path.display();
    let file = std::fs::File::open(path).with_context(|| format!("cannot read `{shown}`"))?;
    let mut text = String::new();
    let bound = u64::try_from(crate::import::LONGEST)? + 1;
    file.take(bound).read_to_string(&mut text).with_context(|| format!("cannot read `{shown}`"))?;
    Ok(text)
}

fn write(path: &Path, settings: &str) -> anyhow::Result<()> {
    let shown = path.display();
    let mut file = std::fs::File::create_new(path).with_context(|| format!("cannot write `{shown}`"))?;
    file.write_all(settings.as_bytes()).with_context(|| format!("cannot write `{shown}`"))
}
