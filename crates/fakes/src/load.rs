//! The load generator: a seeded mix of requests at a fixed rate, or as fast as some workers go.
//!
//! At a fixed rate it does not wait for answers (open loop), and latency counts from when a request was due, so a
//! server that stalls cannot hide it. What each client saw is kept, to be joined with the ledger: an answer that was
//! complete was acknowledged, and must have been recorded. Only loopback targets are accepted.

mod client;
mod stream;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::histogram::{Histogram, Summary};
use crate::journal::{Tokens, lock};
use crate::random::Random;
use client::Client;

/// What to send, how fast and for how long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Load {
    /// The gateway's base URL: `http://127.0.0.1:8080/v1`.
    pub url: String,
    /// The virtual key.
    #[serde(skip_serializing)]
    pub key: String,
    /// Arrivals a second; absent: `workers` send one after another.
    pub rate: Option<f64>,
    /// Requests at once without a rate.
    pub workers: usize,
    /// The most requests in flight with a rate; what is due beyond that is not sent and counted as `skipped`.
    pub in_flight: usize,
    /// For so long.
    pub seconds: f64,
    /// At most so many requests.
    pub count: Option<u64>,
    /// Behind every choice below.
    pub seed: u64,
    /// The share of requests that are streams.
    pub streams: f64,
    /// The share that are embeddings.
    pub embeddings: f64,
    /// The share that are given up on the way: streams at a random event, others after a few milliseconds.
    pub aborts: f64,
    /// The last event at which a stream is given up.
    pub abort_within: u64,
    /// The share of streams that ask for usage.
    pub include_usage: f64,
    /// Names to take in turn by chance; embeddings go to `embedding_models`, if any.
    pub models: Vec<String>,
    /// See `models`.
    pub embedding_models: Vec<String>,
    /// `max_tokens` of every request.
    pub max_tokens: Option<u64>,
    /// The length of the message.
    pub prompt_bytes: usize,
    /// The model is an echo: an answer that does not repeat its own question counts as `crossed`.
    pub expect_echo: bool,
    /// The share of requests that open a connection of their own.
    pub new_connections: f64,
    /// Seconds that one request may take.
    pub timeout: f64,
    /// What each request saw goes into the report.
    pub keep: bool,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            url: String::new(),
            key: String::new(),
            rate: None,
            workers: 8,
            in_flight: 4_096,
            seconds: 10.0,
            count: None,
            seed: 1,
            streams: 0.0,
            embeddings: 0.0,
            aborts: 0.0,
            abort_within: 12,
            include_usage: 0.5,
            models: vec!["ok".to_owned()],
            embedding_models: Vec::new(),
            max_tokens: None,
            prompt_bytes: 64,
            expect_echo: false,
            new_connections: 0.0,
            timeout: 60.0,
            keep: true,
        }
    }
}

/// What one request saw.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Which request of the run.
    pub index: u64,
    /// `x-request-id` of the answer, if there was an answer.
    pub request_id: Option<String>,
    /// `chat`, `stream` or `embeddings`.
    pub kind: String,
    /// The model asked for.
    pub model: String,
    /// `ok`, `stream_ok`, `error_event`, `truncated`, `status_…`, `aborted`, `connect`, `broken`, `timeout`, `crossed`
    /// or `malformed`.
    pub class: String,
    /// The status, 0 if there was none.
    pub status: u16,
    /// The whole answer came, with its terminal: it was acknowledged.
    pub complete: bool,
    /// The error's `code`, or its message where it has none.
    pub error: Option<String>,
    /// `retry-after` of a refusal.
    pub retry_after: Option<String>,
    /// What the answer said about usage.
    pub usage: Option<Tokens>,
    /// Events with data, without `[DONE]`.
    pub events: u64,
    /// `x-tidegate-attempts`.
    pub attempts: Option<u16>,
    /// When it was due: microseconds since 1970.
    pub at: i64,
    /// When the client gave it up: microseconds since 1970.
    pub aborted_at: Option<i64>,
    /// Microseconds to the first byte of the body.
    pub first_byte: Option<u64>,
    /// Microseconds to the end.
    pub latency: u64,
}

