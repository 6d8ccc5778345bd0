//! What the drain costs: microseconds of CPU time of the whole process (user and system, all threads) for each request,
//! which is one entry, one line of the request log, and its share of balances and hourly usage.
//!
//! `cargo run --release -p store --example drain_cost -- [REQUESTS] [BATCH] [KEYS] [postgres://…]`
//!
//! CPU time and not wall time, since the drain runs beside the traffic on the same processors.
#![expect(clippy::print_stdout, reason = "a program that prints its result")]

use std::sync::Arc;

use ledger::{Basis, Drain, Drained, Entry, EntryKind, Labels, Outcome, RequestLog};
use policy::{Currency, KeyId, Money, Name, RequestId, StoreUrl, Timestamp, Usage};
use runtime::Clock;
use store::Store;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let requests: usize = arguments.next().map_or(Ok(200_000), |text| text.parse())?;
    let batch: usize = arguments.next().map_or(Ok(500), |text| text.parse())?;
    let keys: usize = arguments.next().map_or(Ok(10), |text| text.parse())?;
    let url = arguments.next().map_or(StoreUrl::Sqlite, StoreUrl::Postgres);

    let folder = std::env::temp_dir().join(format!("tidegate-speed-{}", std::process::id()));
    let store = Store::open(&url, &folder, Clock::system()).await?;
    let labels: Vec<Arc<Labels>> = (0..keys).map(labels).collect();
    let start = Clock::system().now();

    let mut spent = 0;
    let mut made = 0;
    while made < requests {
        let records: Vec<Drained> = (made..requests.min(made + batch))
            .flat_map(|n| records(n, &labels[n.wrapping_mul(7919) % keys], start))
            .collect();
        made += records.len() / 2;
        let before = cpu_micros()?;
        store.drain(&records).await?;
        spent += cpu_micros()? - before;
    }
    println!(
        "{made} requests, batches of {batch}, {keys} keys: {:.2} µs of CPU a request",
        spent as f64 / made as f64
    );
    store.close().await;
    // The entries are kept for good, the log until its day is dropped.
    let entries = folder.join("control.sqlite").metadata().map_or(0, |file| file.len());
    let mut log = 0;
    for file in std::fs::read_dir(folder.join("logs")).into_iter().flatten() {
        log += file?.metadata()?.len();
    }
    let each = |bytes: u64| bytes / made as u64;
    println!("{} bytes of entries and {} of log on disk a request", each(entries), each(log));
    std::fs::remove_dir_all(&folder).ok();
    Ok(())
}

/// User and system time of this process from the scheduler's own count, in microseconds.
fn cpu_micros() -> Result<u64, Box<dyn std::error::Error>> {
    let mut nanos = 0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let text = std::fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        nanos += text.split(' ').next().unwrap_or("0").parse::<u64>().unwrap_or(0);
    }
    Ok(nanos / 1000)
}

fn labels(n: usize) -> Arc<Labels> {
    Arc::new(Labels {
        organization: "local".into(),
        workspace: "default".into(),
        environment: "dev".into(),
        layer: "development".into(),
        region: "local".into(),
        release: 3,
        variant: None,
        prompt_version: None,
        key_id: KeyId(format!("key_{n:020}").into()),
        key_name: format!("app-{n}").into(),
    })
}

fn records(n: usize, labels: &Arc<Labels>, start: Timestamp) -> [Drained; 2] {
    let at = Timestamp::from_micros(start.as_micros() + n as i64 * 100);
    let mut random = [0; 10];
    random[2..].copy_from_slice(&(n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    let request_id = RequestId::v7(at, random);
    let usage = Usage { input: Some(180), cached_input: Some(0), output: Some(260), ..Usage::default() };
    let cost = Some(Money { currency: Currency::USD, nano: 565_000 });
    let (provider, model): (Name, Name) = ("openai".into(), "openai/gpt-5-mini".into());
    let entry = Entry {
        request_id,
        attempt_no: 1,
        kind: EntryKind::Settle,
        seq: 0,
        at,
        settled_at: at,
        labels: labels.clone(),
        provider: provider.clone(),
        model: model.clone(),
        endpoint: "chat".into(),
        end_user: None,
        session: None,
        tags: Vec::new(),
        outcome: Outcome::Completed,
        usage,
        basis: Basis::Reported,
        estimated: false,
        cost,
        charge: cost,
        price_version: Some("2026-11-22".into()),
        budgets: vec![(
            format!("{}/monthly", labels.key_id).into(),
            Timestamp::from_micros(1_761_955_200_000_000),
        )],
        overrun: false,
    };
    let log = RequestLog {
        request_id,
        at,
        labels: labels.clone(),
        endpoint: "chat".into(),
        model_asked: "chat".into(),
        model_answered: Some(model),
        provider,
        status: 200,
        error_code: None,
        attempts: 1,
        stream: false,
        usage,
        cost,
        estimated: false,
        first_byte_us: Some(412),
        duration_us: 1200,
        gateway_us: 88,
        end_user: None,
        session: None,
        tags: Vec::new(),
        upstream_request_id: Some("req_0123456789abcdef0123456789abcdef".into()),
        finish_reason: Some("stop".into()),
        bodies: None,
    };
    [Drained::Entry(entry), Drained::Request(log)]
}
