//! The oracle: joins what upstreams truly did (journals), what clients saw (load reports) and what was recorded
//! (tables), and says where they disagree.
//!
//! It knows nothing of the ledger's code. Its truth about money are prices given by the test; its truth about
//! tokens is the upstream's journal. The invariants, by name:
//!
//! - **I1** every dispatch has exactly one terminal entry, and no two dispatches share an attempt;
//! - **I2** no entry lacks a dispatch, a `void` excepted;
//! - **I3** for every budget scope and window: settled and reserved ≤ limit, overruns excepted;
//! - **I4** at rest nothing is reserved;
//! - **I5** the sum of entries is the balance, in integers;
//! - **I6** a charge is the price of the true usage, or is flagged as estimated with its basis, and is always the price
//!   of the usage that the entry itself states;
//! - **I7** replaying changes nothing ([`unchanged`]);
//! - **A** every answer that a client saw complete is recorded, with the usage that the client was told.

mod money;
mod tables;

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

pub use money::{Prices, Rates};
pub use tables::{Balance, Counts, Entry, Tables};

use crate::journal::{Dispatch, Tokens};
use crate::load::Seen;

/// Violations that are written out; more are only counted.
const MAX_WRITTEN: usize = 1_000;

/// What the test knows and wants.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Prices by deployment name (`provider/model`). A model without one is not checked for its price.
    pub prices: Prices,
    /// The limit of each budget scope, in nano units.
    pub limits: BTreeMap<String, i64>,
    /// What the process says is reserved: scope, window start, nano units.
    pub reserved: Vec<(String, i64, i64)>,
    /// Nothing is in flight and everything is drained: what is missing will not come any more.
    pub at_rest: bool,
    /// A dispatch may never have been read by the upstream (it hangs on accept, the network is cut): an entry
    /// without charge then needs no dispatch.
    pub unread: bool,
}

/// One disagreement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// `I1` to `I7`, or `A`.
    pub invariant: &'static str,
    /// The request, attempt or scope.
    pub subject: String,
    /// What is wrong, with both sides' figures.
    pub message: String,
}

/// What was checked and found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Verdict {
    /// Dispatches in the journals.
    pub dispatches: u64,
    /// Entries in the tables.
    pub entries: u64,
    /// Complete answers that clients saw.
    pub acknowledged: u64,
    /// Entries flagged as estimated.
    pub estimated: u64,
    /// Entries that are settled after a crash and have no dispatch: nobody can know whether it was sent.
    pub indeterminate: u64,
    /// What the entries charge minus what the upstreams bill, in nano units, over all estimated entries with a price.
    pub estimate_drift: i64,
    /// Violations found, written out or not.
    pub violations_total: u64,
    /// The first of them.
    pub violations: Vec<Violation>,
}

impl Verdict {
    /// Whether everything agrees.
    #[must_use]
    pub const fn holds(&self) -> bool {
        self.violations_total == 0
    }

    fn blame(&mut self, invariant: &'static str, subject: &str, message: String) {
        self.violations_total += 1;
        if self.violations.len() < MAX_WRITTEN {
            self.violations.push(Violation { invariant, subject: subject.to_owned(), message });
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { dispatches, entries, acknowledged, estimated, indeterminate, violations_total, .. } = self;
        writeln!(
            out,
            "{dispatches} dispatches, {entries} entries ({estimated} estimated, {indeterminate} indeterminate), \
             {acknowledged} acknowledged: {violations_total} violations"
        )?;
        for Violation { invariant, subject, message } in self.violations.iter().take(50) {
            writeln!(out, "{invariant} {subject}: {message}")?;
        }
        Ok(())
    }
}

type Attempt = (String, u16);

/// Joins everything and judges. `journals` are the dispatches of all upstreams; `seen` what clients saw.
#[must_use]
pub fn judge(journals: &[Dispatch], tables: &Tables, seen: &[Seen], rules: &Rules) -> Verdict {
    let mut verdict = Verdict {
        dispatches: journals.len() as u64,
        entries: tables.entries.len() as u64,
        estimated: tables.entries.iter().filter(|entry| entry.estimated).count() as u64,
        ..Verdict::default()
    };
    let mut entries: HashMap<Attempt, Vec<&Entry>> = HashMap::new();
    for entry in &tables.entries {
        entries.entry((entry.request_id.clone(), entry.attempt)).or_default().push(entry);
    }
    let mut dispatches: HashMap<Attempt, &Dispatch> = HashMap::new();
    for dispatch in journals {
        let Some(id) = &dispatch.request_id else {
            let message = format!("dispatch {} carries no x-request-id", dispatch.number);
            verdict.blame("I1", &dispatch.path, message);
            continue;
        };
        if let Some(other) = dispatches.insert((id.clone(), dispatch.attempt), dispatch) {
            let message = format!("dispatches {} and {} share the attempt", other.number, dispatch.number);
            verdict.blame("I1", &name(id, dispatch.attempt), message);
        }
    }
    every_dispatch_once(&dispatches, &entries, rules, &mut verdict);
    for entry in &tables.entries {
        let dispatch = dispatches.get(&(entry.request_id.clone(), entry.attempt)).copied();
        let sent = dispatch.is_some() || excused(entry, rules, &mut verdict);
        if !sent {
            let message = format!("a {} entry ({}) without a dispatch", entry.kind, entry.outcome);
            verdict.blame("I2", &name(&entry.request_id, entry.attempt), message);
        }
        charge(entry, dispatch, rules, &mut verdict);
    }
    budgets(tables, rules, &mut verdict);
    acknowledged(seen, tables, rules, &mut verdict);
    verdict
}

/// I7: what a replay must not change.
#[must_use]
pub fn unchanged(before: &Tables, after: &Tables) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut compare = |what: &str, before: String, after: String| {
        if before != after {
            let message = format!("{what} before: {before}; after: {after}");
            found.push(Violation { invariant: "I7", subject: what.to_owned(), message });
        }
    };
    compare("count of entries", before.entries.len().to_string(), after.entries.len().to_string());
    let key = |entry: &Entry| (entry.request_id.clone(), entry.attempt, entry.kind.clone(), entry.seq);
    let old: HashMap<_, &Entry> = before.entries.iter().map(|entry| (key(entry), entry)).collect();
    for entry in &after.entries {
        match old.get(&key(entry)) {
            Some(same) if *same == entry => {}
            other => {
                compare(&name(&entry.request_id, entry.attempt), format!("{other:?}"), format!("{entry:?}"));
            }
        }
    }
    compare("balances", format!("{:?}", before.balances), format!("{:?}", after.balances));
    found
}

