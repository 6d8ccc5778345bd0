//! Writing for people and for scripts.
//!
//! `print!` panics when the reader of a pipe goes away, so nothing here uses it: every write returns its error,
//! and main turns a broken pipe into a quiet end. Text that came from elsewhere (a model's name, a key's, an
//! answer) is made harmless first: a terminal obeys escape sequences whoever wrote them.

use crate::environment;
use serde::Serialize;
use std::io::{self, IsTerminal, Write};

/// Standard output, with or without colour.
pub(crate) struct Terminal {
    out: Box<dyn Write + Send>,
    colour: bool,
}

/// What a piece of text is; colours follow meaning, never decoration.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum Tone {
    Plain,
    Strong,
    Quiet,
    Accent,
    Good,
    Warn,
    Bad,
}

impl Tone {
    fn code(self) -> &'static str {
        match self {
            Tone::Plain => "",
            Tone::Strong => "\x1b[1m",
            Tone::Quiet => "\x1b[2m",
            Tone::Accent => "\x1b[36m",
            Tone::Good => "\x1b[32m",
            Tone::Warn => "\x1b[33m",
            Tone::Bad => "\x1b[31m",
        }
    }
}

impl Terminal {
    /// The process's standard output.
    pub(crate) fn stdout() -> Self {
        let colour = environment::wants_colour(io::stdout().is_terminal());
        Self { out: Box::new(io::stdout()), colour }
    }

    /// Somewhere else, without colour; for tests.
    #[cfg(test)]
    pub(crate) fn plain(out: Box<dyn Write + Send>) -> Self {
        Self { out, colour: false }
    }

    /// `text` in its tone, or as it is where colours are off.
    pub(crate) fn paint(&self, tone: Tone, text: &str) -> String {
        if self.colour && tone != Tone::Plain {
            format!("{}{text}\x1b[0m", tone.code())
        } else {
            text.to_owned()
        }
    }

    /// One line.
    pub(crate) fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{text}")
    }

    /// Text without a line end, shown at once.
    pub(crate) fn part(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    /// One JSON object on one line.
    pub(crate) fn json<T: Serialize>(&mut self, value: &T) -> io::Result<()> {
        let text = serde_json::to_string(value)?;
        self.line(&text)
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// One line on standard error.
pub(crate) fn complain(text: &str) {
    // Nobody is left to tell when standard error itself is gone.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Text from elsewhere with everything a terminal would obey made visible. Line ends survive only if asked.
pub(crate) fn harmless(text: &str, keep_lines: bool) -> String {
    let obeyed = |c: char| c.is_control() && !(keep_lines && (c == '\n' || c == '\t'));
    // Bidirectional overrides can make a line read otherwise than it is.
    let reorders = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if !text.chars().any(|c| obeyed(c) || reorders(c)) {
        return text.to_owned();
    }
    text.chars().map(|c| if obeyed(c) || reorders(c) { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_from_elsewhere_are_not_obeyed() {
        assert_eq!(harmless("a\x1b[2Jb", true), "a\u{fffd}[2Jb");
        assert_eq!(harmless("a\nb\tc", true), "a\nb\tc");
        assert_eq!(harmless("a\nb", false), "a\u{fffd}b");
        assert_eq!(harmless("明天\u{202e}x", false), "明天\u{fffd}x");
    }
}
