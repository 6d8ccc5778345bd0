//! Answers beyond this process: what several nodes share, such as Redis.
//!
//! Memory is asked first, and whoever found nothing there and was made the one who asks looks here before a provider: so
//! one node looks once for all who wait. A larder that is away or slow is like one with nothing in it: it delays a call by
//! [`PATIENCE`] at most and never fails one, and what it cannot take is not kept there.
//!
//! Digests are made of whom an answer belongs to, so nothing else is needed to keep tenants apart; but what lies there is
//! what models said, so whoever implements it encrypts it where others could read it.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{HeaderName, HeaderValue};
use policy::{Money, Name, Timestamp, Usage};
use serde::{Deserialize, Serialize};

use super::keep::{Asks, Digest, Kept};
use crate::Gateway;
use crate::refusal::ERRORS;
use crate::shelf::Shelving;

/// How long a look may take, and a keeping.
const PATIENCE: Duration = Duration::from_millis(50);
const PATIENCE_TO_KEEP: Duration = Duration::from_secs(2);
/// Answers on their way to it at once; one more is not kept there.
pub(super) const MOST_ON_THE_WAY: usize = 64;
/// Begins every answer; another number where they are written otherwise.
const MAGIC: &[u8; 4] = b"tga1";

/// Keeps answers for longer than a process, or for several.
pub trait Larder: Send + Sync {
    /// What was kept under a digest, as it was given.
    fn find(&self, digest: [u8; 32]) -> Shelving<Option<Bytes>>;

    /// Keeps an answer for so long, in place of what is there.
    fn keep(&self, digest: [u8; 32], answer: Bytes, ttl: Duration) -> Shelving<()>;
}

/// What was found beyond.
#[derive(Debug)]
pub(super) enum Beyond {
    Nothing,
    /// With the time that it has left.
    Answer(Arc<Kept>, Duration),
    /// The same digest stands for another request.
    Other,
}

/// Looks for an answer.
pub(super) async fn find(larder: &dyn Larder, asks: &Asks, now: Timestamp) -> Beyond {
    match tokio::time::timeout(PATIENCE, larder.find(asks.digest)).await {
        Ok(Ok(Some(bytes))) => read(&bytes, &asks.print, now).unwrap_or(Beyond::Nothing),
        Ok(Ok(None)) => Beyond::Nothing,
        Ok(Err(error)) => {
            tracing::debug!(%error, "kept answers cannot be looked for");
            Beyond::Nothing
        }
        Err(_) => Beyond::Nothing,
    }
}

/// Lets an answer be kept, without anybody waiting for it.
pub(super) fn keep(gateway: &Arc<Gateway>, asks: &Asks, kept: &Kept) {
    let Asks { digest, print, ttl, .. } = *asks;
    let Some(larder) = gateway.recall.larder.clone() else { return };
    let Ok(place) = Arc::clone(&gateway.recall.on_the_way).try_acquire_owned() else { return };
    let Some(bytes) = write(kept, print, gateway.clock.now().plus(ttl)) else { return };
    gateway.tasks.spawn("keep-answer", async move {
        let _place = place;
        if let Ok(Err(error)) = tokio::time::timeout(PATIENCE_TO_KEEP, larder.keep(digest, bytes, ttl)).await
        {
            tracing::debug!(%error, "an answer could not be kept");
        }
    });
}

#[derive(Serialize, Deserialize)]
struct Head {
    until: Timestamp,
    print: Digest,
    status: u16,
    stream: bool,
    headers: Vec<(String, String)>,
    model: Option<Name>,
    usage: Usage,
    cost: Option<Money>,
    finish_reason: Option<Name>,
    error: Option<String>,
}

/// `magic · length of head u32 · head in JSON · body`.
fn write(kept: &Kept, print: Digest, until: Timestamp) -> Option<Bytes> {
    let text = |(name, value): &(HeaderName, HeaderValue)| {
        Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
    };
    let head = Head {
        until,
        print,
        status: kept.status,
        stream: kept.stream,
        headers: kept.headers.iter().filter_map(text).collect(),
        model: kept.model.clone(),
        usage: kept.usage,
        cost: kept.cost,
        finish_reason: kept.finish_reason.clone(),
        error: kept.error.map(str::to_owned),
    };
    let head = serde_json::to_vec(&head).ok()?;
    let mut out = BytesMut::with_capacity(MAGIC.len() + 4 + head.len() + kept.body.len());
    out.put_slice(MAGIC);
    out.put_u32_le(u32::try_from(head.len()).ok()?);
    out.put_slice(&head);
    out.put_slice(&kept.body);
    Some(out.freeze())
}

