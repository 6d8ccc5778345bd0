//! `tidegate schema`: the JSON Schema of the settings file, for editors.

use crate::outcome::Outcome;
use crate::terminal::Terminal;

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  tidegate schema > tidegate.schema.json")]
pub(crate) struct Args {
    /// Accepted for symmetry: the schema is JSON anyway
    #[arg(long, hide = true)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let schema = policy::json_schema();
    let text =
        if args.json { serde_json::to_string(&schema)? } else { serde_json::to_string_pretty(&schema)? };
    Terminal::stdout().line(&text)?;
    Ok(Outcome::Done)
}
