//! What is wrong with a document, said so that it can be mended: where, what, and the way out.

use super::document::Place;
use std::fmt;

/// Findings beyond this many are not kept: a file of another program would have thousands.
const MOST: usize = 100;

/// How bad a finding is.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Severity {
    /// The document cannot be used.
    Error,
    /// It can, but probably says something that is not meant.
    Warning,
}

/// One thing that is wrong.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The file, as it was named by the caller.
    pub file: String,
    /// Counted from 1; 0 where no text is meant.
    pub line: usize,
    /// In characters, counted from 1; 0 where no text is meant.
    pub column: usize,
    /// What is wrong. Never holds a secret.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, ": {severity}: {}", self.message)?;
        if let Some(help) = &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

/// Collects findings on one text.
pub(crate) struct Findings {
    file: String,
    /// The byte offsets at which lines begin; empty where there is no text.
    lines: Vec<usize>,
    text: String,
    kept: Vec<Finding>,
    errors: usize,
}

impl Findings {
    /// For findings that are made from byte offsets into `text`.
    pub(crate) fn new(file: &str, text: &str) -> Findings {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(breaks).collect();
        Findings { lines, text: text.to_owned(), ..Findings::placed(file) }
    }

    /// For findings whose places are known already.
    pub(crate) fn placed(file: &str) -> Findings {
        Findings {
            file: file.to_owned(),
            lines: Vec::new(),
            text: String::new(),
            kept: Vec::new(),
            errors: 0,
        }
    }

    /// The place of a byte offset.
    pub(crate) fn place(&self, offset: usize) -> Place {
        let line = self.lines.partition_point(|start| *start <= offset).max(1);
        let start = self.lines.get(line - 1).copied().unwrap_or(0);
        let before = self.text.get(start..offset).map_or(0, |before| before.chars().count());
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Place { line: number(line), column: number(before + 1) }
    }

    pub(crate) fn error(&mut self, at: Place, message: impl Into<String>, help: Option<String>) {
        self.errors += 1;
        self.push(Severity::Error, at, message.into(), help);
    }

    pub(crate) fn warning(&mut self, at: Place, message: impl Into<String>, help: Option<String>) {
        self.push(Severity::Warning, at, message.into(), help);
    }

    fn push(&mut self, severity: Severity, at: Place, message: String, help: Option<String>) {
        if self.kept.len() >= MOST {
            return;
        }
        let (line, column) = (at.line as usize, at.column as usize);
        self.kept.push(Finding { severity, file: self.file.clone(), line, column, message, help });
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// No further finding is kept: there is no use in looking for more.
    pub(crate) fn full(&self) -> bool {
        self.kept.len() >= MOST
    }

    /// By place; the last one says when there may be more.
    pub(crate) fn sorted(mut self) -> Vec<Finding> {
        self.kept.sort_by_key(|finding| (finding.line, finding.column));
        if self.full() {
            let message = format!("only the first {MOST} findings are shown");
            // Errors may be among those that were not kept.
            let severity = if self.errors > 0 { Severity::Error } else { Severity::Warning };
            let (file, help) = (self.file.clone(), None);
            self.kept.push(Finding { severity, file, line: 0, column: 0, message, help });
        }
        self.kept
    }
}