/// `None`: written otherwise, damaged, or past.
fn read(bytes: &Bytes, print: &Digest, now: Timestamp) -> Option<Beyond> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (head, body) = rest.split_at_checked(length)?;
    let head: Head = serde_json::from_slice(head).ok()?;
    if head.until <= now {
        return None;
    }
    if head.print != *print {
        return Some(Beyond::Other);
    }
    let header = |(name, value): (String, String)| {
        Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?))
    };
    let known = |error: String| ERRORS.iter().map(|row| row.0).find(|code| **code == *error);
    let kept = Kept {
        status: head.status,
        stream: head.stream,
        headers: head.headers.into_iter().filter_map(header).collect(),
        body: bytes.slice_ref(body),
        model: head.model,
        usage: head.usage,
        cost: head.cost,
        finish_reason: head.finish_reason,
        error: head.error.and_then(known),
    };
    Some(Beyond::Answer(Arc::new(kept), head.until.since(now)))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::shelf::ShelfError;
    use policy::Currency;

    const PRINT: Digest = [1; 32];

    fn kept() -> Kept {
        Kept {
            status: 400,
            stream: true,
            headers: [(http::header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"))]
                .into_iter()
                .collect(),
            body: Bytes::from_static(b"data: \xf0\x9f\x8c\x8a\n\n"),
            model: Some("p/m".into()),
            usage: Usage { input: Some(3), output: Some(4), ..Usage::default() },
            cost: Some(Money { currency: Currency::USD, nano: 5 }),
            finish_reason: Some("stop".into()),
            error: Some("invalid_request"),
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    enum Fake {
        Has(Option<Bytes>),
        Away,
        Silent,
    }

    impl Larder for Fake {
        fn find(&self, _: Digest) -> Shelving<Option<Bytes>> {
            match self {
                Self::Has(bytes) => Box::pin(std::future::ready(Ok(bytes.clone()))),
                Self::Away => Box::pin(std::future::ready(Err(ShelfError::Away("gone".into())))),
                Self::Silent => Box::pin(std::future::pending()),
            }
        }

        fn keep(&self, _: Digest, _: Bytes, _: Duration) -> Shelving<()> {
            Box::pin(std::future::ready(Ok(())))
        }
    }

    async fn look(fake: Fake, print: Digest, now: Timestamp) -> Beyond {
        let asks =
            Asks { digest: Digest::default(), print, owner: "dev".into(), ttl: Duration::from_secs(1) };
        find(&fake, &asks, now).await
    }

    #[tokio::test]
    async fn an_answer_comes_back_as_it_was_for_the_rest_of_its_time() {
        let bytes = write(&kept(), PRINT, at(100)).unwrap();
        let Beyond::Answer(back, left) = look(Fake::Has(Some(bytes.clone())), PRINT, at(70)).await else {
            unreachable!("nothing was found")
        };
        assert_eq!(format!("{back:?}"), format!("{:?}", kept()));
        assert_eq!(left, Duration::from_secs(30));
        assert!(matches!(look(Fake::Has(Some(bytes.clone())), [2; 32], at(70)).await, Beyond::Other));
        assert!(matches!(look(Fake::Has(Some(bytes)), PRINT, at(100)).await, Beyond::Nothing));
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_nothing() {
        let bytes = write(&kept(), PRINT, at(100)).unwrap();
        for cut in 0..bytes.len() - kept().body.len() {
            let damaged = Fake::Has(Some(bytes.slice(..cut)));
            assert!(matches!(look(damaged, PRINT, at(0)).await, Beyond::Nothing), "{cut}");
        }
        let mut other = bytes.to_vec();
        other[3] = b'9';
        assert!(matches!(look(Fake::Has(Some(other.into())), PRINT, at(0)).await, Beyond::Nothing));
        assert!(matches!(look(Fake::Has(None), PRINT, at(0)).await, Beyond::Nothing));
    }

    #[tokio::test]
    async fn a_larder_that_is_away_or_silent_holds_nobody_up() {
        assert!(matches!(look(Fake::Away, PRINT, at(0)).await, Beyond::Nothing));
        assert!(matches!(look(Fake::Silent, PRINT, at(0)).await, Beyond::Nothing));
    }
}
