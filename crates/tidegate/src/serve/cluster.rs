//! What this node shares with others in Redis, as the gateway sees it: limits that are counted together, and answers that are kept,
//! sealed with the master key.

use super::seal::Seal;
use crate::secrets::ProcessSecrets;
use bytes::Bytes;
use cluster::{Cluster, ClusterError, Options};
use gateway::{Larder, ShelfError, Shelving, Tally, TallyFigures, Telling};
use policy::{ClusterSettings, CountedBy, Document, Finding, RedisUrl, Secrets, Severity, Wanted};
use runtime::{Clock, Tasks};
use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

/// The start waits for Redis at most this long, so that the first requests are counted together.
const BEGINNING: Duration = Duration::from_secs(1);

/// What is shared.
#[derive(Clone, Default)]
pub(super) struct Shared {
    pub(super) tally: Option<Arc<dyn Tally>>,
    pub(super) larder: Option<Arc<dyn Larder>>,
}

/// The URL of Redis, or why it cannot be had, at its place in `file`. The same words for `check` and for `serve`.
pub(crate) fn read_url(
    settings: Option<&ClusterSettings>,
    file: &str,
    secrets: &dyn Secrets,
) -> Result<Option<String>, Finding> {
    let Some(redis) = settings.and_then(|settings| settings.redis.as_ref()) else { return Ok(None) };
    let finding = |severity, why: String| Finding {
        severity,
        file: file.to_owned(),
        line: redis.at.line as usize,
        column: redis.at.column as usize,
        message: format!("`cluster.redis`: {why}"),
        help: None,
    };
    let absent = if secrets.may_be_absent() { Severity::Warning } else { Severity::Error };
    let url = match &redis.value {
        RedisUrl::Url(url) => url.clone(),
        RedisUrl::Secret(at) => secrets.read(at).map_err(|why| finding(absent, why))?.expose().to_owned(),
    };
    cluster::check(&url).map_err(|error| finding(Severity::Error, error.to_string()))?;
    Ok(Some(url))
}

/// Begins to share what the settings say.
pub(super) async fn open(
    document: &Document,
    master: &[u8; 32],
    clock: &Clock,
    tasks: &Tasks,
) -> anyhow::Result<Result<Shared, Finding>> {
    let settings = document.cluster.as_ref();
    let url = match read_url(settings, &document.file, &ProcessSecrets) {
        Ok(url) => url,
        Err(finding) => return Ok(Err(finding)),
    };
    let (Some(settings), Some(url)) = (settings, url) else { return Ok(Ok(Shared::default())) };
    let seal = Seal::of_answers(master)?;
    let leased = settings.limits == CountedBy::Leased;
    let options = Options { url: url.clone(), leased, deadline: settings.deadline, nodes: settings.nodes };
    let cluster = Cluster::open(&options, clock, tasks)?;
    cluster.begun(BEGINNING).await;
    let larder = cluster::Larder::open(&url, tasks)?;
    let answers = Answers(Arc::new(Kept { larder, seal, cluster: Arc::clone(&cluster) }));
    let tally = (settings.limits != CountedBy::Local).then(|| Arc::new(Counting(cluster)) as Arc<dyn Tally>);
    Ok(Ok(Shared { tally, larder: Some(Arc::new(answers)) }))
}

struct Counting(Arc<Cluster>);

impl Tally for Counting {
    fn take(&self, wanted: Vec<Wanted>) -> Telling {
        let cluster = Arc::clone(&self.0);
        Box::pin(async move { cluster.take(wanted).await })
    }

    fn nodes(&self) -> u32 {
        self.0.nodes()
    }

    fn place(&self, id: &[u8; 16]) -> Box<dyn Any + Send + Sync> {
        self.0.place(id)
    }

    fn figures(&self) -> TallyFigures {
        let figures = self.0.figures();
        TallyFigures {
            well: figures.well,
            nodes: figures.nodes,
            asked: figures.asked,
            drawn: figures.drawn,
            alone: figures.alone,
            changes: figures.changes,
        }
    }
}

/// Answers in Redis.
struct Answers(Arc<Kept>);

struct Kept {
    larder: cluster::Larder,
    seal: Seal,
    cluster: Arc<Cluster>,
}

impl Larder for Answers {
    fn find(&self, digest: [u8; 32]) -> Shelving<Option<Bytes>> {
        let kept = Arc::clone(&self.0);
        Box::pin(async move {
            if !kept.cluster.is_well() {
                return Err(ShelfError::Away("Redis is lost".to_owned()));
            }
            let Some(sealed) = kept.larder.find(&digest).await.map_err(|error| away(&error))? else {
                return Ok(None);
            };
            // Of another master key, or damaged: it is none of ours, and is written anew.
            Ok(kept.seal.open("answers", &name(&digest), &sealed).ok().map(Bytes::from))
        })
    }

    fn keep(&self, digest: [u8; 32], answer: Bytes, ttl: Duration) -> Shelving<()> {
        let kept = Arc::clone(&self.0);
        Box::pin(async move {
            if !kept.cluster.is_well() {
                return Err(ShelfError::Away("Redis is lost".to_owned()));
            }
            let sealed = kept.seal.seal("answers", &name(&digest), &answer);
            let sealed = sealed.map_err(|error| ShelfError::Away(error.to_string()))?;
            kept.larder.keep(&digest, &sealed, ttl).await.map_err(|error| away(&error))
        })
    }
}

fn name(digest: &[u8; 32]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn away(error: &ClusterError) -> ShelfError {
    match error {
        ClusterError::Large(_) => ShelfError::Full(error.to_string()),
        _ => ShelfError::Away(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy::SecretRef;

    #[test]
    fn a_redis_whose_url_is_not_there_is_told_with_its_place() {
        let at = policy::Place { line: 3, column: 9 };
        let value = RedisUrl::Secret(SecretRef::Env("TIDEGATE_TEST_ABSENT".into()));
        let settings =
            ClusterSettings { redis: Some(policy::Placed { value, at }), ..ClusterSettings::default() };
        let told = read_url(Some(&settings), "x.toml", &ProcessSecrets).err().map(|told| told.to_string());
        let expected = "x.toml:3:9: error: `cluster.redis`: environment variable `TIDEGATE_TEST_ABSENT` is not set, or is \
                        empty";
        assert_eq!(told.as_deref(), Some(expected));
        assert!(matches!(read_url(None, "x.toml", &ProcessSecrets), Ok(None)));
    }
}
