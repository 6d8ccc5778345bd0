//! The command line: one enum, one file per command under `commands/`.

use crate::commands::{
    apply, backup, budgets, chat, check, doctor, environments, import, keys, logs, migrate, nodes, providers,
    releases, restore, routes, schema, serve, usage, users,
};
use clap::{Parser, Subcommand};
use std::path::PathBuf;

const AFTER: &str = "Start here:
  tidegate serve                       start with what this machine has: no file, no account needed
  tidegate keys create my-app          make a virtual key
  tidegate chat demo/story \"Hello\"     talk to a model

Commands on the server's own host find its data folder by --data-dir, else --config, else ./tidegate.toml,
else ./tidegate-data, and talk through the owner-only socket in it. With TIDEGATE_TOKEN set they talk to the gateway at
TIDEGATE_URL [default: http://127.0.0.1:8080] instead, with what the token allows.";

/// One AI gateway, from the first prompt to the millionth user.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, after_help = AFTER, propagate_version = false, disable_help_subcommand = true)]
pub(crate) struct Cli {
    /// The settings file [default: ./tidegate.toml, if there is one]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// The data folder [default: server.data_dir of the settings file, else ./tidegate-data]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start the gateway
    Serve(serve::Args),
    /// Check a settings file without starting anything
    Check(check::Args),
    /// Print the JSON Schema of the settings file
    Schema(schema::Args),
    /// Turn another gateway's settings into ours
    Import(import::Args),
    /// Talk to a model from the terminal
    Chat(chat::Args),
    /// Make, list, rotate and revoke virtual keys
    Keys(keys::Args),
    /// Show what budgets have spent and hold
    Budgets(budgets::Args),
    /// Show requests, tokens and cost, summed
    Usage(usage::Args),
    /// Show requests, newest last
    Logs(logs::Args),
    /// Make a release of a document
    Apply(apply::Args),
    /// Say what a document would change
    Diff(apply::Diff),
    /// Print what an environment runs on, as a document
    Export(apply::Export),
    /// List, compare, publish and take back releases
    Releases(releases::Args),
    /// Make and list environments
    Environments(environments::Args),
    /// Say where a request would go, and why
    Routes(routes::Args),
    /// Show the providers, and who is passed over at present
    Providers(providers::Args),
    /// Show the gateways on one database
    Nodes(nodes::Args),
    /// Show who may do what; invite; reset a password
    Users(users::Args),
    /// Write everything that the gateway keeps into one sealed file, also while it serves
    Backup(backup::Args),
    /// Bring back what `backup` wrote, or show that it can be
    Restore(restore::Args),
    /// Move everything from SQLite to PostgreSQL
    Migrate(migrate::Args),
    /// Say what is wrong and what to do about it
    Doctor(doctor::Args),
}

/// How a command that prints data prints it.
#[derive(Copy, Clone, Debug, clap::Args)]
pub(crate) struct Shape {
    /// Print JSON, one object a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        fn look(command: &clap::Command) {
            for sub in command.get_subcommands() {
                if sub.has_subcommands() {
                    look(sub);
                } else {
                    let after = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
                    assert!(after.contains("tidegate "), "`{}` shows no example", sub.get_name());
                }
            }
        }
        look(&Cli::command());
    }

    #[test]
    fn the_options_of_the_contract_are_taken() {
        for line in [
            "tidegate serve",
            "tidegate serve --config x.toml --listen 127.0.0.1:0 --data-dir d",
            "tidegate --config x.toml keys list --json",
            "tidegate check x.toml",
            "tidegate schema",
            "tidegate import config.yaml",
            "tidegate import c.json --from one-api --output tidegate.toml",
            "tidegate chat",
            "tidegate chat demo/echo hello",
            "tidegate keys create app --model demo/* --requests-per-minute 60 --budget 25.00/month --json",
            "tidegate keys create --offline",
            "tidegate keys rotate app --grace 48h",
            "tidegate keys revoke app",
            "tidegate usage --by key,model --since 7d --json",
            "tidegate logs --limit 5 --follow --key app --model demo/echo --status 200 --json",
            "tidegate releases list",
            "tidegate releases show 3",
            "tidegate releases diff 3 --against 2",
            "tidegate releases publish 3 --percent 10 --environment prod",
            "tidegate releases rollback 2",
            "tidegate releases approve 3",
            "tidegate releases promote 3 --to prod",
            "tidegate apply x.toml --message why",
            "tidegate diff x.toml --environment prod",
            "tidegate export",
            "tidegate environments create prod --layer production",
            "tidegate routes explain chat --tokens 50000 --image --user u1 --tag tier=gold --json",
            "tidegate users invite ann@example.com --role owner --json",
            "tidegate users reset-password ann@example.com",
            "tidegate backup /srv/backups/today --json",
            "tidegate restore --verify /srv/backups/today",
            "tidegate migrate --to postgres://db/tidegate --json",
            "tidegate doctor --json",
        ] {
            parse(line).unwrap();
        }
    }

    #[test]
    fn nonsense_is_wrong_usage() {
        for line in
            ["tidegate", "tidegate fly", "tidegate serve --listen nowhere", "tidegate releases show x"]
        {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }
}
