//! The gateway's shelf, over the database that may be away.
//!
//! The threads of the data plane hand over what they want done and await the outcome; the work (sealing, and the
//! database) is done on the small scheduler, where the database's connections live. What waits is bounded in number and
//! in bytes. After trouble nothing new is kept for a moment: an answer should not wait for a database of which
//! it is known that it does not answer.

use super::seal::Seal;
use admin::StoreHandle;
use bytes::Bytes;
use gateway::{Kept, Shelf, ShelfError, Shelving};
use parking_lot::Mutex;
use policy::{Moment, Name, Timestamp};
use runtime::{Clock, Tasks};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use store::{ResponseRow, Store, StoreError};
use tokio::sync::{Semaphore, mpsc, oneshot};

/// How long a response is kept.
const LIFE: Duration = Duration::from_secs(30 * 86_400);
/// Jobs that wait, at most.
const MOST_WAITING: usize = 1_024;
/// Jobs that are worked on at once: as many as the database has connections to spare.
const AT_ONCE: usize = 4;
/// KiB of content that wait to be written, at most.
const MOST_KIB: usize = 64 * 1024;
/// All stored responses together, bytes, at most.
const MOST_IN_ALL: u64 = 8 << 30;
/// Of one conversation at most this much is read, and at most so many responses.
const LONGEST_CHAIN: (u64, u64) = (4_096, 64 << 20);
/// One question takes at most this long.
const PATIENCE: Duration = Duration::from_secs(5);
/// For so long after trouble nothing new is kept.
const WARY: Duration = Duration::from_secs(1);
/// How often what is kept is weighed again: other nodes write too, and retention deletes.
const WEIGH: Duration = Duration::from_secs(600);

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;
type Job = Box<dyn FnOnce(Arc<Desk>) -> Work + Send>;

/// What the gateway holds.
struct Counter {
    jobs: mpsc::Sender<Job>,
    room: Arc<Semaphore>,
    desk: Arc<Desk>,
}

/// Where the work is done.
struct Desk {
    store: StoreHandle,
    seal: Seal,
    clock: Clock,
    /// When the database last failed us.
    trouble: Mutex<Option<Moment>>,
    /// What all weigh together, and when that was last asked.
    weight: tokio::sync::Mutex<Option<(u64, Moment)>>,
}

/// Opens the shelf, and starts the task that serves it.
pub(super) fn open(
    store: StoreHandle,
    master: &[u8; 32],
    clock: &Clock,
    tasks: &Tasks,
) -> anyhow::Result<Arc<dyn Shelf>> {
    let (jobs, waiting) = mpsc::channel(MOST_WAITING);
    let desk = Arc::new(Desk {
        store,
        seal: Seal::derive(master)?,
        clock: clock.clone(),
        trouble: Mutex::default(),
        weight: tokio::sync::Mutex::default(),
    });
    tasks.spawn("shelf", serve(waiting, Arc::clone(&desk), tasks.clone()));
    Ok(Arc::new(Counter { jobs, room: Arc::new(Semaphore::new(MOST_KIB)), desk }))
}

async fn serve(mut waiting: mpsc::Receiver<Job>, desk: Arc<Desk>, tasks: Tasks) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut stopping = std::pin::pin!(tasks.stopping());
    let mut open = true;
    loop {
        let job = tokio::select! {
            biased;
            job = waiting.recv() => job,
            () = &mut stopping, if open => {
                // What was handed over before is still done.
                open = false;
                waiting.close();
                continue;
            }
        };
        let (Some(job), Ok(place)) = (job, Arc::clone(&places).acquire_owned().await) else { return };
        let work = job(Arc::clone(&desk));
        tasks.spawn("shelf-job", async move {
            work.await;
            drop(place);
        });
    }
}

impl Counter {
    /// Hands a job over; what comes of it, in time.
    fn ask<T: Send + 'static, F: Future<Output = Result<T, ShelfError>> + Send + 'static>(
        &self,
        weight: usize,
        job: impl FnOnce(Arc<Desk>) -> F + Send + 'static,
    ) -> Shelving<T> {
        let kib = u32::try_from(weight / 1024 + 1).unwrap_or(u32::MAX);
        let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(kib) else {
            return failed(ShelfError::Full("too many bytes wait to be written".to_owned()));
        };
        let (told, outcome) = oneshot::channel();
        let job: Job = Box::new(move |desk| {
            Box::pin(async move {
                let done = job(desk).await;
                drop(room);
                // Whoever asked may have gone.
                let _ = told.send(done);
            })
        });
        match self.jobs.try_send(job) {
            Ok(()) => Box::pin(async move {
                match tokio::time::timeout(PATIENCE, outcome).await {
                    Ok(Ok(done)) => done,
                    Ok(Err(_)) => Err(ShelfError::Away("the gateway is stopping".to_owned())),
                    Err(_) => {
                        Err(ShelfError::Away(format!("the database did not answer within {PATIENCE:?}")))
                    }
                }
            }),
            Err(mpsc::error::TrySendError::Full(_)) => {
                failed(ShelfError::Full("too many questions wait".to_owned()))
            }
            Err(mpsc::error::TrySendError::Closed(_)) => {
                failed(ShelfError::Away("the gateway is stopping".to_owned()))
            }
        }
    }
}

