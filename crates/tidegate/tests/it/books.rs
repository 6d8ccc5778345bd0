//! The books after a run: journal, tables and clients joined by the oracle.

use std::path::Path;
use std::time::Duration;

use fakes::journal::Dispatch;
use fakes::load::{Load, Report, Seen};
use fakes::oracle::{self, Prices, Rates, Rules, Tables};

use crate::stand::{PATIENCE, Stand};

/// Models of the load, each with a price and a cap, and the settings that declare them.
pub(crate) const MODELS: [&str; 3] = ["ok-t6-d2", "ok-t24-d4", "ok-t3"];
pub(crate) const INPUT: &str = "1.25";
pub(crate) const OUTPUT: &str = "10.00";

/// The models of the load: those of a provider whose bill stops with the call, or runs on.
pub(crate) fn models(bills_on: bool) -> [&'static str; 3] {
    if bills_on { ["ok-t6-d2-late", "ok-t24-d4-late", "ok-t3-late"] } else { MODELS }
}

pub(crate) fn priced_models() -> String {
    priced(&MODELS)
}

/// The tables that give each model its price and its cap.
pub(crate) fn priced(models: &[&str]) -> String {
    let table = |model: &&str| {
        format!(
            "[models.\"fake/{model}\"]\nprice = {{ input = \"{INPUT}\", output = \"{OUTPUT}\", currency = \"USD\" }}\n\
             max_output = 64\n"
        )
    };
    models.iter().map(table).collect()
}

/// The line of a key with one budget for all time.
pub(crate) fn budget(amount: &str) -> String {
    format!(r#"budgets = [{{ name = "total", amount = "{amount}", currency = "USD", window = "total" }}]"#)
}

/// The load of the fault tests: 300 requests a second, 60 % streams, 10 % given up.
pub(crate) fn load(stand: &Stand, seconds: f64, seed: u64) -> Load {
    Load {
        url: format!("http://{}/v1", stand.address),
        key: stand.key.clone(),
        rate: Some(300.0),
        seconds,
        seed,
        streams: 0.6,
        aborts: 0.1,
        models: MODELS.map(|model| format!("fake/{model}")).to_vec(),
        new_connections: 0.02,
        timeout: 30.0,
        ..Load::default()
    }
}

/// Waits until no dispatch is open, and returns all of them.
pub(crate) async fn journal(stand: &Stand) -> Vec<Dispatch> {
    stand.upstream.journal().quiet(PATIENCE).await.expect("the upstream comes to rest")
}

pub(crate) async fn sqlite(data_dir: &Path) -> Tables {
    Tables::read_sqlite(&data_dir.join("control.sqlite"), Some(&data_dir.join("logs"))).await.unwrap()
}

pub(crate) fn rules(limits: &[(&str, i64)]) -> Rules {
    rules_of(&MODELS, limits)
}

pub(crate) fn rules_of(models: &[&str], limits: &[(&str, i64)]) -> Rules {
    let rates = Rates::usd(INPUT, OUTPUT).unwrap();
    let prices =
        models.iter().fold(Prices::default(), |p, model| p.with(&format!("fake/{model}"), rates.clone()));
    Rules {
        prices,
        limits: limits.iter().map(|(scope, nano)| ((*scope).to_owned(), *nano)).collect(),
        at_rest: true,
        ..Rules::default()
    }
}

/// Asserts I1 to I6.
pub(crate) fn assert_balanced(journal: &[Dispatch], tables: &Tables, seen: &[Seen], rules: &Rules) {
    let verdict = oracle::judge(journal, tables, seen, rules);
    eprintln!("{verdict}");
    assert!(verdict.holds(), "{verdict}");
}

/// Runs a load in the background.
pub(crate) fn run(load: Load) -> tokio::task::JoinHandle<Report> {
    tokio::spawn(async move { fakes::load::run(load).await.unwrap() })
}

/// Whether this is `make soak`: the full lengths.
pub(crate) fn soak() -> bool {
    std::env::var_os("TIDEGATE_SOAK").is_some()
}

/// How many, or how long: little in `make test`, much in `make soak`, or as the environment variable says.
pub(crate) fn length(variable: &str, test: u64, soak_length: u64) -> u64 {
    let usual = if soak() { soak_length } else { test };
    std::env::var(variable).map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{variable}={text}")))
}

pub(crate) fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