fn name(id: &str, attempt: u16) -> String {
    format!("{id}.{attempt}")
}

fn every_dispatch_once(
    dispatches: &HashMap<Attempt, &Dispatch>,
    entries: &HashMap<Attempt, Vec<&Entry>>,
    rules: &Rules,
    verdict: &mut Verdict,
) {
    for (attempt, dispatch) in dispatches {
        let found = entries.get(attempt).map_or(&[][..], Vec::as_slice);
        // Later corrections count up in `seq`; the terminal entry is 0.
        let terminal: Vec<&&Entry> = found.iter().filter(|entry| entry.seq == 0).collect();
        let subject = name(&attempt.0, attempt.1);
        match terminal.as_slice() {
            [one] if one.kind == "void" => {
                let message = format!("dispatch {} is recorded as never sent", dispatch.number);
                verdict.blame("I1", &subject, message);
            }
            [_] => {}
            [] if rules.at_rest => {
                let message = format!("dispatch {} ({}) is not recorded", dispatch.number, dispatch.path);
                verdict.blame("I1", &subject, message);
            }
            [] => {}
            several => {
                verdict.blame("I1", &subject, format!("{} terminal entries", several.len()));
            }
        }
    }
}

/// Entries that need no dispatch.
fn excused(entry: &Entry, rules: &Rules, verdict: &mut Verdict) -> bool {
    if entry.kind == "void" {
        return true;
    }
    if matches!(entry.basis.as_str(), "crashed" | "dropped") {
        verdict.indeterminate += 1;
        return true;
    }
    rules.unread && entry.charge.as_ref().is_none_or(|(nano, _)| *nano == 0)
}

/// I6, for one entry and its dispatch.
fn charge(entry: &Entry, dispatch: Option<&Dispatch>, rules: &Rules, verdict: &mut Verdict) {
    let subject = name(&entry.request_id, entry.attempt);
    if entry.kind == "void" {
        if entry.charge.as_ref().is_some_and(|(nano, _)| *nano != 0) {
            verdict.blame("I6", &subject, format!("a void entry charges {:?}", entry.charge));
        }
        return;
    }
    let stated = entry.usage.tokens();
    let price = rules.prices.of(&entry.model);
    if let (Some(rates), Some(stated)) = (price, stated) {
        let due = rates.cost(&stated);
        let wrong = |money: &Option<(i64, String)>| {
            money.as_ref().is_some_and(|(nano, currency)| *nano != due || *currency != rates.currency)
        };
        if wrong(&entry.cost) {
            let message = format!("cost {:?}, but its own usage costs {due}", entry.cost);
            verdict.blame("I6", &subject, message);
        }
        let waived =
            entry.outcome != "completed" && entry.charge.as_ref().is_some_and(|(nano, _)| *nano == 0);
        if wrong(&entry.charge) && !waived {
            let message = format!("charge {:?}, but its own usage costs {due}", entry.charge);
            verdict.blame("I6", &subject, message);
        }
        if entry.outcome == "completed" && entry.cost.is_none() {
            verdict.blame("I6", &subject, format!("no cost, though the price is known: {due}"));
        }
    }
    if entry.estimated {
        let guessed = entry.basis != "reported"
            || dispatch.is_some_and(|dispatch| told_the_truth(dispatch) == Some(false));
        if !guessed {
            verdict.blame("I6", &subject, "estimated, though the provider told its usage".to_owned());
        }
    } else if entry.basis != "reported" && stated.is_some_and(|stated| stated != Tokens::default()) {
        verdict.blame("I6", &subject, format!("basis {} is not flagged as estimated", entry.basis));
    }
    let Some(end) = dispatch.and_then(|dispatch| dispatch.end.as_ref()) else { return };
    let stated = stated.unwrap_or_default();
    if entry.estimated {
        if let (Some(rates), Some((nano, _))) = (price, &entry.charge) {
            verdict.estimate_drift += nano - rates.cost(&end.truth);
        }
    } else if !same(&stated, &end.truth, &entry.usage) {
        let message = format!("usage {stated:?} is not estimated, but the truth is {:?}", end.truth);
        verdict.blame("I6", &subject, message);
    }
}

