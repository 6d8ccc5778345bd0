//! Faults by their subject, each with the figure that it passes with: `docs/reliability.md` is their list.
//!
//! Where a bar is a time, the figure is printed and the test does not fail for it: it is also the machine's. What must not
//! happen at all (a failure, a loss, a second entry) is asserted.

use std::fmt::Write as _;
use std::future::Future;
use std::time::Duration;

use fakes::oracle::{self, Verdict};
use fakes::plan::Plan;

use crate::books;
use crate::client::chat;
use crate::stand::{Setup, Stand};

mod answers;
mod clients;
mod lab;
mod packed;
mod pieces;
mod places;
mod stores;

pub(crate) use fakes::figures::told;

/// A chat body for a priced model that is answered by this plan.
fn asked(plan: &Plan, stream: bool) -> String {
    let flag = if stream { r#","stream":true"# } else { "" };
    chat("fake/ok-t3", &format!(r#"{flag},"fake":{}"#, serde_json::to_string(plan).unwrap()))
}

/// A stand whose route `r` asks one model and then a good one.
async fn with_fallback(first: &[&str], timeouts: &str) -> Stand {
    let mut more = books::priced_models();
    for model in first {
        write!(
            more,
            "[routes.\"{model}\"]\ntargets = [\"fake/{model}\"]\nfallbacks = [\"fake/ok-t3\"]\ntimeouts = {{ {timeouts} }}\n"
        )
        .unwrap();
    }
    Stand::start(Setup { more, ..Setup::default() }).await
}

/// Runs one future for each item, eight at a time; their answers in no order.
async fn eight_at_once<T, R, F>(items: Vec<T>, call: impl Fn(T) -> F) -> Vec<R>
where
    F: Future<Output = R> + Send + 'static,
    R: Send + 'static,
{
    let mut answers = Vec::with_capacity(items.len());
    let mut running = tokio::task::JoinSet::new();
    for item in items {
        if running.len() == 8 {
            answers.push(running.join_next().await.unwrap().unwrap());
        }
        running.spawn(call(item));
    }
    answers.extend(running.join_all().await);
    answers
}

/// Stops the stand and judges its books, which must hold.
async fn judged(mut stand: Stand) -> Verdict {
    stand.wait_drained().await;
    let journal = books::journal(&stand).await;
    assert_eq!(stand.stop().await, Some(0), "{}", stand.log());
    let tables = books::sqlite(&stand.data_dir).await;
    let rules = oracle::Rules { unread: true, ..books::rules(&[]) };
    let verdict = oracle::judge(&journal, &tables, &[], &rules);
    assert!(verdict.holds(), "{verdict}");
    verdict
}

/// The largest of some times.
fn worst(times: &[Duration]) -> Duration {
    times.iter().copied().max().unwrap_or_default()
}

/// What a process has now, or the most that it ever had, in KiB: `VmRSS`, `VmHWM`.
fn kib(stand: &Stand, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", stand.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