/// What a run came to.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// To repeat it.
    pub seed: u64,
    /// Requests begun.
    pub sent: u64,
    /// Requests that were due while too many were in flight: the generator, not the server, was short.
    pub skipped: u64,
    /// Seconds from the first request to the last answer.
    pub seconds: f64,
    /// Requests by class (see [`Seen::class`]).
    pub classes: BTreeMap<String, u64>,
    /// Latency of the complete answers, in microseconds.
    pub latency: Summary,
    /// Time to the first byte of the answers that had one, in microseconds.
    pub first_byte: Summary,
    /// Events received.
    pub events: u64,
    /// Connections opened.
    pub connections: u64,
    /// What each request saw, by index.
    pub seen: Vec<Seen>,
}

impl Report {
    /// How many requests were of this class.
    #[must_use]
    pub fn class(&self, class: &str) -> u64 {
        self.classes.get(class).copied().unwrap_or(0)
    }

    /// Requests that failed: everything but complete answers and what the client gave up itself.
    #[must_use]
    pub fn failed(&self) -> u64 {
        let good = ["ok", "stream_ok", "aborted"].map(|class| self.class(class)).iter().sum::<u64>();
        self.classes.values().sum::<u64>() - good
    }
}

/// One request, chosen by its index and the seed alone.
#[derive(Debug, Clone)]
struct Shot {
    index: u64,
    kind: Kind,
    model: String,
    include_usage: bool,
    abort: Option<u64>,
    own_connection: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Chat,
    Stream,
    Embeddings,
}

#[derive(Default)]
struct Gathered {
    report: Report,
    latency: Histogram,
    first_byte: Histogram,
}

/// Runs a load to its end and reports.
///
/// # Errors
/// When the URL is not an `http` URL of a loopback address, or a share is not between 0 and 1.
pub async fn run(load: Load) -> anyhow::Result<Report> {
    let (addr, base) = target(&load.url)?;
    for share in [load.streams, load.embeddings, load.aborts, load.include_usage, load.new_connections] {
        anyhow::ensure!((0.0..=1.0).contains(&share), "a share must be between 0 and 1, not {share}");
    }
    anyhow::ensure!(!load.models.is_empty(), "there is no model to ask for");
    anyhow::ensure!((0.0..=86_400.0).contains(&load.seconds), "seconds must be at most a day");
    anyhow::ensure!(load.rate.is_none_or(|rate| (0.001..=1e6).contains(&rate)), "the rate is out of range");
    let client = Arc::new(Client::new(addr, base, load));
    let gathered = Arc::new(Mutex::new(Gathered::default()));
    let start = Instant::now();
    let skipped = match client.load.rate {
        Some(rate) => open_loop(&client, &gathered, start, rate).await,
        None => {
            closed_loop(&client, &gathered, start).await;
            0
        }
    };
    let mut gathered = std::mem::take(&mut *lock(&gathered));
    let report = &mut gathered.report;
    report.seed = client.load.seed;
    report.skipped = skipped;
    report.sent = report.classes.values().sum();
    report.seconds = start.elapsed().as_secs_f64();
    report.connections = client.opened();
    report.latency = gathered.latency.summary();
    report.first_byte = gathered.first_byte.summary();
    report.seen.sort_by_key(|seen| seen.index);
    Ok(gathered.report)
}

async fn open_loop(client: &Arc<Client>, gathered: &Arc<Mutex<Gathered>>, start: Instant, rate: f64) -> u64 {
    let mut flying = JoinSet::new();
    let (mut index, mut skipped) = (0_u64, 0);
    let most = client.load.count.unwrap_or(u64::MAX);
    while index < most {
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let offset = index as f64 / rate;
        if offset > client.load.seconds {
            break;
        }
        let due = start + Duration::from_secs_f64(offset);
        tokio::time::sleep_until(due).await;
        while flying.try_join_next().is_some() {}
        if flying.len() >= client.load.in_flight {
            skipped += 1;
        } else {
            let (client, gathered) = (Arc::clone(client), Arc::clone(gathered));
            flying.spawn(async move {
                let seen = client.shoot(&client.load.shot(index), due).await;
                gather(&gathered, client.load.keep, seen);
            });
        }
        index += 1;
    }
    while flying.join_next().await.is_some() {}
    skipped
}

