//! The one who speaks with Redis about limits: one task, one connection, one thing at a time.
//!
//! Whoever wants something puts it into a queue; all that waits goes to Redis in one pipeline, with what Redis is to be told
//! besides, and the next pipeline leaves when its answer is there. So what one node says is heard in the order in which it was
//! said, a busy node makes fewer round trips for each request than an idle one, and there is one opinion of whether Redis is well.
//!
//! Whoever asks waits for the deadline at most. What Redis grants to somebody who has given up is given back. A connection that
//! breaks leaves it open what was done: so after each the node has another name, tells its places anew, and the places of the old
//! name are nobody's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use policy::{Moment, Verdict};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, RedisResult, Value};
use runtime::{Clock, Tasks};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::counters::{RateCounter, Table, Touched};
use crate::script::{Asked, Door, integers, nanos, pipeline, verdicts};

/// Requests of one pipeline.
const AT_ONCE: usize = 256;
/// How often a node says that it is there, and asks whether Redis is.
const BEAT: Duration = Duration::from_secs(1);
/// A Redis that says nothing for so long is given up.
const HUNG: Duration = Duration::from_secs(1);
/// It is believed to be well again only so long after it was not.
const CALM: Duration = Duration::from_secs(1);
/// Between two tries to reach it.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
];
/// So many beats with fewer nodes are needed to believe that there are fewer.
const DOUBT: u32 = 10;

const UNKNOWN: u8 = 0;
const WELL: u8 = 1;
const LOST: u8 = 2;

/// A request that waits.
pub(crate) struct Job {
    pub(crate) asked: Vec<Asked>,
    pub(crate) reply: oneshot::Sender<Vec<Verdict>>,
}

/// What is known of Redis.
#[derive(Debug)]
pub(crate) struct State {
    clock: Clock,
    /// How many nodes the settings expect.
    expected: Option<u32>,
    now: AtomicU8,
    lost_at: Mutex<Moment>,
    seen: AtomicU32,
    fewer: AtomicU32,
    pub(crate) changes: AtomicU64,
    pub(crate) known: Notify,
}

impl State {
    pub(crate) fn new(clock: Clock, expected: Option<u32>) -> Self {
        let lost_at = Mutex::new(clock.moment());
        let (now, seen, fewer) = (AtomicU8::new(UNKNOWN), AtomicU32::new(1), AtomicU32::new(0));
        Self { clock, expected, now, lost_at, seen, fewer, changes: AtomicU64::new(0), known: Notify::new() }
    }

    pub(crate) fn is_well(&self) -> bool {
        self.now.load(Relaxed) == WELL
    }

    pub(crate) fn is_unknown(&self) -> bool {
        self.now.load(Relaxed) == UNKNOWN
    }

    /// How many nodes share a limit.
    pub(crate) fn nodes(&self) -> u32 {
        self.expected.unwrap_or_else(|| self.seen.load(Relaxed)).max(1)
    }

    fn count(&self, nodes: u32) {
        if nodes >= self.seen.load(Relaxed) || self.fewer.fetch_add(1, Relaxed) >= DOUBT {
            self.seen.store(nodes, Relaxed);
            self.fewer.store(0, Relaxed);
        }
    }

    fn lose(&self, why: &str) {
        *self.lost_at.lock() = self.clock.moment();
        if self.now.swap(LOST, Relaxed) != LOST {
            self.changes.fetch_add(1, Relaxed);
            let nodes = self.nodes();
            tracing::warn!(
                nodes,
                why,
                "Redis is lost ({why}): this node admits its share of each limit, one in {nodes}"
            );
        }
        self.known.notify_waiters();
    }

    fn find(&self) {
        let before = self.now.load(Relaxed);
        let calm = self.clock.moment().since(*self.lost_at.lock()) >= CALM;
        if before == WELL || (before == LOST && !calm) {
            return;
        }
        self.now.store(WELL, Relaxed);
        self.changes.fetch_add(1, Relaxed);
        let nodes = self.nodes();
        tracing::info!(nodes, "Redis answers: limits are counted for all nodes together");
        self.known.notify_waiters();
    }
}

/// What is to be said, and who waits for the answer.
enum Say {
    Beat,
    Correct(Arc<RateCounter>, i64),
    Places(Arc<crate::counters::PlaceCounter>, i64),
    Lease(Arc<RateCounter>, u64),
    Take(Job),
}

enum End {
    Stopping,
    /// Redis does not know this node any more.
    Forgotten,
    Lost(String),
}

pub(crate) struct Link {
    pub(crate) client: Client,
    pub(crate) deadline: Duration,
    pub(crate) clock: Clock,
    pub(crate) state: Arc<State>,
    pub(crate) table: Arc<Table>,
    pub(crate) jobs: mpsc::Receiver<Job>,
    pub(crate) door: Door,
    /// This process, and how often it has had another name.
    pub(crate) name: String,
    pub(crate) epoch: u64,
}

