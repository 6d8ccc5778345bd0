//! What translating a request weighs: bytes allocated in all, and at once. A clock would say the same less exactly.
//!
//! A test program of its own, because it counts with an allocator of its own.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use providers::blocks::Issuer;
use providers::dialects::{Dialect, Target, read_request, write_request};

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static TOTAL: AtomicUsize = AtomicUsize::new(0);
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

#[expect(
    unsafe_code,
    reason = "an allocator is that by definition; each call goes on to the system's as it came"
)]
// SAFETY: every method hands its arguments to `System` unchanged and returns what that returns.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LIVE.fetch_sub(layout.size(), Relaxed);
        took(size);
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, size) }
    }
}

fn took(size: usize) {
    TOTAL.fetch_add(size, Relaxed);
    PEAK.fetch_max(LIVE.fetch_add(size, Relaxed) + size, Relaxed);
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes allocated in all, and the most that were there at once beside what was there before.
fn weighed(work: impl FnOnce()) -> (usize, usize) {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    let total = TOTAL.load(Relaxed);
    work();
    (TOTAL.load(Relaxed) - total, PEAK.load(Relaxed) - before)
}

fn target(dialect: Dialect) -> Target<'static> {
    let model = match dialect {
        Dialect::Chat | Dialect::Responses => "gpt-5.1",
        Dialect::Messages => "claude-opus-4-6",
        Dialect::Gemini => "gemini-3-pro",
    };
    let issuer = Issuer { dialect, provider: "p".to_owned() };
    Target { model, issuer, max_output: Some(32_000), stream_usage: true }
}

/// A conversation of about so many bytes, in Chat's words.
fn conversation(bytes: usize) -> Vec<u8> {
    let turn = r#"{"role":"user","content":"how high is the tide \u00e9 at noon?"},{"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"tide","arguments":"{\"city\":\"K\u00f6ln\"}"}}]},{"role":"tool","tool_call_id":"call_1","content":"four metres"},"#;
    let turns = turn.repeat(bytes / turn.len());
    format!(r#"{{"model":"m","messages":[{turns}{{"role":"user","content":"and?"}}]}}"#).into_bytes()
}

/// A request with pictures of about so many bytes.
fn pictures(bytes: usize) -> Vec<u8> {
    let part = format!(
        r#",{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{}"}}}}"#,
        "iVBORw0KGgoAAAANSUhEUgAA".repeat(bytes / 4 / 24)
    );
    let parts = part.repeat(4);
    format!(r#"{{"model":"m","messages":[{{"role":"user","content":[{{"type":"text","text":"what?"}}{parts}]}}]}}"#)
        .into_bytes()
}

fn translate(client: Dialect, provider: Dialect, body: &[u8]) -> usize {
    let request = read_request(client, body).unwrap_or_else(|error| panic!("{client:?}: {error:?}"));
    write_request(provider, &request, &target(provider)).unwrap().body.len()
}

/// The body in every dialect, since a client may speak any.
fn in_each(body: &[u8]) -> Vec<(Dialect, Vec<u8>)> {
    let request = read_request(Dialect::Chat, body).unwrap();
    let written = |dialect| (dialect, write_request(dialect, &request, &target(dialect)).unwrap().body);
    Dialect::ALL.into_iter().map(written).collect()
}

/// What another test allocates would be counted too.
fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Translates the small body and the one of ten times its size in every pair, and gives what the large one weighs as
/// multiples of its length: in all, and at once.
fn grows_tenfold(small: &[u8], large: &[u8]) -> (f64, f64) {
    let (mut all, mut at_once) = (0.0_f64, 0.0_f64);
    for ((client, small), (_, large)) in in_each(small).into_iter().zip(in_each(large)) {
        for provider in Dialect::ALL.into_iter().filter(|provider| *provider != client) {
            let few = weighed(|| assert!(translate(client, provider, &small) > 0));
            let many = weighed(|| assert!(translate(client, provider, &large) > 0));
            let scale = large.len() as f64 / small.len() as f64;
            let (total, peak) = (many.0 as f64 / few.0 as f64, many.1 as f64 / few.1 as f64);
            assert!(
                total < scale * 2.5 && peak < scale * 2.5,
                "{client:?} to {provider:?}: {total} and {peak} times for {scale}"
            );
            all = all.max(many.0 as f64 / large.len() as f64);
            at_once = at_once.max(many.1 as f64 / large.len() as f64);
        }
    }
    (all, at_once)
}

#[test]
fn a_long_conversation_weighs_in_proportion() {
    let _alone = alone();
    let (all, at_once) = grows_tenfold(&conversation(10_000), &conversation(100_000));
    assert!(all < 32.0 && at_once < 16.0, "{all} times its length allocated, {at_once} times at once");
}

#[test]
fn twenty_megabytes_of_pictures_are_copied_as_often_as_must_be() {
    let _alone = alone();
    let (all, at_once) = grows_tenfold(&pictures(2 << 20), &pictures(20 << 20));
    assert!(all < 5.5 && at_once < 3.3, "{all} times their length allocated, {at_once} times at once");
}