/// Whether the last usage told was the truth; `None` if none was told.
fn told_the_truth(dispatch: &Dispatch) -> Option<bool> {
    let end = dispatch.end.as_ref()?;
    end.told.map(|told| told == end.truth && end.complete)
}

/// Input and output must agree; the parts only where the entry states them.
fn same(stated: &Tokens, truth: &Tokens, counts: &Counts) -> bool {
    stated.input == truth.input
        && stated.output == truth.output
        && counts.cached_input.is_none_or(|cached| cached == truth.cached_input)
        && counts.reasoning.is_none_or(|reasoning| reasoning == truth.reasoning)
}

/// I3, I4, I5.
fn budgets(tables: &Tables, rules: &Rules, verdict: &mut Verdict) {
    type Window = (String, i64, String);
    let mut charged: BTreeMap<Window, (i64, i64)> = BTreeMap::new();
    for entry in &tables.entries {
        let Some((nano, currency)) = &entry.charge else { continue };
        for (scope, start) in &entry.budgets {
            let sum = charged.entry((scope.clone(), *start, currency.clone())).or_default();
            sum.0 += nano;
            sum.1 += if entry.overrun { *nano } else { 0 };
        }
    }
    for balance in &tables.balances {
        charged.entry((balance.scope.clone(), balance.window_start, balance.currency.clone())).or_default();
    }
    let spent: HashMap<Window, i64> = tables
        .balances
        .iter()
        .map(|balance| {
            ((balance.scope.clone(), balance.window_start, balance.currency.clone()), balance.spent)
        })
        .collect();
    for (window, (sum, overrun)) in &charged {
        let subject = format!("{} from {}", window.0, window.1);
        let balance = spent.get(window).copied().unwrap_or(0);
        if balance != *sum {
            verdict.blame("I5", &subject, format!("the balance is {balance}, the entries sum to {sum}"));
        }
        let held: i64 = rules
            .reserved
            .iter()
            .filter(|(scope, start, _)| *scope == window.0 && *start == window.1)
            .map(|(.., nano)| nano)
            .sum();
        if let Some(limit) = rules.limits.get(&window.0).filter(|limit| sum + held > **limit + overrun) {
            let message = format!("settled {sum} and reserved {held} are over {limit} (overruns {overrun})");
            verdict.blame("I3", &subject, message);
        }
    }
    if rules.at_rest {
        for (scope, start, nano) in rules.reserved.iter().filter(|(.., nano)| *nano != 0) {
            verdict.blame("I4", &format!("{scope} from {start}"), format!("{nano} is still reserved"));
        }
    }
}

/// A: what clients saw complete.
fn acknowledged(seen: &[Seen], tables: &Tables, rules: &Rules, verdict: &mut Verdict) {
    let mut last: HashMap<&str, &Entry> = HashMap::new();
    for entry in tables.entries.iter().filter(|entry| entry.kind == "settle" && entry.seq == 0) {
        let kept = last.entry(&entry.request_id).or_insert(entry);
        if entry.attempt > kept.attempt {
            *kept = entry;
        }
    }
    for seen in seen.iter().filter(|seen| seen.complete && seen.status == 200) {
        verdict.acknowledged += 1;
        let Some(id) = &seen.request_id else {
            verdict.blame(
                "A",
                &format!("request {}", seen.index),
                "an answer without x-request-id".to_owned(),
            );
            continue;
        };
        match last.get(id.as_str()) {
            Some(entry) => {
                let (stated, told) = (entry.usage.tokens(), seen.usage);
                let differs = told.is_some_and(|told| {
                    stated.is_none_or(|stated| stated.input != told.input || stated.output != told.output)
                });
                if differs && !entry.estimated {
                    verdict.blame("A", id, format!("the client was told {told:?}, recorded is {stated:?}"));
                }
            }
            None if rules.at_rest => verdict.blame("A", id, "acknowledged and not recorded".to_owned()),
            None => {}
        }
        if rules.at_rest && tables.logged.as_ref().is_some_and(|logged| !logged.contains(id)) {
            verdict.blame("A", id, "acknowledged and not in the request log".to_owned());
        }
    }
}

#[cfg(test)]
mod tests;
