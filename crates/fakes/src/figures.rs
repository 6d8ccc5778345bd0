//! The figures that fault tests pass with, one line each: what was seen, and the bar that it is held against.
//!
//! A test harness swallows what a passing test prints. So a figure goes also into the file that the environment variable
//! `TIDEGATE_FIGURES` names, where the scripts that run the tests read it and show it.

use std::fmt::Display;
use std::io::Write;

/// Tells `fault NAME: GOT (bar: BAR)`.
///
/// # Panics
/// When the file of figures cannot be written: then nobody would see what was measured.
#[expect(clippy::print_stderr, clippy::expect_used, reason = "it is there to print, in tests")]
pub fn told(fault: &str, got: impl Display, bar: impl Display) {
    let line = format!("fault {fault}: {got} (bar: {bar})");
    eprintln!("{line}");
    let Some(path) = std::env::var_os("TIDEGATE_FIGURES") else { return };
    // One write for a line, so that tests side by side do not mix theirs.
    let mut file =
        std::fs::OpenOptions::new().create(true).append(true).open(path).expect("the file of figures");
    file.write_all(format!("{line}\n").as_bytes()).expect("the file of figures");
}
