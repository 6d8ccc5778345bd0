//! What several nodes share in Redis: limits that are counted for all of them together, and answers that one has and another may
//! give again.
//!
//! What it is not: money. Budgets hold although Redis is lost, so they are not here. And it is nothing that a request could fail
//! by: where Redis is away, hangs or is slow, limits are each node's share and kept answers are none.
//!
//! Reading order: `count.lua` (what Redis does, in one call), `script` (how it is asked), `counters` (what this node owes and
//! has taken in advance), `link` (who speaks with Redis, and whether it is well), `larder` (kept answers).

mod counters;
mod larder;
mod link;
mod script;

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use policy::{Elsewhere, Granted, Verdict, Wanted};
use redis::Client;
use runtime::{Clock, Tasks};
use tokio::sync::{mpsc, oneshot};

use counters::{Place, Table};
use link::{Job, Link, State};
use script::{Asked, Door};

pub use larder::Larder;

/// Requests that wait for Redis at once, at most; one more is admitted by its node's share.
const MOST_WAITING: usize = 8 * 1024;

/// Why Redis cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The URL is none of Redis.
    #[error("not the URL of a Redis: {0}")]
    Url(String),
    /// It is away, or was too slow.
    #[error("Redis cannot be reached: {0}")]
    Away(String),
    /// It is more than is kept.
    #[error("{0} bytes are more than is kept")]
    Large(usize),
}

/// How limits are counted.
#[derive(Clone, Debug)]
pub struct Options {
    /// `redis://…` or `rediss://…`
    pub url: String,
    /// Each node takes batches in advance, instead of asking for each request.
    pub leased: bool,
    /// A request waits for Redis at most this long.
    pub deadline: Duration,
    /// How many nodes there are, where that is said.
    pub nodes: Option<u32>,
}

/// How it goes, for metrics.
#[derive(Copy, Clone, Debug)]
pub struct Figures {
    /// Redis answers in time.
    pub well: bool,
    /// How many nodes share a limit.
    pub nodes: u32,
    /// How often Redis was asked for a request.
    pub asked: u64,
    /// How often a request was decided by what was taken in advance.
    pub drawn: u64,
    /// How often a node admitted or refused by its share.
    pub alone: u64,
    /// How often Redis was lost and found.
    pub changes: u64,
}

/// The limits of several nodes.
#[derive(Debug)]
pub struct Cluster {
    deadline: Duration,
    leased: bool,
    clock: Clock,
    state: Arc<State>,
    table: Arc<Table>,
    jobs: mpsc::Sender<Job>,
    asked: AtomicU64,
    drawn: AtomicU64,
    alone: AtomicU64,
}

impl Cluster {
    /// Begins to connect, on a thread of its own, which ends with the stop.
    ///
    /// # Errors
    /// When the URL is none of Redis, or there can be no thread.
    pub fn open(options: &Options, clock: &Clock, tasks: &Tasks) -> Result<Arc<Self>, ClusterError> {
        let client = client(&options.url)?;
        let state = Arc::new(State::new(clock.clone(), options.nodes));
        let table = Arc::new(Table::new(options.leased));
        let (jobs, waiting) = mpsc::channel(MOST_WAITING);
        let name = runtime::random_bytes::<8>().iter().map(|byte| format!("{byte:02x}")).collect();
        let link = Link {
            client,
            deadline: options.deadline,
            clock: clock.clone(),
            state: Arc::clone(&state),
            table: Arc::clone(&table),
            jobs: waiting,
            door: Door::new(),
            name,
            epoch: 0,
        };
        link::start(link, tasks).map_err(|error| ClusterError::Away(error.to_string()))?;
        Ok(Arc::new(Self {
            deadline: options.deadline,
            leased: options.leased,
            clock: clock.clone(),
            state,
            table,
            jobs,
            asked: AtomicU64::new(0),
            drawn: AtomicU64::new(0),
            alone: AtomicU64::new(0),
        }))
    }

    /// Waits until it is known whether Redis is there, at most so long.
    pub async fn begun(&self, patience: Duration) {
        let known = self.state.known.notified();
        if self.state.is_unknown() {
            let _ = tokio::time::timeout(patience, known).await;
        }
    }

    /// Takes all that is wanted for all nodes together, or nothing of it. The answer has a verdict for each, or ends with that of
    /// the first that refused and is no shadow. `None`: Redis does not say; this node's share is one in [`Cluster::nodes`].
    pub async fn take(&self, wanted: Vec<Wanted>) -> Option<Vec<Verdict>> {
        let told = self.ask(wanted).await;
        if told.is_none() {
            self.alone.fetch_add(1, Relaxed);
        }
        told
    }

