//! Answers that are kept for all nodes, under the digest that the gateway gives them. They come here sealed.
//!
//! They have a connection of their own, since a large answer must not delay a limit. It is made when it is needed and dropped when
//! it fails; where limits know that Redis is away, nobody waits to learn it again.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisResult};
use runtime::Tasks;
use tokio::sync::mpsc;

use crate::ClusterError;

const PREFIX: &str = "tidegate:answer:";
/// The largest that is kept, bytes.
const LARGEST: usize = 8 << 20;
/// A connection is made, and an answer brought, within this or not at all.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two tries to connect.
const PAUSE: Duration = Duration::from_millis(500);

/// Keeps answers.
#[derive(Debug)]
pub struct Larder {
    connection: Arc<Mutex<Option<MultiplexedConnection>>>,
    /// Asks for a connection; one such word is enough.
    wanted: mpsc::Sender<()>,
}

impl Larder {
    /// Begins to connect, on the scheduler that this is called on.
    ///
    /// # Errors
    /// When the URL is none of Redis.
    pub fn open(url: &str, tasks: &Tasks) -> Result<Self, ClusterError> {
        let client = crate::client(url)?;
        let connection = Arc::<Mutex<Option<MultiplexedConnection>>>::default();
        let (wanted, wishes) = mpsc::channel(1);
        let _ = wanted.try_send(());
        let connecting = connect(client, Arc::clone(&connection), wishes, tasks.clone());
        tasks.spawn("redis-answers", connecting);
        Ok(Self { connection, wanted })
    }

    /// What is kept under a digest.
    ///
    /// # Errors
    /// When Redis is away.
    pub async fn find(&self, digest: &[u8; 32]) -> Result<Option<Bytes>, ClusterError> {
        let mut connection = self.connection()?;
        let found = redis::cmd("GET").arg(key(digest)).query_async::<Option<Vec<u8>>>(&mut connection).await;
        self.judge(found).map(|found| found.map(Bytes::from))
    }

    /// Keeps an answer for so long, in place of what is there.
    ///
    /// # Errors
    /// When Redis is away or full, or the answer too large.
    pub async fn keep(&self, digest: &[u8; 32], answer: &[u8], ttl: Duration) -> Result<(), ClusterError> {
        if answer.len() > LARGEST {
            return Err(ClusterError::Large(answer.len()));
        }
        let mut connection = self.connection()?;
        let life = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).clamp(1, u64::from(u32::MAX));
        let mut keep = redis::cmd("SET");
        keep.arg(key(digest)).arg(answer).arg("PX").arg(life);
        let kept = keep.query_async::<()>(&mut connection).await;
        self.judge(kept)
    }

    fn connection(&self) -> Result<MultiplexedConnection, ClusterError> {
        let connection = self.connection.lock().clone();
        if connection.is_none() {
            let _ = self.wanted.try_send(());
        }
        connection.ok_or_else(|| ClusterError::Away("it is being connected".to_owned()))
    }

    fn judge<T>(&self, answer: RedisResult<T>) -> Result<T, ClusterError> {
        answer.map_err(|error| {
            if error.is_unrecoverable_error() || error.is_timeout() || error.is_io_error() {
                *self.connection.lock() = None;
                let _ = self.wanted.try_send(());
            }
            ClusterError::Away(error.to_string())
        })
    }
}

/// Connects whenever that is wanted, until the stop.
async fn connect(
    client: Client,
    connection: Arc<Mutex<Option<MultiplexedConnection>>>,
    mut wishes: mpsc::Receiver<()>,
    tasks: Tasks,
) {
    let mut stopping = std::pin::pin!(tasks.stopping());
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    loop {
        tokio::select! {
            () = &mut stopping => return,
            wish = wishes.recv() => if wish.is_none() { return },
        }
        if connection.lock().is_some() {
            continue;
        }
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        let made = tokio::select! {
            () = &mut stopping => return,
            made = tokio::time::timeout(2 * PATIENCE, connecting) => made,
        };
        match made {
            Ok(Ok(made)) => *connection.lock() = Some(made),
            _ => tokio::select! {
                () = &mut stopping => return,
                () = tokio::time::sleep(PAUSE) => {}
            },
        }
    }
}

fn key(digest: &[u8; 32]) -> String {
    let mut key = String::with_capacity(PREFIX.len() + 64);
    key.push_str(PREFIX);
    for byte in digest {
        let _ = write!(key, "{byte:02x}");
    }
    key
}
