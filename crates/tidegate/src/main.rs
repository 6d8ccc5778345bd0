//! Tidegate's one binary: reads the command line, runs one command, says how it ended.
//!
//! Reading order: [`cli`] (what can be asked), `commands/` (a file each), `serve/` (how the gateway is wired:
//! `boot` tells the story), `client/` (how commands reach a running gateway), `import/` (other
//! gateways' settings), `backup/` (one sealed file of everything), [`environment`] (everything read
//! from the process environment).

mod allocator;
mod backup;
mod cli;
mod client;
mod commands;
mod environment;
mod import;
mod located;
mod outcome;
mod secrets;
mod serve;
mod table;
mod terminal;

use clap::Parser;
use cli::{Cli, Command};
use outcome::Outcome;
use std::process::ExitCode;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: allocator::Allocator = allocator::Allocator;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(told) => {
            // Help and versions come this way too; a reader that left is nothing to report.
            let _ = told.print();
            return ExitCode::from(u8::try_from(told.exit_code()).unwrap_or(2));
        }
    };
    outcome::conclude(run(cli))
}

fn run(cli: Cli) -> anyhow::Result<Outcome> {
    // Both sides of TLS use this provider; a second installation is refused and changes nothing.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = match cli.command {
        Command::Serve(_) => {
            // The data plane has threads of its own; this one serves the rest.
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?
        }
        _ => tokio::runtime::Builder::new_current_thread().enable_all().build()?,
    };
    let result = runtime.block_on(dispatch(cli));
    // A thread that waits for the keyboard must not keep the process.
    runtime.shutdown_timeout(Duration::from_millis(100));
    result
}

async fn dispatch(cli: Cli) -> anyhow::Result<Outcome> {
    let place = located::Place { config: cli.config, data_dir: cli.data_dir };
    match cli.command {
        Command::Serve(args) => Box::pin(commands::serve::run(place, args)).await,
        Command::Check(args) => Box::pin(commands::check::run(&place, &args)).await,
        Command::Schema(args) => commands::schema::run(&args),
        Command::Import(args) => commands::import::run(&args),
        Command::Chat(args) => Box::pin(commands::chat::run(&place, args)).await,
        Command::Keys(args) => commands::keys::run(&place, args).await,
        Command::Budgets(args) => commands::budgets::run(&place, args).await,
        Command::Usage(args) => commands::usage::run(&place, args).await,
        Command::Logs(args) => commands::logs::run(&place, args).await,
        Command::Apply(args) => commands::apply::run(&place, args).await,
        Command::Diff(args) => commands::apply::diff(&place, args).await,
        Command::Export(args) => commands::apply::export(&place, args).await,
        Command::Environments(args) => commands::environments::run(&place, args).await,
        Command::Releases(args) => commands::releases::run(&place, args).await,
        Command::Routes(args) => commands::routes::run(&place, args).await,
        Command::Nodes(args) => commands::nodes::run(&place, args).await,
        Command::Providers(args) => commands::providers::run(&place, args).await,
        Command::Users(args) => commands::users::run(&place, args).await,
        Command::Backup(args) => Box::pin(commands::backup::run(&place, args)).await,
        Command::Restore(args) => Box::pin(commands::restore::run(&place, args)).await,
        Command::Migrate(args) => Box::pin(commands::migrate::run(&place, args)).await,
        Command::Doctor(args) => Box::pin(commands::doctor::run(&place, args)).await,
    }
}
