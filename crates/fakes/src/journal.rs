//! The journal: what an upstream was asked and what it truly answered, in its own words.
//!
//! Two JSON lines for each dispatch, `dispatch` when the request is whole and `end` when its answer is over (also
//! when the client went away), each written with one `write`, so that the file is readable whatever is killed
//! when. The same is readable in memory while the upstream runs.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Token counts, as told or as true.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// All input tokens.
    pub input: u64,
    /// Those of them read from a cache.
    pub cached_input: u64,
    /// All output tokens.
    pub output: u64,
    /// Those of them spent on reasoning.
    pub reasoning: u64,
}

/// One request that reached the upstream whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dispatch {
    /// Counts up from 1 within a journal.
    pub number: u64,
    /// The gateway's request id, from `x-request-id` without its attempt.
    pub request_id: Option<String>,
    /// The attempt: 1, or what follows the id as `.n`.
    pub attempt: u16,
    /// Microseconds since 1970.
    pub at: i64,
    /// Which connection brought it.
    pub connection: u64,
    /// HTTP method.
    pub method: String,
    /// Path with query.
    pub path: String,
    /// All headers in order, as sent.
    pub headers: Vec<(String, String)>,
    /// Length of the body.
    pub body_length: u64,
    /// [`crate::random::hash`] of the body, in hexadecimal.
    pub body_hash: String,
    /// The body as text, where the script keeps bodies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The body's very bytes, in memory only, where the script keeps bodies.
    #[serde(skip)]
    pub raw: Bytes,
    /// `model` of the body.
    pub model: Option<String>,
    /// `stream` of the body.
    pub stream: bool,
    /// What a strict server would not have liked about the request's framing and headers.
    #[serde(default)]
    pub problems: Vec<String>,
    /// How it ended; `None` while it runs.
    #[serde(default)]
    pub end: Option<End>,
}

impl Dispatch {
    /// The first header of this name (case-insensitive).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// How an answer ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Microseconds since 1970.
    pub at: i64,
    /// The status sent; 0 if none was.
    pub status: u16,
    /// Events sent (those with a token, a finish or usage; not comments).
    pub events: u64,
    /// What the provider bills: what was truly read and made.
    pub truth: Tokens,
    /// What the answer said last about usage.
    pub told: Option<Tokens>,
    /// The whole planned answer was written, and the plan was to answer well.
    pub complete: bool,
    /// The client went away before the end.
    pub aborted: Option<Abort>,
    /// Bytes written, with framing.
    pub bytes_out: u64,
    /// Microseconds from the request to the first byte of the answer.
    pub first_byte: Option<i64>,
}

/// How and when a client went away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abort {
    /// Microseconds since 1970 when it was seen.
    pub at: i64,
    /// It was a reset, not an orderly close.
    pub reset: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
enum Line {
    Dispatch(Box<Dispatch>),
    End { number: u64, end: End },
}

/// A journal being written.
#[derive(Debug)]
pub struct Journal {
    file: Option<Mutex<File>>,
    kept: Mutex<VecDeque<Dispatch>>,
    keep: usize,
    next: AtomicU64,
    changed: tokio::sync::watch::Sender<u64>,
}

impl Journal {
    /// Opens a journal that keeps the last `keep` dispatches in memory and writes all to `file`, if given, after
    /// what is there.
    ///
    /// # Errors
    /// When the file cannot be opened or read.
    pub fn open(file: Option<&Path>, keep: usize) -> std::io::Result<Self> {
        let mut next = 1;
        let file = match file {
            Some(path) => {
                if path.exists() {
                    next = load(path)?.iter().map(|dispatch| dispatch.number + 1).max().unwrap_or(1);
                    cut_torn_line(path)?;
                }
                Some(Mutex::new(OpenOptions::new().create(true).append(true).open(path)?))
            }
            None => None,
        };
        let changed = tokio::sync::watch::Sender::new(0);
        Ok(Self { file, kept: Mutex::new(VecDeque::new()), keep, next: AtomicU64::new(next), changed })
    }

    /// Whether anything at all is recorded (a benchmark's upstream records nothing).
    pub(crate) fn records(&self) -> bool {
        self.keep > 0 || self.file.is_some()
    }

    /// Writes a dispatch down and numbers it.
    pub(crate) fn begin(&self, mut dispatch: Dispatch) -> u64 {
        let mut kept = lock(&self.kept);
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        dispatch.number = number;
        if self.file.is_some() {
            self.write(&Line::Dispatch(Box::new(dispatch.clone())));
        }
        if self.keep > 0 {
            if kept.len() == self.keep {
                kept.pop_front();
            }
            kept.push_back(dispatch);
        }
        drop(kept);
        self.changed.send_modify(|changes| *changes += 1);
        number
    }

    /// Writes down how a dispatch ended.
    pub(crate) fn end(&self, number: u64, end: &End) {
        if self.file.is_some() {
            self.write(&Line::End { number, end: end.clone() });
        }
        let mut kept = lock(&self.kept);
        if let Ok(place) = kept.binary_search_by_key(&number, |dispatch| dispatch.number)
            && let Some(dispatch) = kept.get_mut(place)
        {
            dispatch.end = Some(end.clone());
        }
        drop(kept);
        self.changed.send_modify(|changes| *changes += 1);
    }