fn failed<T: Send + 'static>(error: ShelfError) -> Shelving<T> {
    Box::pin(std::future::ready(Err(error)))
}

impl Shelf for Counter {
    fn keep(&self, kept: Kept) -> Shelving<()> {
        if let Some(error) = self.desk.wary() {
            return failed(error);
        }
        self.ask(kept.content.len(), |desk| async move { desk.keep(kept).await })
    }

    fn find(&self, environment: &Name, id: &str) -> Shelving<Option<Kept>> {
        let (environment, id) = (environment.clone(), id.to_owned());
        self.ask(0, |desk| async move {
            let row = desk.done(desk.store()?.find_response(&environment, &id).await)?;
            Ok(row.and_then(|row| desk.unpack(row)))
        })
    }

    fn chain(&self, environment: &Name, id: &str) -> Shelving<Vec<Kept>> {
        let (environment, id) = (environment.clone(), id.to_owned());
        self.ask(0, |desk| async move {
            let (links, bytes) = LONGEST_CHAIN;
            let rows = desk.store()?.response_chain(&environment, &id, links, bytes).await;
            // One that does not open ends the chain, as if it were not there.
            Ok(desk.done(rows)?.into_iter().map_while(|row| desk.unpack(row)).collect())
        })
    }

    fn renew(&self, environment: &Name, id: &str, until: Timestamp) -> Shelving<bool> {
        let (environment, id) = (environment.clone(), id.to_owned());
        self.ask(0, move |desk| async move {
            desk.done(desk.store()?.renew_response(&environment, &id, until).await)
        })
    }

    fn finish(&self, environment: &Name, id: &str, content: Bytes) -> Shelving<bool> {
        let (environment, id) = (environment.clone(), id.to_owned());
        self.ask(content.len(), |desk| async move {
            let sealed = desk.pack(&environment, &id, &content)?;
            desk.done(desk.store()?.finish_response(&environment, &id, sealed).await)
        })
    }

    fn remove(&self, environment: &Name, id: &str) -> Shelving<bool> {
        let (environment, id) = (environment.clone(), id.to_owned());
        self.ask(0, |desk| async move { desk.done(desk.store()?.delete_response(&environment, &id).await) })
    }
}

impl Desk {
    fn store(&self) -> Result<Store, ShelfError> {
        self.store.find().ok_or_else(|| ShelfError::Away(self.store.reason()))
    }

    /// Why nothing new is kept in this moment.
    fn wary(&self) -> Option<ShelfError> {
        if self.store.find().is_none() {
            return Some(ShelfError::Away(self.store.reason()));
        }
        let since = (*self.trouble.lock())?;
        let away = self.clock.moment().since(since) < WARY;
        away.then(|| ShelfError::Away("the database failed a moment ago".to_owned()))
    }

    /// The outcome in the gateway's words; trouble is remembered.
    fn done<T>(&self, outcome: Result<T, StoreError>) -> Result<T, ShelfError> {
        let trouble = outcome.as_ref().err().is_some_and(StoreError::is_unavailable);
        *self.trouble.lock() = trouble.then(|| self.clock.moment());
        outcome.map_err(|error| ShelfError::Away(error.to_string()))
    }

    async fn keep(&self, kept: Kept) -> Result<(), ShelfError> {
        let store = self.store()?;
        let size = kept.content.len() as u64;
        self.make_room(&store, size).await?;
        let sealed = match kept.content.is_empty() {
            true => Vec::new(),
            false => self.pack(&kept.environment, &kept.id, &kept.content)?,
        };
        let now = self.clock.now();
        let row = ResponseRow {
            environment: kept.environment,
            id: kept.id,
            previous: kept.previous,
            key: kept.key,
            provider: kept.provider,
            model: kept.model,
            background: kept.background,
            running: kept.running,
            created_at: now,
            expires_at: now.plus(LIFE),
            sealed,
        };
        self.done(store.insert_response(row).await).map(drop)
    }

    /// Whether there is room for more, by what is known of the weight of all.
    async fn make_room(&self, store: &Store, size: u64) -> Result<(), ShelfError> {
        let mut weight = self.weight.lock().await;
        let now = self.clock.moment();
        let fresh = weight.filter(|(_, at)| now.since(*at) < WEIGH);
        let (sum, at) = match fresh {
            Some(known) => known,
            None => (self.done(store.responses_size().await)?, now),
        };
        let sum = sum.saturating_add(size);
        if sum > MOST_IN_ALL {
            *weight = Some((sum.saturating_sub(size), at));
            return Err(ShelfError::Full(format!("all of them may have {MOST_IN_ALL} bytes")));
        }
        *weight = Some((sum, at));
        Ok(())
    }