    async fn ask(&self, wanted: Vec<Wanted>) -> Option<Vec<Verdict>> {
        if wanted.iter().all(|wanted| wanted.places().is_none() && wanted.debits().next().is_none()) {
            return Some(wanted.iter().map(|_| Ok(Granted::default())).collect());
        }
        if !self.state.is_well() {
            return None;
        }
        let asked = self.table.asked(wanted, self.nodes());
        if self.leased
            && let Some(told) = self.draw(&asked)
        {
            self.drawn.fetch_add(1, Relaxed);
            return Some(told);
        }
        self.asked.fetch_add(1, Relaxed);
        let (reply, told) = oneshot::channel();
        self.jobs.try_send(Job { asked, reply }).ok()?;
        tokio::time::timeout(self.deadline, told).await.ok()?.ok()
    }

    /// Takes all of what was taken in advance; `None`: it is not enough, or there are places to be counted.
    fn draw(&self, asked: &[Asked]) -> Option<Vec<Verdict>> {
        let costs = |asked: &Asked| -> Vec<u64> {
            asked.wanted.debits().map(|(_, bucket, amount)| bucket.cost(amount)).collect()
        };
        let counted = |asked: &Asked| {
            asked.place.is_some() || asked.wanted.debits().any(|(_, bucket, _)| bucket.limit() == 0)
        };
        if asked.iter().any(counted) {
            return None;
        }
        let mut drawn = Vec::new();
        for (rate, cost) in asked.iter().flat_map(|asked| asked.rates.iter().zip(costs(asked))) {
            if !rate.draw(cost) {
                drawn
                    .into_iter()
                    .for_each(|(rate, cost): (&Arc<counters::RateCounter>, u64)| rate.put_back(cost));
                return None;
            }
            drawn.push((rate, cost));
        }
        let now = self.clock.moment();
        let told = asked.iter().map(|asked| {
            let standings = asked.wanted.debits().zip(&asked.rates);
            let standings = standings.map(|((_, bucket, _), rate)| bucket.standing_at(rate.ahead(now)));
            Ok(Granted {
                standing: standings.min_by_key(|standing| standing.remaining),
                debits: asked.rates.iter().map(|rate| Arc::clone(rate) as Arc<dyn Elsewhere>).collect(),
                place: None,
            })
        });
        Some(told.collect())
    }

    /// A place that this node has given by its share: Redis is told as soon as it can be. Dropped, it is given back.
    pub fn place(&self, id: &[u8; 16]) -> Box<dyn Any + Send + Sync> {
        Box::new(Place::come(&self.table.place(id)))
    }

    /// How many nodes share a limit.
    pub fn nodes(&self) -> u32 {
        self.state.nodes()
    }

    /// Whether Redis answers in time.
    pub fn is_well(&self) -> bool {
        self.state.is_well()
    }

    /// How it goes.
    pub fn figures(&self) -> Figures {
        Figures {
            well: self.is_well(),
            nodes: self.nodes(),
            asked: self.asked.load(Relaxed),
            drawn: self.drawn.load(Relaxed),
            alone: self.alone.load(Relaxed),
            changes: self.state.changes.load(Relaxed),
        }
    }
}

fn client(url: &str) -> Result<Client, ClusterError> {
    // What the crate says of a URL could repeat it, with its password.
    Client::open(url).map_err(|_| ClusterError::Url("it is to be redis://host:port, or rediss://".to_owned()))
}

/// Whether that is the URL of a Redis.
///
/// # Errors
/// When it is not.
pub fn check(url: &str) -> Result<(), ClusterError> {
    client(url).map(drop)
}

/// Whether a Redis answers there, and its version.
///
/// # Errors
/// When it does not, and why.
pub async fn probe(url: &str, patience: Duration) -> Result<String, ClusterError> {
    let client = client(url)?;
    let asking = async {
        let mut connection = client.get_multiplexed_async_connection().await?;
        redis::cmd("INFO").arg("server").query_async::<String>(&mut connection).await
    };
    let answer = tokio::time::timeout(patience, asking).await;
    let info = answer
        .map_err(|_| ClusterError::Away(format!("no answer within {patience:?}")))?
        .map_err(|error| ClusterError::Away(error.to_string()))?;
    let version = info.lines().find_map(|line| line.strip_prefix("redis_version:"));
    Ok(version.unwrap_or("?").trim().to_owned())
}

#[cfg(test)]
mod tests;
