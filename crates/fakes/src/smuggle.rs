//! Request smuggling: raw HTTP/1.1 that two servers may read differently, each with what a strict server does.
//!
//! Every case that hides a second request hides the same one: a good call with the key and the model `canary`. It
//! must never be executed: [`run`] looks for it in the upstream's journal, besides judging what came back. Loopback
//! only, a few connections at once, bounded in time.

mod cases;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

pub use cases::corpus;

use crate::journal::Dispatch;
use crate::upstream::Upstream;

/// Connections at once.
const AT_ONCE: usize = 16;

/// What a strict server does with a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Expect {
    /// 400 (or another refusal, from 400 to 501), and the connection is closed; or it is closed without an answer.
    Refuse,
    /// Exactly one request is answered, whatever the status; what follows it is not taken for another.
    One,
    /// One request is answered or refused; standards leave it open which.
    AtMostOne,
    /// One request is answered; what follows it is no request, and is refused or ends the connection.
    OneThenEnd,
    /// Exactly two requests are answered: ordinary pipelining, which shows that the runner can see a second.
    Two,
}

/// One case of the corpus.
#[derive(Debug, Clone, Serialize)]
pub struct Case {
    /// A short name: `cl_te`.
    pub name: &'static str,
    /// What is odd about it.
    pub says: &'static str,
    /// The bytes to send.
    #[serde(skip)]
    pub bytes: Vec<u8>,
    /// What must happen.
    pub expect: Expect,
}

impl Case {
    /// The model of the hidden request, to look for in journals.
    #[must_use]
    pub const fn canary_model() -> &'static str {
        "canary"
    }
}

/// What happened to a case.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// The case.
    pub case: Case,
    /// The statuses of all final answers, in order.
    pub statuses: Vec<u16>,
    /// The server closed (or reset) the connection within the time.
    pub closed: bool,
    /// What the case wanted.
    pub as_expected: bool,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { case: Case { name, says, expect, .. }, statuses, closed, .. } = self;
        let closed = if *closed { "closed" } else { "left open" };
        write!(out, "{name} ({says}): expected {expect:?}, answered {statuses:?}, {closed}")
    }
}

/// Where the cases go and as whom.
#[derive(Debug, Clone)]
pub struct Target {
    /// The server: loopback only.
    pub addr: SocketAddr,
    /// A good virtual key, so that refusals are about framing.
    pub key: String,
    /// A model that answers at once.
    pub model: String,
    /// How long an open connection is watched for answers.
    pub patience: Duration,
}

/// Sends every case to a gateway in front of `upstream`, and returns what went wrong: cases that were not answered as
/// they must be, and hidden requests that reached the upstream. Empty is good.
///
/// # Errors
/// When the address is not loopback or cannot be connected to.
pub async fn run(
    addr: SocketAddr,
    key: &str,
    model: &str,
    upstream: &Upstream,
) -> anyhow::Result<Vec<String>> {
    let patience = Duration::from_secs(2);
    let target = Target { addr, key: key.to_owned(), model: model.to_owned(), patience };
    let outcomes = outcomes(&target).await?;
    let bad = outcomes.iter().filter(|outcome| !outcome.as_expected);
    let mut wrong: Vec<String> = bad.map(ToString::to_string).collect();
    // A gateway may know no model `canary` and refuse it itself, so this is the second net, not the first.
    let hidden = |dispatch: &&Dispatch| dispatch.model.as_deref() == Some(Case::canary_model());
    for dispatch in upstream.journal().all().iter().filter(hidden) {
        wrong.push(format!("dispatch {} is the hidden request", dispatch.number));
    }
    Ok(wrong)
}

/// Sends every case of the corpus, each on a connection of its own, and tells what happened to each.
///
/// # Errors
/// When the address is not loopback or cannot be connected to.
pub async fn outcomes(target: &Target) -> anyhow::Result<Vec<Outcome>> {
    anyhow::ensure!(target.addr.ip().is_loopback(), "`{}` is not a loopback address", target.addr);
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let sending: Vec<_> = corpus(target)
        .into_iter()
        .map(|case| {
            let (room, target) = (Arc::clone(&room), target.clone());
            tokio::spawn(async move {
                let _place = room.acquire().await?;
                send(&target, case).await
            })
        })
        .collect();
    let mut outcomes = Vec::new();
    for sent in sending {
        outcomes.push(sent.await??);
    }
    Ok(outcomes)
}

async fn send(target: &Target, case: Case) -> anyhow::Result<Outcome> {
    let mut stream = TcpStream::connect(target.addr).await?;
    stream.set_nodelay(true)?;
    let deadline = Instant::now() + target.patience;
    // A server that closes early may refuse the rest: what it answered is what counts.
    let _ = timeout_at(deadline, stream.write_all(&case.bytes)).await;
    let mut answer = Vec::new();
    let closed = loop {
        match timeout_at(deadline, stream.read_buf(&mut answer)).await {
            Ok(Ok(0) | Err(_)) => break true,
            Ok(Ok(_)) if answer.len() > 1 << 20 => break false,
            Ok(Ok(_)) => {}
            Err(_) => break false,
        }
    };
    let statuses = statuses(&answer);
    let as_expected = match case.expect {
        Expect::Refuse => {
            closed && statuses.len() <= 1 && statuses.iter().all(|status| (400..=501).contains(status))
        }
        Expect::One => statuses.len() == 1,
        Expect::AtMostOne => statuses.len() <= 1,
        Expect::OneThenEnd => {
            closed
                && matches!(statuses.as_slice(), [first, rest @ ..] if *first < 400 && rest.iter().all(|s| *s >= 400))
        }
        Expect::Two => statuses.len() == 2,
    };
    Ok(Outcome { case, statuses, closed, as_expected })
}

/// The statuses of the final answers in a connection's bytes. Answers are found by their status lines: bodies of
/// these cases do not contain one.
fn statuses(bytes: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(bytes);
    let lines = text.match_indices("HTTP/1.").filter_map(|(at, _)| text.get(at + 9..at + 12));
    lines.filter_map(|status| status.parse().ok()).filter(|status| *status >= 200).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::upstream::Script;

    #[test]
    fn statuses_are_found() {
        assert_eq!(
            statuses(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n{}HTTP/1.1 400 Bad\r\n\r\n"),
            [200, 400]
        );
        assert_eq!(statuses(b""), Vec::<u16>::new());
    }

    /// The scripted upstream is not strict, but it is a server: the harmless cases must pass there, and the runner
    /// must be able to see that something is wrong.
    #[tokio::test]
    async fn the_runner_tells_good_from_bad() {
        let upstream = Upstream::start(Script::default()).await.unwrap();
        let wrong = run(upstream.addr(), "k", "ok", &upstream).await.unwrap();
        let bad = |name: &str| wrong.iter().any(|wrong| wrong.starts_with(&format!("{name} (")));
        assert!(!bad("plain") && !bad("pipelined"), "{wrong:#?}");
        assert!(bad("cl_te"), "the upstream reads chunks where there is also a length");
        assert!(
            wrong.iter().any(|wrong| wrong.contains("is the hidden request")),
            "a lax server executes it"
        );
    }
}