    fn write(&self, line: &Line) {
        let Some(file) = &self.file else { return };
        if let Ok(mut text) = serde_json::to_vec(line) {
            text.push(b'\n');
            // A journal that cannot be written must not pass for one where nothing happened.
            if let Err(error) = lock(file).write_all(&text) {
                eprintln_once(&error);
            }
        }
    }

    /// What is kept in memory, in the order of arrival.
    #[must_use]
    pub fn all(&self) -> Vec<Dispatch> {
        let mut all: Vec<Dispatch> = lock(&self.kept).iter().cloned().collect();
        all.sort_by_key(|dispatch| dispatch.number);
        all
    }

    /// Dispatches so far, kept or not.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.next.load(Ordering::Relaxed) - 1
    }

    /// The last dispatch.
    #[must_use]
    pub fn last(&self) -> Option<Dispatch> {
        self.all().pop()
    }

    /// Waits until `enough` holds for what is kept in memory, for at most `deadline`; `None` when time is up.
    pub async fn wait<F>(&self, deadline: std::time::Duration, enough: F) -> Option<Vec<Dispatch>>
    where
        F: Fn(&[Dispatch]) -> bool,
    {
        let mut changed = self.changed.subscribe();
        let waiting = async {
            loop {
                let all = self.all();
                if enough(&all) {
                    return all;
                }
                // The sender lives as long as `self`.
                let _ = changed.changed().await;
            }
        };
        tokio::time::timeout(deadline, waiting).await.ok()
    }

    /// Waits until every dispatch has ended.
    pub async fn quiet(&self, deadline: std::time::Duration) -> Option<Vec<Dispatch>> {
        self.wait(deadline, |all| all.iter().all(|dispatch| dispatch.end.is_some())).await
    }
}

#[expect(clippy::print_stderr, reason = "a test tool has nowhere else to say that its record is incomplete")]
fn eprintln_once(error: &std::io::Error) {
    static SAID: std::sync::Once = std::sync::Once::new();
    SAID.call_once(|| eprintln!("fakes: the journal cannot be written: {error}"));
}

/// A poisoned lock only means that another test thread failed; what it guards stays readable.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Reads a journal file: every dispatch with its end, in order. A torn last line is left out.
///
/// # Errors
/// When the file cannot be read, or a line other than the last is not a journal's.
pub fn load(path: &Path) -> std::io::Result<Vec<Dispatch>> {
    let mut all = std::collections::BTreeMap::new();
    let mut lines = BufReader::new(File::open(path)?).lines().enumerate().peekable();
    while let Some((place, line)) = lines.next() {
        match serde_json::from_str(&line?) {
            Ok(Line::Dispatch(dispatch)) => {
                all.insert(dispatch.number, *dispatch);
            }
            Ok(Line::End { number, end }) => {
                if let Some(dispatch) = all.get_mut(&number) {
                    let dispatch: &mut Dispatch = dispatch;
                    dispatch.end = Some(end);
                }
            }
            Err(_) if lines.peek().is_none() => {}
            Err(error) => {
                let message = format!("journal line {}: {error}", place + 1);
                return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, message));
            }
        }
    }
    Ok(all.into_values().collect())
}

/// A writer that was killed may have left half a line; what follows must begin on its own.
fn cut_torn_line(path: &Path) -> std::io::Result<()> {
    let bytes = std::fs::read(path)?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    OpenOptions::new().write(true).open(path)?.set_len(whole as u64)
}

/// Splits `x-request-id` as the gateway sends it: the id alone for the first attempt, `{id}.{n}` for the next.
pub(crate) fn split_id(sent: &str) -> (String, u16) {
    match sent.rsplit_once('.').and_then(|(id, attempt)| Some((id, attempt.parse().ok()?))) {
        Some((id, attempt)) => (id.to_owned(), attempt),
        None => (sent.to_owned(), 1),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_journal_reads_back_and_goes_on() {
        let path = std::env::temp_dir().join(format!(
            "fakes-journal-{}-{}",
            std::process::id(),
            crate::random::micros()
        ));
        let journal = Journal::open(Some(&path), 10).unwrap();
        let number = journal.begin(Dispatch { request_id: Some("a".to_owned()), ..Dispatch::default() });
        journal.end(number, &End { status: 200, ..End::default() });
        journal.begin(Dispatch::default());
        let read = load(&path).unwrap();
        assert_eq!(read, journal.all());
        assert_eq!(read[0].end.as_ref().unwrap().status, 200);
        assert!(read[1].end.is_none());
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"line\":\"en").unwrap();
        assert_eq!(load(&path).unwrap().len(), 2);
        let again = Journal::open(Some(&path), 0).unwrap();
        assert_eq!(again.begin(Dispatch::default()), 3);
        assert_eq!(load(&path).unwrap().len(), 3);
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn attempts_are_told_apart() {
        assert_eq!(split_id("0198-aa"), ("0198-aa".to_owned(), 1));
        assert_eq!(split_id("0198-aa.3"), ("0198-aa".to_owned(), 3));
        assert_eq!(split_id("odd.x"), ("odd.x".to_owned(), 1));
    }
}