    fn pack(&self, environment: &Name, id: &str, content: &[u8]) -> Result<Vec<u8>, ShelfError> {
        self.seal.seal(environment, id, content).map_err(|error| ShelfError::Full(error.to_string()))
    }

    /// What a row holds; one that does not open is as good as none, and the log says so.
    fn unpack(&self, row: ResponseRow) -> Option<Kept> {
        let content = match row.sealed.is_empty() {
            true => Ok(Vec::new()),
            false => self.seal.open(&row.environment, &row.id, &row.sealed),
        };
        match content {
            Ok(content) => Some(Kept {
                environment: row.environment,
                id: row.id,
                previous: row.previous,
                key: row.key,
                provider: row.provider,
                model: row.model,
                background: row.background,
                running: row.running,
                content: content.into(),
            }),
            Err(error) => {
                tracing::error!(id = %row.id, error = format!("{error:#}"), "a stored response does not open");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::serve::last::tests::Scratch;
    use policy::{KeyId, StoreUrl};

    fn kept(id: &str, previous: Option<&str>, content: &'static str) -> Kept {
        Kept {
            environment: "dev".into(),
            id: id.into(),
            previous: previous.map(Into::into),
            key: KeyId("key_1".into()),
            provider: None,
            model: "m".into(),
            background: false,
            running: None,
            content: Bytes::from_static(content.as_bytes()),
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_is_kept_is_found_sealed_on_disk_and_gone_after_its_time() {
        let scratch = Scratch::new("shelf");
        let (clock, hand) = Clock::manual(Timestamp::from_micros(1_790_000_000_000_000));
        let (tasks, handle) = (Tasks::new(), StoreHandle::away("not yet"));
        let shelf = open(handle.clone(), &[7; 32], &clock, &tasks).unwrap();
        let dev: Name = "dev".into();
        let away = shelf.keep(kept("resp_0", None, "x")).await.unwrap_err();
        assert_eq!(away, ShelfError::Away("not yet".into()));
        assert!(shelf.find(&dev, "resp_0").await.is_err());
        handle.set(Store::open(&StoreUrl::Sqlite, scratch.path(), clock.clone()).await.unwrap());
        shelf.keep(kept("resp_1", None, "a secret word")).await.unwrap();
        shelf.keep(kept("resp_2", Some("resp_1"), "another")).await.unwrap();
        let chain = shelf.chain(&dev, "resp_2").await.unwrap();
        let contents: Vec<_> = chain.iter().map(|kept| &kept.content[..]).collect();
        assert_eq!(contents, [&b"another"[..], b"a secret word"]);
        assert!(shelf.find(&"prod".into(), "resp_1").await.unwrap().is_none());
        handle.find().unwrap().close().await;
        for entry in std::fs::read_dir(scratch.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let bytes = std::fs::read(&path).unwrap();
                assert!(!bytes.windows(6).any(|piece| piece == b"secret"), "{}", path.display());
            }
        }
        // Another process, another key, and the time of a response.
        let again = || Store::open(&StoreUrl::Sqlite, scratch.path(), clock.clone());
        handle.set(again().await.unwrap());
        let other = open(handle.clone(), &[8; 32], &clock, &tasks).unwrap();
        assert!(other.find(&dev, "resp_1").await.unwrap().is_none());
        assert!(shelf.find(&dev, "resp_1").await.unwrap().is_some());
        hand.advance(LIFE);
        assert!(shelf.find(&dev, "resp_1").await.unwrap().is_none());
        tasks.stop();
        assert!(tasks.drained(Duration::from_secs(30)).await.is_empty());
        assert!(matches!(shelf.find(&dev, "resp_1").await, Err(ShelfError::Away(_))));
    }

    #[tokio::test]
    async fn what_waits_is_bounded() {
        let scratch = Scratch::new("shelf-full");
        let (clock, _) = Clock::manual(Timestamp::from_micros(1_790_000_000_000_000));
        let handle = StoreHandle::away("not yet");
        handle.set(Store::open(&StoreUrl::Sqlite, scratch.path(), clock.clone()).await.unwrap());
        let tasks = Tasks::new();
        let shelf = open(handle, &[7; 32], &clock, &tasks).unwrap();
        // Nobody works on them before the first await.
        let dev: Name = "dev".into();
        let waiting: Vec<_> = (0..MOST_WAITING).map(|_| shelf.find(&dev, "resp_1")).collect();
        assert!(matches!(shelf.find(&dev, "resp_1").await, Err(ShelfError::Full(_))));
        for one in waiting {
            assert!(one.await.unwrap().is_none());
        }
        tasks.stop();
        assert!(tasks.drained(Duration::from_secs(30)).await.is_empty());
    }
}
