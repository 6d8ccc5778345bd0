//! Figures to a table: medians, the spread, and the ratio of each round.
//!
//! A ratio is taken within a round, where both saw the same machine, and the median of the ratios is printed: two
//! medians from different minutes could differ for reasons that have nothing to do with the programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use crate::targets::{self, Kind, Setup};

/// The value below which this share of the values lies; 0 for none.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len() as f64 - 1.0).max(0.0) * share;
    let of = |n: f64| sorted.get(n as usize).copied().unwrap_or(0.0);
    of(at.floor()) + (of(at.ceil()) - of(at.floor())) * at.fract()
}

/// One line of the table.
struct Row {
    label: String,
    /// Digits after the point.
    digits: usize,
    cells: BTreeMap<Kind, Vec<f64>>,
}

/// Everything measured, in the order in which it was first measured.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
    /// Sentences below the table.
    pub(crate) notes: Vec<String>,
}

impl Table {
    /// Adds one value of one round.
    pub(crate) fn add(&mut self, label: &str, digits: usize, kind: Kind, value: f64) {
        let row = match self.rows.iter_mut().position(|row| row.label == label) {
            Some(at) => &mut self.rows[at],
            None => {
                self.rows.push(Row { label: label.to_owned(), digits, cells: BTreeMap::new() });
                let last = self.rows.len() - 1;
                &mut self.rows[last]
            }
        };
        row.cells.entry(kind).or_default().push(value);
    }

    /// The table as Markdown.
    pub(crate) fn markdown(&self) -> String {
        let mut kinds: Vec<Kind> = self.rows.iter().flat_map(|row| row.cells.keys().copied()).collect();
        kinds.sort();
        kinds.dedup();
        let mut text = String::from("|");
        for kind in &kinds {
            let _ = write!(text, " | {}", kind.title());
        }
        text.push_str(" | Tidegate ÷ nginx | LiteLLM ÷ Tidegate |\n|---");
        text.push_str(&"|---:".repeat(kinds.len() + 2));
        text.push_str("|\n");
        for row in &self.rows {
            let _ = write!(text, "| {}", row.label);
            for kind in &kinds {
                let _ =
                    write!(text, " | {}", row.cells.get(kind).map_or("–".into(), |v| cell(v, row.digits)));
            }
            let _ = write!(text, " | {}", row.ratio(Kind::Tidegate, Kind::Nginx, 2));
            let _ = writeln!(text, " | {} |", row.ratio(Kind::Litellm, Kind::Tidegate, 0));
        }
        for note in &self.notes {
            let _ = write!(text, "\n{note}\n");
        }
        text
    }
}

impl Row {
    fn ratio(&self, of: Kind, to: Kind, digits: usize) -> String {
        let (Some(of), Some(to)) = (self.cells.get(&of), self.cells.get(&to)) else {
            return "–".to_owned();
        };
        let ratios: Vec<f64> =
            of.iter().zip(to).filter(|(of, to)| **of > 0.0 && **to > 0.0).map(|(of, to)| of / to).collect();
        if ratios.is_empty() { "–".to_owned() } else { cell(&ratios, digits) }
    }
}

fn cell(values: &[f64], digits: usize) -> String {
    let median = quantile(values, 0.5);
    if values.len() == 1 {
        return format!("{median:.digits$}");
    }
    let (low, high) = (quantile(values, 0.0), quantile(values, 1.0));
    format!("**{median:.digits$}** ({low:.digits$}–{high:.digits$})")
}

/// Writes the page of benchmarks; the text around the table lives in `benchmarks.md.in` beside this crate.
pub(crate) fn write_page(path: &Path, table: &Table, setup: &Setup, command: &str) -> anyhow::Result<()> {
    let page = include_str!("../benchmarks.md.in")
        .replace("{table}", table.markdown().trim_end())
        .replace("{machine}", machine(setup).trim_end())
        .replace("{command}", command);
    std::fs::write(path, page)?;
    Ok(())
}

/// The machine and the versions, a line each.
pub(crate) fn machine(setup: &Setup) -> String {
    let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    let after = |text: &str, name: &str| {
        text.lines()
            .find(|line| line.starts_with(name))
            .and_then(|line| line.split_once(':'))
            .map_or("?".to_owned(), |(_, value)| value.trim().to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let date =
        Command::new("date").args(["-u", "+%F"]).output().map(|output| output.stdout).unwrap_or_default();
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "- {name}: {}", value.trim());
    };
    line("date", &String::from_utf8_lossy(&date));
    line("processor", &format!("{}, {cores} cores", after(&read("/proc/cpuinfo"), "model name")));
    line("memory", &after(&read("/proc/meminfo"), "MemTotal"));
    line("kernel", &format!("Linux {}", read("/proc/sys/kernel/osrelease")));
    line("Tidegate", &targets::version_of(&setup.tidegate, "--version"));
    line("compiler", &targets::version_of(Path::new("rustc"), "--version"));
    line("nginx", &targets::version_of(Path::new("nginx"), "-v"));
    if let Some(litellm) = &setup.litellm {
        line("LiteLLM", &targets::version_of(litellm, "--version"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_within_a_round() {
        let mut table = Table::default();
        for (nginx, tidegate) in [(10.0, 20.0), (20.0, 40.0), (5.0, 11.0)] {
            table.add("x", 0, Kind::Nginx, nginx);
            table.add("x", 0, Kind::Tidegate, tidegate);
        }
        assert!(table.markdown().contains("| **2.00** (2.00–2.20) | – |"), "{}", table.markdown());
    }

    #[test]
    fn quantiles_of_nothing_and_of_one() {
        assert_eq!((quantile(&[], 0.5), quantile(&[3.0], 0.99)), (0.0, 3.0));
        assert_eq!(quantile(&[4.0, 1.0, 3.0, 2.0, 5.0], 0.5), 3.0);
    }
}