/// Runs the link on a thread of its own, so that no other work of the process is taken for a slow Redis.
pub(crate) fn start(link: Link, tasks: &Tasks) -> std::io::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build()?;
    let tasks = tasks.clone();
    std::thread::Builder::new().name("redis".to_owned()).spawn(move || {
        runtime.block_on(async {
            let (done, over) = oneshot::channel::<()>();
            let running = tasks.clone();
            tasks.spawn("redis", async move {
                link.run(running).await;
                drop(done);
            });
            let _ = over.await;
        });
    })?;
    Ok(())
}

impl Link {
    /// Keeps the connection until the stop.
    pub(crate) async fn run(mut self, tasks: Tasks) {
        let mut stopping = std::pin::pin!(tasks.stopping());
        let mut tries = 0;
        loop {
            let served = tokio::select! {
                () = &mut stopping => return,
                connection = self.connect() => connection,
            };
            let why = match served {
                Ok(mut connection) => match self.serve(&mut connection, &tasks).await {
                    End::Stopping => {
                        let leave = self.door.leave(&self.node());
                        let _ =
                            tokio::time::timeout(self.deadline, leave.query_async::<Value>(&mut connection))
                                .await;
                        return;
                    }
                    End::Forgotten => continue,
                    End::Lost(why) => {
                        tries = 0;
                        why
                    }
                },
                Err(why) => why,
            };
            self.state.lose(&why);
            // Whoever waits hears at once that nobody answers.
            while self.jobs.try_recv().is_ok() {}
            self.table.wait();
            tokio::select! {
                () = &mut stopping => return,
                () = tokio::time::sleep(PAUSES[tries]) => tries = (tries + 1).min(PAUSES.len() - 1),
            }
        }
    }

    fn node(&self) -> String {
        format!("{}.{}", self.name, self.epoch)
    }

