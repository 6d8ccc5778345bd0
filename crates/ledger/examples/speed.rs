//! What a record costs: nanoseconds for `begin` and `settle` (two records, two system calls at one thread), with a
//! budget, a price and a log line, as a real request has them. `speed [folder]`, a folder in memory by default.

#![expect(clippy::print_stdout, reason = "it prints figures")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use ledger::{Basis, Intent, Labels, Ledger, Options, Outcome, RequestLog, Settlement};
use policy::{BudgetRule, Currency, KeyId, Money, Name, Price, Rate, Usage, Window};
use runtime::{Clock, Dice, Tasks};

const REQUESTS: u64 = 100_000;

fn usd(nano: i64) -> Money {
    Money { currency: Currency::USD, nano }
}

struct Shared {
    labels: Arc<Labels>,
    names: [Name; 4],
    price: Arc<Price>,
    budgets: Vec<(Name, BudgetRule)>,
}

fn shared(key: &str) -> Shared {
    let labels = Labels {
        organization: "local".into(),
        workspace: "default".into(),
        environment: "dev".into(),
        layer: "development".into(),
        region: "local".into(),
        release: 12,
        variant: None,
        prompt_version: None,
        key_id: KeyId(key.into()),
        key_name: "ci".into(),
    };
    let mut price = Price::unknown("2026-11-22".into(), Currency::USD);
    price.input = Some(Rate(250_000_000));
    price.output = Some(Rate(2_000_000_000));
    let rule = BudgetRule::new("month".into(), usd(i64::MAX / 2), Window::Month);
    Shared {
        labels: Arc::new(labels),
        names: ["openai".into(), "openai/gpt-5-mini".into(), "chat".into(), "stop".into()],
        price: Arc::new(price),
        budgets: vec![(format!("{key}/month").into(), rule)],
    }
}

fn request(ledger: &Ledger, shared: &Shared, clock: &Clock) {
    let now = clock.now();
    let id = Dice::request_id(clock);
    let [provider, model, endpoint, stop] = shared.names.clone();
    let usage = Usage { input: Some(812), output: Some(164), cached_input: Some(0), ..Usage::default() };
    let cost = shared.price.cost(&usage);
    let intent = Intent {
        request_id: id,
        attempt_no: 1,
        at: now,
        labels: shared.labels.clone(),
        provider: provider.clone(),
        model: model.clone(),
        price: Some(shared.price.clone()),
        input_bound: 900,
        input_estimate: 800,
        output_cap: Some(1_024),
        endpoint: endpoint.clone(),
        model_asked: model.clone(),
        stream: true,
        end_user: None,
        session: None,
        tags: Vec::new(),
    };
    let Ok(held) = ledger.reserve(&shared.budgets, usd(3_000), now) else { return };
    let Ok(attempt) = ledger.begin(intent, held, false) else { return };
    let log = RequestLog {
        request_id: id,
        at: now,
        labels: shared.labels.clone(),
        endpoint,
        model_asked: model.clone(),
        model_answered: Some(model),
        provider,
        status: 200,
        error_code: None,
        attempts: 1,
        stream: true,
        usage,
        cost,
        estimated: false,
        first_byte_us: Some(350_000),
        duration_us: 1_800_000,
        gateway_us: 60,
        end_user: None,
        session: None,
        tags: Vec::new(),
        upstream_request_id: Some("req_0123456789abcdef".into()),
        finish_reason: Some(stop),
        bodies: None,
    };
    let _ = attempt.settle(Settlement {
        at: now,
        outcome: Outcome::Completed,
        usage,
        basis: Basis::Reported,
        cost,
        charge: cost,
        request: Some(Box::new(log)),
    });
}

fn run(dir: &std::path::Path, threads: u64) {
    let _ = std::fs::remove_dir_all(dir);
    let clock = Clock::system();
    let Ok((ledger, _)) = Ledger::open(Options::new(dir.to_owned()), clock.clone(), &Tasks::new()) else {
        println!("cannot open a spool in {}", dir.display());
        return;
    };
    let start = Instant::now();
    let processor = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (ledger, clock, processor) = (&ledger, &clock, &processor);
            scope.spawn(move || {
                let shared = shared(&format!("key_{thread}"));
                let before = processor_time();
                for _ in 0..REQUESTS {
                    request(ledger, &shared, clock);
                }
                processor.fetch_add(processor_time() - before, Ordering::Relaxed);
            });
        }
    });
    let wall = start.elapsed().as_nanos() as u64 / (REQUESTS * threads);
    let depth = ledger.depth();
    let bytes = depth.bytes / (REQUESTS * threads);
    let processor = processor.into_inner() / (REQUESTS * threads);
    println!(
        "{threads} thread(s): {processor} ns of processor and {wall} ns of wall time per request, {bytes} bytes"
    );
    drop(ledger);
    let start = Instant::now();
    if let Ok((_, recovery)) = Ledger::open(Options::new(dir.to_owned()), clock, &Tasks::new()) {
        let each = start.elapsed().as_nanos() as u64 / recovery.records.max(1);
        println!("             {each} ns per record at the next start, {} records", recovery.records);
    }
    let _ = std::fs::remove_dir_all(dir);
}

/// What this thread has had of a processor, nanoseconds: hardly depends on who else runs.
fn processor_time() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace().next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0)
}

/// The least of what any append costs here: one `pwrite` of 300 bytes.
fn bare_write(dir: &std::path::Path) {
    use std::os::unix::fs::FileExt;
    let _ = std::fs::create_dir_all(dir);
    let Ok(file) = std::fs::File::create(dir.join("bare")) else { return };
    let before = processor_time();
    for turn in 0..REQUESTS {
        let _ = file.write_at(&[7; 300], turn * 300);
    }
    println!("a bare pwrite of 300 bytes: {} ns of processor", (processor_time() - before) / REQUESTS);
    let _ = std::fs::remove_dir_all(dir);
}

fn main() {
    let folder = std::env::args().nth(1).map_or_else(|| PathBuf::from("/dev/shm"), PathBuf::from);
    let dir = folder.join(format!("tidegate-speed-{}", std::process::id()));
    println!("in {}", folder.display());
    let Ok(runtime) = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()
    else {
        return;
    };
    let _context = runtime.enter();
    bare_write(&dir);
    // Warm, then measured.
    run(&dir, 1);
    run(&dir, 1);
    run(&dir, 2);
}
