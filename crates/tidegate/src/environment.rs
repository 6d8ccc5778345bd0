//! The process environment and the process's end: read and done here, nowhere else.
//!
//! Every variable that the program looks at by a fixed name is a constant below, so this file answers
//! "what does it read from my environment?".

use std::io::IsTerminal;

/// Base URL of a gateway: for `chat` with or without `/v1`, and for commands with a token.
pub(crate) const URL: &str = "TIDEGATE_URL";
/// The virtual key for `chat`.
pub(crate) const API_KEY: &str = "TIDEGATE_API_KEY";
/// An API token: commands talk to the gateway at `TIDEGATE_URL` instead of through the socket.
pub(crate) const TOKEN: &str = "TIDEGATE_TOKEN";
/// What is logged, in the syntax of `tracing`'s filter: `info`, `gateway=debug,info`.
pub(crate) const LOG: &str = "TIDEGATE_LOG";
/// Set to anything: no colours (no-color.org).
const NO_COLOR: &str = "NO_COLOR";

/// The value of one variable; absent, empty and not-Unicode are all `None`.
#[expect(clippy::disallowed_methods, reason = "the one place where the environment is read")]
pub(crate) fn find(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Whether output to the terminal may be coloured.
pub(crate) fn wants_colour(to_terminal: bool) -> bool {
    to_terminal && find(NO_COLOR).is_none() && find("TERM").as_deref() != Some("dumb")
}

/// Whether a person sits at the keyboard.
pub(crate) fn is_interactive() -> bool {
    std::io::stdin().is_terminal()
}

/// Ends the process without any farewell: what a second signal asks for.
#[expect(clippy::disallowed_methods, reason = "the one place where the process is ended")]
pub(crate) fn leave_now(code: i32) -> ! {
    std::process::exit(code)
}
