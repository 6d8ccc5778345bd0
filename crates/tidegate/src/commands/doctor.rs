//! `tidegate doctor`: looks at everything a gateway needs and says what is wrong and what to do.
//!
//! Needs no running gateway; where one runs, it is asked too. Changes nothing.

mod host;
mod providers;
mod running;

use crate::cli::Shape;
use crate::located::Place;
use crate::outcome::Outcome;
use crate::secrets::ProcessSecrets;
use crate::serve::source::{Overrides, Read, Source};
use crate::terminal::{Terminal, Tone, harmless};
use policy::{Discovered, Pepper, Snapshot};
use runtime::Clock;
use serde::Serialize;

/// The simulated provider runs only inside a gateway; this address is never asked.
const STAND_IN: &str = "http://127.0.0.1:1/v1";

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate doctor
  tidegate doctor --config /etc/tidegate.toml --json

Ends with 1 when something is wrong.")]
pub(crate) struct Args {
    #[command(flatten)]
    shape: Shape,
}

/// How a check went.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Fine,
    Remark,
    Wrong,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    check: String,
    verdict: Verdict,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
}

impl Check {
    fn fine(check: &str, message: impl Into<String>) -> Self {
        Self { check: check.to_owned(), verdict: Verdict::Fine, message: message.into(), help: None }
    }

    fn remark(check: &str, message: impl Into<String>, help: &str) -> Self {
        Self {
            check: check.to_owned(),
            verdict: Verdict::Remark,
            message: message.into(),
            help: Some(help.to_owned()),
        }
    }

    fn wrong(check: &str, message: impl Into<String>, help: &str) -> Self {
        Self { verdict: Verdict::Wrong, ..Self::remark(check, message, help) }
    }
}

pub(crate) async fn run(place: &Place, args: Args) -> anyhow::Result<Outcome> {
    let mut report = Report { terminal: Terminal::stdout(), json: args.shape.json, wrong: 0, remarks: 0 };
    let (settings, understood) = look_at_settings(place);
    for check in settings {
        report.add(&check)?;
    }
    let data_dir = match &understood {
        Some((read, _)) => read.document.server.data_dir.clone(),
        None => place.data_dir()?,
    };
    for check in host::look(&data_dir, understood.as_ref().map(|(read, _)| &read.document.server)) {
        report.add(&check)?;
    }
    let running = running::look(place, &data_dir).await;
    let answers = running.answers;
    for check in running.checks {
        report.add(&check)?;
    }
    if let Some((read, snapshot)) = understood {
        if !answers {
            report.add(&host::look_at_port(&read.document.server))?;
        }
        if let Some(check) = providers::look_at_database(&read.document.store).await {
            report.add(&check)?;
        }
        if let Some(check) = providers::look_at_redis(&read.document).await {
            report.add(&check)?;
        }
        for provider in providers::listed(&snapshot) {
            report.add(&providers::look(&provider).await)?;
        }
    }
    report.end()
}

/// The settings as this process would read them, compiled if they can be.
fn look_at_settings(place: &Place) -> (Vec<Check>, Option<(Read, Snapshot)>) {
    let source = place.find_settings().map_or(Source::Environment, Source::File);
    let overrides = Overrides { listen: None, data_dir: place.data_dir.clone() };
    let read = match source.read(&overrides, STAND_IN) {
        Ok(read) => read,
        Err(refused) => return (refused.0.into_iter().map(wrong_settings).collect(), None),
    };
    let (pepper, now) = (Pepper::derive(&[0; 32]), Clock::system().now());
    match policy::compile(&read.document, 1, &ProcessSecrets, &pepper, &Discovered::default(), now) {
        Err(findings) => (findings.iter().map(|finding| wrong_settings(finding.to_string())).collect(), None),
        Ok(compiled) => {
            let mut checks: Vec<Check> = read
                .warnings
                .iter()
                .chain(&compiled.warnings)
                .map(|finding| Check { help: None, ..Check::remark("settings", finding.to_string(), "") })
                .collect();
            let told = match &source {
                Source::File(path) => format!("{} can be used", path.display()),
                Source::Environment => "no file; providers are found in the environment".to_owned(),
            };
            checks.push(Check::fine("settings", told));
            (checks, Some((read, compiled.snapshot)))
        }
    }
}

fn wrong_settings(finding: String) -> Check {
    Check::wrong("settings", finding, "mend the file; `tidegate check FILE` looks at it alone")
}

/// Prints checks as they come and counts them.
struct Report {
    terminal: Terminal,
    json: bool,
    wrong: usize,
    remarks: usize,
}

impl Report {
    fn add(&mut self, check: &Check) -> anyhow::Result<()> {
        let (mark, tone) = match check.verdict {
            Verdict::Fine => ("ok   ", Tone::Good),
            Verdict::Remark => ("note ", Tone::Warn),
            Verdict::Wrong => ("wrong", Tone::Bad),
        };
        self.wrong += usize::from(check.verdict == Verdict::Wrong);
        self.remarks += usize::from(check.verdict == Verdict::Remark);
        if self.json {
            self.terminal.json(check)?;
            return Ok(());
        }
        let (name, message) = (harmless(&check.check, false), harmless(&check.message, true));
        let message = message.replace('\n', "\n       ");
        let line = format!("{}  {name}: {message}", self.terminal.paint(tone, mark));
        self.terminal.line(&line)?;
        if let Some(help) = &check.help {
            let help = self.terminal.paint(Tone::Quiet, &format!("       → {}", harmless(help, false)));
            self.terminal.line(&help)?;
        }
        self.terminal.flush()?;
        Ok(())
    }

    fn end(mut self) -> anyhow::Result<Outcome> {
        if !self.json {
            let told = match (self.wrong, self.remarks) {
                (0, 0) => "Everything looks well.".to_owned(),
                (0, notes) => format!("Nothing is wrong; notes: {notes}."),
                (wrong, notes) => format!("Wrong: {wrong}; notes: {notes}."),
            };
            self.terminal.line(&format!("\n{told}"))?;
        }
        Ok(if self.wrong == 0 { Outcome::Done } else { Outcome::Failed })
    }
}
