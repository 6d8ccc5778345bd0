//! What a start says to the person who started it. Never the end of the process: a closed standard output is
//! ignored here.

use crate::terminal::{Terminal, Tone};
use policy::Secret;

/// What there is to say.
pub(super) struct Banner<'a> {
    /// The console's address, when it is reachable by browser.
    pub(super) console: Option<&'a str>,
    /// `http://127.0.0.1:8080`.
    pub(super) origin: &'a str,
    /// The first key of a first start.
    pub(super) first_key: Option<&'a Secret>,
    /// The providers by name.
    pub(super) providers: &'a str,
    pub(super) settings: String,
    pub(super) data_dir: String,
    /// What to do first when nothing serves yet.
    pub(super) waiting: Option<&'a str>,
}

impl Banner<'_> {
    pub(super) fn print(&self) {
        let mut terminal = Terminal::stdout();
        // A start whose output goes nowhere is still a start.
        let _ = self.write(&mut terminal);
    }

    fn write(&self, terminal: &mut Terminal) -> std::io::Result<()> {
        let title = terminal.paint(Tone::Strong, "Tidegate");
        terminal.line(&format!("\n{title} {}\n", env!("CARGO_PKG_VERSION")))?;
        if let Some(console) = self.console {
            fact(terminal, "Console", &format!("{console}/"))?;
        }
        fact(terminal, "Base URL", &format!("{}/v1", self.origin))?;
        match self.first_key {
            Some(secret) => {
                let key = terminal.paint(Tone::Accent, secret.expose());
                fact(terminal, "First key", &format!("{key}   shown this once"))?;
            }
            None => fact(terminal, "New key", "tidegate keys create NAME")?,
        }
        if !self.providers.is_empty() {
            fact(terminal, "Providers", self.providers)?;
        }
        fact(terminal, "Settings", &self.settings)?;
        fact(terminal, "Data", &self.data_dir)?;
        if let Some(waiting) = self.waiting {
            terminal.line(&format!("\n  {}", terminal.paint(Tone::Warn, waiting)))?;
        }
        if let Some(secret) = self.first_key {
            first_call(terminal, self.origin, secret)?;
        }
        terminal.line("")?;
        terminal.flush()
    }
}

fn fact(terminal: &mut Terminal, name: &str, value: &str) -> std::io::Result<()> {
    let name = terminal.paint(Tone::Quiet, &format!("{name:<10}"));
    terminal.line(&format!("  {name} {value}"))
}

fn first_call(terminal: &mut Terminal, origin: &str, secret: &Secret) -> std::io::Result<()> {
    terminal.line("\nA first call:\n")?;
    terminal.line(&format!("  curl {origin}/v1/chat/completions \\"))?;
    terminal.line(&format!("    -H \"Authorization: Bearer {}\" \\", secret.expose()))?;
    terminal.line("    -H \"Content-Type: application/json\" \\")?;
    terminal.line(
        "    -d '{\"model\": \"demo/story\", \"messages\": [{\"role\": \"user\", \"content\": \"Hello from the shore\"}]}'",
    )
}

/// The first key of a database that came up after the start.
pub(super) fn first_key(secret: &Secret) {
    let mut terminal = Terminal::stdout();
    let key = terminal.paint(Tone::Accent, secret.expose());
    // As above.
    let _ = fact(&mut terminal, "First key", &format!("{key}   shown this once"));
}

/// The providers in the order of a reader: real ones first, the simulated one last and named so.
pub(super) fn provider_words(mut named: Vec<(String, bool)>) -> String {
    named.sort_by(|a, b| (a.1, &a.0).cmp(&(b.1, &b.0)));
    named.dedup();
    if named.is_empty() {
        return String::new();
    }
    let only_simulated = named.iter().all(|(_, simulated)| *simulated);
    let word =
        |(name, simulated): (String, bool)| if simulated { format!("{name} (simulated)") } else { name };
    let words = named.into_iter().map(word).collect::<Vec<_>>().join(", ");
    if only_simulated {
        format!("{words}; set OPENAI_API_KEY or another vendor's key for real ones")
    } else {
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_simulated_provider_comes_last_and_says_so() {
        let named =
            vec![("demo".to_owned(), true), ("openai".to_owned(), false), ("openai".to_owned(), false)];
        assert_eq!(provider_words(named), "openai, demo (simulated)");
        assert!(provider_words(vec![("demo".to_owned(), true)]).contains("OPENAI_API_KEY"));
    }
}
