//! `tidegate apply`, `diff`, `export`: documents of environments, from a file to a release and back.
//!
//! A file may describe one environment at its top level, or several under `[environments.NAME]`. What describes the process is
//! for `tidegate serve` alone and refused, before anything of the file is applied.

use super::keys::text;
use crate::cli::Shape;
use crate::client::{Control, escape};
use crate::located::Place;
use crate::outcome::Outcome;
use crate::terminal::{Terminal, Tone, complain, harmless};
use anyhow::Context;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const USUAL: &str = "dev";
/// What describes the process, and so no environment.
const OF_PROCESS: [&str; 4] = ["server", "store", "cluster", "smtp"];

#[derive(Debug, clap::Args)]
#[command(
    after_help = "In the layer `development` the release is in force at once; elsewhere publish it with `tidegate releases publish N`.\n\nExamples:\n  tidegate apply routes.toml\n  tidegate apply prod.toml --environment prod --message \"cheaper fallback\""
)]
pub(crate) struct Args {
    /// The document
    file: PathBuf,
    /// Which environment its top level describes [default: dev]
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
    /// Why, for the history
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,
    #[command(flatten)]
    shape: Shape,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exits 1 where there is a difference.\n\nExample:\n  tidegate diff routes.toml --environment prod"
)]
pub(crate) struct Diff {
    /// The document
    file: PathBuf,
    /// Which environment its top level describes [default: dev]
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
    #[command(flatten)]
    shape: Shape,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  tidegate export --environment staging > staging.toml")]
pub(crate) struct Export {
    /// Which environment
    #[arg(long, default_value = USUAL, value_name = "NAME")]
    environment: String,
    #[command(flatten)]
    shape: Shape,
}

/// A document of a file, and whose it is.
struct Part {
    environment: String,
    document: String,
}

/// Reads a file into what it says of each environment.
fn parts(file: &Path, environment: Option<&str>) -> anyhow::Result<Vec<Part>> {
    let shown = file.display();
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read `{shown}`"))?;
    let tables: toml::Table = match text.parse() {
        Ok(tables) => tables,
        // The gateway says where and what.
        Err(_) => {
            return Ok(vec![Part { environment: environment.unwrap_or(USUAL).to_owned(), document: text }]);
        }
    };
    if let Some(process) = OF_PROCESS.iter().find(|name| tables.contains_key(**name)) {
        anyhow::bail!(
            "{shown}: `[{process}]` describes the process and no environment: it belongs into the file that `tidegate serve` reads"
        );
    }
    let Some(named) = tables.get("environments").and_then(toml::Value::as_table) else {
        return Ok(vec![Part { environment: environment.unwrap_or(USUAL).to_owned(), document: text }]);
    };
    if let Some(asked) = environment.filter(|asked| !named.contains_key(*asked)) {
        anyhow::bail!("{shown}: it has no `[environments.{asked}]`");
    }
    let mut all = Vec::new();
    let of = |name: &str| policy::settings::extract(&text, name).map_err(anyhow::Error::from);
    if environment.is_none() && tables.len() > 1 {
        all.push(Part { environment: USUAL.to_owned(), document: of("")? });
    }
    for name in named.keys().filter(|name| environment.is_none_or(|asked| asked == *name)) {
        all.push(Part { environment: name.clone(), document: of(name)? });
    }
    Ok(all)
}

pub(crate) async fn run(place: &Place, args: Args) -> anyhow::Result<Outcome> {
    let control = Control::of(place)?;
    let mut terminal = Terminal::stdout();
    for part in parts(&args.file, args.environment.as_deref())? {
        let path = format!("/api/environments/{}/releases", escape(&part.environment));
        let body = json!({ "document": part.document, "message": args.message });
        let answer = control.post(&path, &body).await.map_err(|error| placed(&error, &args.file))?;
        for warning in answer["warnings"].as_array().into_iter().flatten() {
            complain(&warning.as_str().unwrap_or_default().replacen(
                "document:",
                &format!("{}:", args.file.display()),
                1,
            ));
        }
        if args.shape.json {
            terminal.json(&answer)?;
        } else {
            terminal.line(&said(&part.environment, &answer))?;
        }
    }
    Ok(Outcome::Done)
}

pub(super) fn said(environment: &str, answer: &Value) -> String {
    let number = &answer["release"]["number"];
    if answer["published"].is_object() {
        return format!("Release {number} of {environment} is in force.");
    }
    format!(
        "Release {number} of {environment} is made and not in force yet. Publish it:  tidegate releases publish {number} --environment {environment}"
    )
}

/// What is wrong stands in the user's file.
fn placed(error: &anyhow::Error, file: &Path) -> anyhow::Error {
    let shown = file.display().to_string();
    let lines: Vec<String> = format!("{error:#}")
        .lines()
        .map(|line| {
            line.strip_prefix("document:").map_or_else(|| line.to_owned(), |rest| format!("{shown}:{rest}"))
        })
        .collect();
    anyhow::anyhow!("{}", lines.join("\n"))
}

pub(crate) async fn diff(place: &Place, args: Diff) -> anyhow::Result<Outcome> {
    let control = Control::of(place)?;
    let mut terminal = Terminal::stdout();
    let mut same = true;
    for part in parts(&args.file, args.environment.as_deref())? {
        let path = format!("/api/environments/{}/diff", escape(&part.environment));
        let body = json!({ "document": part.document });
        let answer = control.post(&path, &body).await.map_err(|error| placed(&error, &args.file))?;
        same &= print(&answer, &part.environment, args.shape, &mut terminal)?;
    }
    Ok(if same { Outcome::Done } else { Outcome::Failed })
}

/// Prints a difference; whether there is none.
pub(super) fn print(
    answer: &Value,
    environment: &str,
    shape: Shape,
    terminal: &mut Terminal,
) -> anyhow::Result<bool> {
    let changes = answer["changes"].as_array().map(Vec::as_slice).unwrap_or_default();
    for change in changes {
        if shape.json {
            terminal.json(change)?;
        } else {
            terminal.line(&text(&change["words"]))?;
        }
    }
    if changes.is_empty() && !shape.json {
        terminal.line(&terminal.paint(Tone::Quiet, &format!("No difference in {environment}.")))?;
    }
    Ok(changes.is_empty())
}

pub(crate) async fn export(place: &Place, args: Export) -> anyhow::Result<Outcome> {
    let control = Control::of(place)?;
    let mut terminal = Terminal::stdout();
    let answer = control.get(&format!("/api/environments/{}/export", escape(&args.environment)), &[]).await?;
    if args.shape.json {
        terminal.json(&answer)?;
    } else {
        terminal.line(harmless(answer["document"].as_str().unwrap_or_default(), true).trim_end())?;
    }
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::serve::last::tests::Scratch;

    #[test]
    fn a_file_says_something_of_each_environment() {
        let scratch = Scratch::new("apply");
        let file = scratch.path().join("x.toml");
        let parts_of = |text: &str, environment: Option<&str>| {
            std::fs::write(&file, text).unwrap();
            parts(&file, environment)
                .map(|all| all.into_iter().map(|part| (part.environment, part.document)).collect::<Vec<_>>())
                .map_err(|error| error.to_string())
        };
        assert_eq!(parts_of("# x\n", None).unwrap(), [("dev".to_owned(), "# x\n".to_owned())]);
        assert_eq!(parts_of("# x\n", Some("prod")).unwrap()[0].0, "prod");
        let several =
            "[routes]\n[environments.prod.routes.a]\ntargets = [\"x/y\"]\n[environments.lab.routes]\n";
        let names = |environment| {
            parts_of(several, environment).unwrap().into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(names(None), ["dev", "prod", "lab"]);
        assert_eq!(names(Some("lab")), ["lab"]);
        assert!(parts_of(several, Some("cn")).unwrap_err().contains("[environments.cn]"));
        assert!(parts_of("[server]\n", None).unwrap_err().contains("describes the process"));
    }
}
