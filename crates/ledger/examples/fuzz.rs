//! Runs the properties of the settings parser, the key parser and the spool reader on damaged inputs, for the given
//! number of seconds each (default 10): `ledger-fuzz [SECONDS [SEED [ENTRY]]]`, from a seed that it prints.
//!
//! Here, because this is the lowest room that sees all three. Every input is made of a good one and the seed alone, so
//! a violation is repeated by its seed on any machine.

#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a program for people, with a clock")]
#![expect(clippy::unwrap_used, reason = "it ends at the first surprise")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ledger::{Basis, Intent, Labels, Ledger, Options, Outcome, Settlement};
use policy::settings::Severity;
use policy::{Currency, KeyId, Money, Price, Rate, RequestId, Timestamp, Usage};
use runtime::{Clock, Tasks};

const EXAMPLE: &str = include_str!("../../../tidegate.example.toml");
const NOW: Timestamp = Timestamp::from_micros(1_795_375_800_000_000);
const ROUNDS: u64 = 200;

/// SplitMix64.
struct Generator(u64);

impl Generator {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap_or(0)
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}

/// Takes a piece out, puts one in twice, zeroes one, cuts the end off, flips bits, or writes `words` over something.
fn damage(input: &mut Vec<u8>, words: &[&[u8]], generator: &mut Generator) {
    let at = generator.below(input.len() + 1);
    let end = at + generator.below(64).min(input.len() - at);
    match generator.below(8) {
        0 => drop(input.drain(at..end)),
        1 => {
            let piece = input[at..end].to_vec();
            let to = generator.below(input.len() + 1);
            input.splice(to..to, piece);
        }
        2 => input[at..end].fill(0),
        3 if generator.below(4) == 0 => input.truncate(at),
        4 => {
            let torn: Vec<u8> = (0..generator.below(48)).map(|_| generator.byte()).collect();
            input.splice(at..end, torn);
        }
        5 | 6 if !words.is_empty() => {
            let word = words[generator.below(words.len())];
            let until = if generator.below(2) == 0 { at } else { end };
            input.splice(at..until, word.iter().copied());
        }
        _ => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << generator.below(8);
            }
        }
    }
}

/// Read or refused; what is found has its place and says something.
fn settings(generator: &mut Generator) {
    const WORDS: [&[u8]; 24] = [
        b"\n",
        b"[",
        b"]",
        b"{",
        b"}",
        b"=",
        b"\"",
        b"'''",
        b"#",
        b".",
        b",",
        b"1e400",
        b"-inf",
        b"true",
        b"[[a]]\n",
        b"\"env:X\"",
        b"\"5s\"",
        b"99999999999999999999",
        b"2026-11-22T00:00:00Z",
        b"\\u0000",
        b"\xc3\xa9",
        b"[providers.p]\n",
        b"[environments.e.keys.k]\n",
        b"targets = [{ model = \"p/m\", weight = 1e308 }]\n",
    ];
    let mut text = EXAMPLE.as_bytes().to_vec();
    if generator.below(2) == 0 {
        // What it shows commented out, too.
        text = EXAMPLE.replace("\n# ", "\n").into_bytes();
    }
    for _ in 0..=generator.below(8) {
        damage(&mut text, &WORDS, generator);
    }
    let text = String::from_utf8_lossy(&text);
    let lines = text.split('\n').count();
    let findings = match policy::settings::parse(&text, "t.toml") {
        Ok((_, warnings)) => {
            assert!(warnings.iter().all(|finding| finding.severity == Severity::Warning));
            warnings
        }
        Err(findings) => {
            assert!(findings.iter().any(|finding| finding.severity == Severity::Error));
            findings
        }
    };
    for finding in findings.iter().take(50) {
        assert!((1..=lines).contains(&finding.line) && finding.column >= 1, "{finding}");
        assert!(!finding.message.is_empty() && !finding.message.contains('\n'), "{finding}");
    }
}

/// A key is read; damaged in one place it never is, in several nothing panics.
fn keys(generator: &mut Generator) {
    let random: Vec<u8> = (0..24).map(|_| generator.byte()).collect();
    let key = policy::key::mint(random.try_into().unwrap());
    let good = key.expose().as_bytes();
    assert!(policy::key::parse(good).is_ok());
    let mut one = good.to_vec();
    let at = generator.below(one.len());
    one[at] ^= 1 + generator.byte() % 255;
    assert!(policy::key::parse(&one).is_err(), "one byte was changed");
    let mut many = good.to_vec();
    for _ in 0..=generator.below(6) {
        damage(&mut many, &[b"tg-", b"sk-", b" ", b"-", b"\0", b"\xff", b"tg-0000000000"], generator);
    }
    // A checksum of 32 bits may agree by chance once in four thousand million times; the shape may not.
    if let Ok(presented) = policy::key::parse(&many) {
        assert_eq!(many.len(), good.len(), "{presented:?}");
    }
    let noise: Vec<u8> = (0..generator.below(200)).map(|_| generator.byte()).collect();
    let _ = policy::key::parse(&noise);
}

/// A folder that goes with its owner.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A good segment, its frames' ends, and where damaged copies are read.
struct Spool {
    folder: Folder,
    segment: Vec<u8>,
    ends: Vec<usize>,
    runtime: tokio::runtime::Runtime,
}

