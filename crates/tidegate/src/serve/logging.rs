//! The process's own log: to standard error, for people or as JSON. Prompts, keys and bodies never reach it.

use crate::environment;
use policy::LogFormat;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// What is logged where nobody says otherwise.
const USUAL: &str = "info,sqlx=warn";

/// Begins logging. A filter that cannot be read is said and left aside.
pub(crate) fn begin(format: LogFormat) {
    let asked = environment::find(environment::LOG);
    let parsed = asked.as_deref().map(EnvFilter::try_new);
    let (filter, unreadable) = match parsed {
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (EnvFilter::new(USUAL), Some(error)),
        None => (EnvFilter::new(USUAL), None),
    };
    let colour = environment::wants_colour(std::io::stderr().is_terminal());
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colour);
    // Only a second start in one process could be refused, and that one logs already.
    let _ = match format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
    };
    if let Some(error) = unreadable {
        tracing::warn!(%error, "{} cannot be read; the usual is logged", environment::LOG);
    }
}