    /// A connection whose server has the text, knows this node by a new name and has been told its places.
    async fn connect(&mut self) -> Result<MultiplexedConnection, String> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(HUNG))
            .set_response_timeout(Some(2 * HUNG));
        let connecting = self.client.get_multiplexed_async_connection_with_config(&config);
        let connected = tokio::time::timeout(2 * HUNG, connecting).await;
        let mut connection = connected.map_err(|_| silent())?.map_err(|error| error.to_string())?;
        self.epoch += 1;
        let node = self.node();
        let beginning = async {
            self.door.load(&mut connection).await?;
            let mut first = pipeline();
            first.add_command(self.door.beat(&node));
            for place in self.table.held() {
                first.add_command(self.door.places(&node, place.key(), place.held()));
            }
            let answers: Vec<RedisResult<Value>> = first.query_async(&mut connection).await?;
            answers.into_iter().collect::<RedisResult<Vec<_>>>()
        };
        let begun = tokio::time::timeout(2 * HUNG, beginning).await;
        let answers = begun.map_err(|_| silent())?.map_err(|error| error.to_string())?;
        if let Some((_, nodes)) = answers.first().and_then(beaten) {
            self.state.count(nodes);
        }
        Ok(connection)
    }

    async fn serve(&mut self, connection: &mut MultiplexedConnection, tasks: &Tasks) -> End {
        let mut stopping = std::pin::pin!(tasks.stopping());
        let mut beats = tokio::time::interval(BEAT);
        beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let mut says = Vec::new();
            tokio::select! {
                () = &mut stopping => return End::Stopping,
                _ = beats.tick() => {
                    self.table.sweep();
                    says.push(Say::Beat);
                }
                job = self.jobs.recv() => match job {
                    Some(job) => says.push(Say::Take(job)),
                    None => return End::Stopping,
                },
                () = self.table.news.bell.notified() => {}
            }
            self.gather(&mut says);
            if says.is_empty() {
                continue;
            }
            if let Some(end) = self.round(connection, says).await {
                return end;
            }
        }
    }

    /// All that waits: first what Redis is to be told, then who asks, in the order in which they came.
    fn gather(&mut self, says: &mut Vec<Say>) {
        let mut first = Vec::new();
        for touched in self.table.news.take() {
            match touched {
                Touched::Rate(rate) => {
                    let (owed, wanted) = rate.tell();
                    if wanted > 0 {
                        says.push(Say::Lease(Arc::clone(&rate), wanted));
                    }
                    if owed != 0 {
                        first.push(Say::Correct(rate, owed));
                    }
                }
                Touched::Place(place) => match place.tell() {
                    0 => {}
                    by => first.push(Say::Places(place, by)),
                },
            }
        }
        let jobs = std::iter::from_fn(|| self.jobs.try_recv().ok());
        says.extend(jobs.take(AT_ONCE).map(Say::Take));
        first.append(says);
        *says = first;
    }

    /// One pipeline and its answers.
    async fn round(&mut self, connection: &mut MultiplexedConnection, says: Vec<Say>) -> Option<End> {
        let began = self.clock.moment();
        let answers = match self.ask(connection, &says).await {
            Ok(answers) => answers,
            Err(why) => return Some(End::Lost(why)),
        };
        let (mut again, mut end) = (Vec::new(), None);
        for (say, answer) in says.into_iter().zip(answers) {
            match answer {
                Ok(answer) => end = self.hear(say, &answer).or(end),
                Err(error) if Door::is_lost(&error) => again.push(say),
                Err(error) => end = Some(End::Lost(error.to_string())),
            }
        }
        if !again.is_empty() {
            // The server was begun anew: it has our text no more, and none of these was done.
            match self.retry(connection, again).await {
                Ok(forgotten) => end = forgotten.or(end),
                Err(why) => return Some(End::Lost(why)),
            }
        }
        if end.is_none() && self.clock.moment().since(began) <= self.deadline {
            self.state.find();
        }
        end
    }

    async fn retry(
        &mut self,
        connection: &mut MultiplexedConnection,
        says: Vec<Say>,
    ) -> Result<Option<End>, String> {
        let loading = tokio::time::timeout(HUNG, self.door.load(connection)).await;
        loading.map_err(|_| silent())?.map_err(|error| error.to_string())?;
        let mut end = None;
        let answers = self.ask(connection, &says).await?;
        for (say, answer) in says.into_iter().zip(answers) {
            let answer = answer.map_err(|error| error.to_string())?;
            end = self.hear(say, &answer).or(end);
        }
        Ok(end)
    }

    async fn ask(
        &self,
        connection: &mut MultiplexedConnection,
        says: &[Say],
    ) -> Result<Vec<RedisResult<Value>>, String> {
        let mut round = pipeline();
        let node = self.node();
        for say in says {
            round.add_command(self.order(&node, say));
        }
        let mut asking = Box::pin(round.query_async::<Vec<RedisResult<Value>>>(connection));
        let answered = match tokio::time::timeout(self.deadline, &mut asking).await {
            Ok(answered) => answered,
            Err(_) => {
                self.state.lose(&format!("no answer within {:?}", self.deadline));
                tokio::time::timeout(HUNG, asking).await.map_err(|_| silent())?
            }
        };
        answered.map_err(|error| error.to_string())
    }

    fn order(&self, node: &str, say: &Say) -> Cmd {
        match say {
            Say::Beat => self.door.beat(node),
            Say::Correct(rate, by) => self.door.correct(node, rate.key(), *by),
            Say::Places(place, by) => self.door.places(node, place.key(), *by),
            Say::Lease(rate, wanted) => self.door.lease(node, rate.key(), rate.span, *wanted),
            Say::Take(job) => self.door.take(node, &job.asked),
        }
    }

    fn hear(&self, say: Say, answer: &Value) -> Option<End> {
        match say {
            Say::Beat => match beaten(answer) {
                Some((true, nodes)) => self.state.count(nodes),
                _ => return Some(End::Forgotten),
            },
            Say::Correct(..) | Say::Places(..) => {}
            Say::Lease(rate, _) => {
                if let Some([s, n, ahead_s, ahead_n]) = integers(answer).as_deref() {
                    rate.lend(nanos(*s, *n));
                    rate.look(self.clock.moment(), nanos(*ahead_s, *ahead_n));
                }
            }
            Say::Take(job) => {
                let Some(told) = verdicts(&job.asked, answer) else {
                    return Some(End::Lost("it answers otherwise than it should".to_owned()));
                };
                if let Err(told) = job.reply.send(told) {
                    give_back(&job.asked, &told);
                }
            }
        }
        None
    }
}

/// Whoever asked has given up: what was granted is given back, places by being dropped.
fn give_back(asked: &[Asked], told: &[Verdict]) {
    for (asked, verdict) in asked.iter().zip(told) {
        let Ok(granted) = verdict else { continue };
        for ((_, bucket, amount), rate) in asked.wanted.debits().zip(&granted.debits) {
            rate.correct(bucket.cost(amount), 0);
        }
    }
}

fn silent() -> String {
    "it does not answer".to_owned()
}

/// Whether the node was known, and how many there are.
fn beaten(answer: &Value) -> Option<(bool, u32)> {
    match integers(answer).as_deref() {
        Some([known, nodes]) => Some((*known == 1, u32::try_from(*nodes).ok()?)),
        _ => None,
    }
}