impl Spool {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let folder = Folder(std::env::temp_dir().join(format!("tidegate-fuzz-{}", std::process::id())));
        let segment = runtime.block_on(async { written(&folder.0) });
        let mut ends = Vec::new();
        let mut at = 0;
        // magic 2, kind 1, version 1, length 4, checksum 4: as the page of the format has it.
        while let Some(length) = segment.get(at + 4..at + 8) {
            at += 12 + u32::from_le_bytes(length.try_into().unwrap()) as usize;
            ends.push(at);
        }
        assert_eq!(ends.last(), Some(&segment.len()), "the format is not as this reads it");
        Self { folder, segment, ends, runtime }
    }

    fn put(&self, bytes: &[u8]) {
        let _ = std::fs::remove_dir_all(&self.folder.0);
        std::fs::create_dir_all(&self.folder.0).unwrap();
        std::fs::write(self.folder.0.join("00000001.seg"), bytes).unwrap();
    }

    /// Every record before the damage is found; a start after it settles what was open, once.
    fn damaged(&self, generator: &mut Generator) {
        let mut bytes = self.segment.clone();
        for _ in 0..=generator.below(6) {
            damage(
                &mut bytes,
                &[b"\xf7\xfb", b"\xf7\xfb\x03\x01\xff\xff\xff\x03", b"\xff\xff\xff\xff"],
                generator,
            );
        }
        let same = bytes.iter().zip(&self.segment).take_while(|(now, was)| now == was).count();
        let before = self.ends.iter().filter(|end| **end <= same).count();
        self.put(&bytes);
        let found = ledger::read::folder(&self.folder.0).unwrap().filter(Result::is_ok).count();
        assert!(found >= before, "{found} of {before} records before the damage at {same}");
        if generator.below(20) == 0 {
            self.runtime.block_on(async {
                start(&self.folder.0).await;
                assert_eq!(start(&self.folder.0).await.open_intents_settled, 0, "settled a second time");
            });
        }
    }
}

fn opened(dir: &Path, tasks: &Tasks) -> (Ledger, ledger::Recovery) {
    let (clock, _) = Clock::manual(NOW);
    Ledger::open(Options::new(dir.to_owned()), clock, tasks).unwrap()
}

/// A start and an orderly stop, which gives the folder's lock back.
async fn start(dir: &Path) -> ledger::Recovery {
    let tasks = Tasks::new();
    let (ledger, recovery) = opened(dir, &tasks);
    drop(ledger);
    tasks.stop();
    assert!(tasks.drained(Duration::from_secs(30)).await.is_empty());
    recovery
}

/// A segment with finished and open attempts.
fn written(dir: &Path) -> Vec<u8> {
    let _ = std::fs::remove_dir_all(dir);
    {
        let (ledger, _) = opened(dir, &Tasks::new());
        for number in 0..24 {
            let held = ledger.reserve(&[], Money { currency: Currency::USD, nano: 0 }, NOW).unwrap();
            let attempt = ledger.begin(intent(number), held, false).unwrap();
            if number % 4 == 3 {
                // Left open, as a crash leaves it.
                std::mem::forget(attempt);
            } else {
                attempt.settle(settlement()).unwrap();
            }
        }
    }
    std::fs::read(dir.join("00000001.seg")).unwrap()
}

fn intent(number: u8) -> Intent {
    let mut price = Price::unknown("today".into(), Currency::USD);
    price.input = Some(Rate(1_000_000));
    let labels = Labels {
        organization: "local".into(),
        workspace: "default".into(),
        environment: "dev".into(),
        layer: "development".into(),
        region: "local".into(),
        release: 1,
        variant: None,
        prompt_version: None,
        key_id: KeyId("key_a".into()),
        key_name: "ci".into(),
    };
    Intent {
        request_id: RequestId::from_bytes([number; 16]),
        attempt_no: 1,
        at: NOW,
        labels: Arc::new(labels),
        provider: "demo".into(),
        model: "demo/fast".into(),
        price: Some(Arc::new(price)),
        input_bound: 20,
        input_estimate: 10,
        output_cap: None,
        endpoint: "chat".into(),
        model_asked: "fast".into(),
        stream: false,
        end_user: None,
        session: None,
        tags: Vec::new(),
    }
}

fn settlement() -> Settlement {
    Settlement {
        at: NOW,
        outcome: Outcome::Completed,
        usage: Usage::default(),
        basis: Basis::Reported,
        cost: None,
        charge: None,
        request: None,
    }
}

/// Runs one entry, from seed to seed, until its time is up.
fn run(name: &str, seconds: u64, first: u64, mut entry: impl FnMut(&mut Generator)) {
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut seed = first;
    while Instant::now() < end {
        let mut generator = Generator(seed);
        let round = std::panic::AssertUnwindSafe(|| (0..ROUNDS).for_each(|_| entry(&mut generator)));
        if let Err(panic) = std::panic::catch_unwind(round) {
            println!("{name}: seed {seed} violates the property");
            std::panic::resume_unwind(panic);
        }
        seed += 1;
    }
    println!("{name}: seeds {first}..{seed}, {ROUNDS} inputs each, no violation");
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse().ok());
    let (seconds, first) = (number(0).unwrap_or(10), number(1).unwrap_or(1));
    let wanted = |name: &str| arguments.get(2).is_none_or(|entry| entry == name);
    if wanted("settings") {
        run("settings", seconds, first, settings);
    }
    if wanted("key") {
        run("key", seconds, first, keys);
    }
    if wanted("spool") {
        let spool = Spool::new();
        run("spool", seconds, first, |generator| spool.damaged(generator));
    }
}