async fn closed_loop(client: &Arc<Client>, gathered: &Arc<Mutex<Gathered>>, start: Instant) {
    let next = Arc::new(AtomicU64::new(0));
    let until = start + Duration::from_secs_f64(client.load.seconds);
    let most = client.load.count.unwrap_or(u64::MAX);
    let mut workers = JoinSet::new();
    for _ in 0..client.load.workers.max(1) {
        let (client, gathered, next) = (Arc::clone(client), Arc::clone(gathered), Arc::clone(&next));
        workers.spawn(async move {
            while Instant::now() < until {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= most {
                    break;
                }
                let seen = client.shoot(&client.load.shot(index), Instant::now()).await;
                gather(&gathered, client.load.keep, seen);
            }
        });
    }
    while workers.join_next().await.is_some() {}
}

fn gather(gathered: &Mutex<Gathered>, keep: bool, seen: Seen) {
    let mut gathered = lock(gathered);
    *gathered.report.classes.entry(seen.class.clone()).or_default() += 1;
    gathered.report.events += seen.events;
    if seen.complete {
        gathered.latency.record(seen.latency);
    }
    if let Some(first) = seen.first_byte {
        gathered.first_byte.record(first);
    }
    if keep {
        gathered.report.seen.push(seen);
    }
}

impl Load {
    fn shot(&self, index: u64) -> Shot {
        let mut random = Random::seeded(self.seed.wrapping_mul(0x9e37_79b9).wrapping_add(index));
        random.next();
        let draw = random.unit();
        let kind = if draw < self.streams {
            Kind::Stream
        } else if draw < self.streams + self.embeddings {
            Kind::Embeddings
        } else {
            Kind::Chat
        };
        let models = match kind {
            Kind::Embeddings if !self.embedding_models.is_empty() => &self.embedding_models,
            _ => &self.models,
        };
        let chosen = usize::try_from(random.below(models.len() as u64)).unwrap_or(0);
        let abort = (random.unit() < self.aborts).then(|| 1 + random.below(self.abort_within.max(1)));
        let include_usage = random.unit() < self.include_usage;
        let own_connection = random.unit() < self.new_connections;
        Shot { index, kind, model: models[chosen].clone(), include_usage, abort, own_connection }
    }
}

/// The address and the path before the endpoints; refuses whatever is not loopback.
fn target(url: &str) -> anyhow::Result<(SocketAddr, String)> {
    let rest =
        url.strip_prefix("http://").ok_or_else(|| anyhow::anyhow!("`{url}` does not begin with http://"))?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let authority = authority.replace("localhost", "127.0.0.1");
    let addr: SocketAddr =
        authority.parse().map_err(|_| anyhow::anyhow!("`{authority}` is not ADDRESS:PORT"))?;
    let loopback = match addr.ip() {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_loopback(),
    };
    anyhow::ensure!(loopback, "`{addr}` is not a loopback address; load goes nowhere else");
    let path = path.trim_end_matches('/');
    Ok((addr, if path.is_empty() { String::new() } else { format!("/{path}") }))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn only_loopback() {
        assert_eq!(target("http://127.0.0.1:80/v1/").unwrap().1, "/v1");
        assert_eq!(target("http://localhost:80").unwrap().1, "");
        for other in
            ["http://10.0.0.1:80", "https://127.0.0.1:80", "http://example.org:80/v1", "http://127.0.0.1"]
        {
            assert!(target(other).is_err(), "{other}");
        }
    }

    #[test]
    fn the_mix_is_that_of_the_seed() {
        let load = Load { streams: 0.6, aborts: 0.1, embeddings: 0.2, ..Load::default() };
        let shots: Vec<Shot> = (0..10_000).map(|index| load.shot(index)).collect();
        let count = |kind| shots.iter().filter(|shot| shot.kind == kind).count();
        assert!((5_800..6_200).contains(&count(Kind::Stream)), "{}", count(Kind::Stream));
        assert!((1_850..2_150).contains(&count(Kind::Embeddings)));
        let aborts = shots.iter().filter(|shot| shot.abort.is_some()).count();
        assert!((900..1_100).contains(&aborts), "{aborts}");
        assert!(shots.iter().all(|shot| shot.abort == load.shot(shot.index).abort));
    }
}
