//! What Redis is told, and how its answers are read: one function, `count.lua`.
//!
//! It is loaded as a function, named by a digest of its text, so that nodes of two versions never call each other's. A server
//! without functions (before 7, or where they are forbidden) gets the same text as a script.

use policy::{Full, Granted, Verdict, Wanted};
use redis::{Cmd, Pipeline, RedisError, RedisResult, Value};
use sha2::{Digest, Sha256};
use smallvec::SmallVec;

use crate::counters::{Place, PlaceCounter, RateCounter};
use std::sync::Arc;

const BODY: &str = include_str!("count.lua");
/// All keys lie in one slot, so that a call may name several where Redis is in parts.
pub(crate) const PREFIX: &str = "tidegate:{limits}:";
const NANO: u64 = 1_000_000_000;

/// How the function is called.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    name: String,
    /// The digest of the script, where there are no functions.
    script: Option<String>,
    /// In place of the server's time; for tests.
    at: String,
}

impl Door {
    pub(crate) fn new() -> Self {
        let digest = Sha256::digest(BODY);
        let name = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect::<String>();
        Self { name: format!("tidegate_{name}"), script: None, at: String::new() }
    }

    /// The same at another time than the server's.
    #[cfg(test)]
    pub(crate) fn at(&self, nanos: u64) -> Self {
        Self { at: format!("{}.{}", nanos / NANO, nanos % NANO), ..self.clone() }
    }

    /// Brings the text to the server.
    pub(crate) async fn load(
        &mut self,
        connection: &mut redis::aio::MultiplexedConnection,
    ) -> RedisResult<()> {
        let name = &self.name;
        let text = format!(
            "#!lua name={name}\n{BODY}\nredis.register_function('{name}', function(keys, args)\n  \
             return VERBS[args[1]](keys, args)\nend)\n"
        );
        let loaded = redis::cmd("FUNCTION").arg("LOAD").arg(text).query_async::<Value>(connection).await;
        match loaded {
            Ok(_) => self.script = None,
            Err(error) if says(&error, "already exists") => self.script = None,
            Err(error) if error.is_io_error() || error.is_timeout() => return Err(error),
            Err(_) => {
                let text = format!("{BODY}\nreturn VERBS[ARGV[1]](KEYS, ARGV)\n");
                let sha = redis::cmd("SCRIPT").arg("LOAD").arg(text).query_async(connection).await?;
                self.script = Some(sha);
            }
        }
        Ok(())
    }

    /// Whether the server has lost the text.
    pub(crate) fn is_lost(error: &RedisError) -> bool {
        says(error, "Function not found") || says(error, "NOSCRIPT") || says(error, "No matching script")
    }

    fn call(&self, verb: &str, node: &str, keys: &[&str]) -> Cmd {
        let mut call = match &self.script {
            None => redis::cmd("FCALL"),
            Some(_) => redis::cmd("EVALSHA"),
        };
        call.arg(self.script.as_ref().unwrap_or(&self.name)).arg(keys.len() + 1).arg(nodes_key());
        for key in keys {
            call.arg(*key);
        }
        call.arg(verb).arg(&self.at).arg(node);
        call
    }

    /// Takes all that is wanted, or nothing.
    pub(crate) fn take(&self, node: &str, asked: &[Asked]) -> Cmd {
        let keys: SmallVec<[&str; 8]> = asked.iter().flat_map(Asked::keys).collect();
        let mut call = self.call("take", node, &keys);
        for one in asked {
            call.arg(u8::from(one.wanted.shadow)).arg(one.things());
            if let (Some(_), Some(most)) = (&one.place, one.wanted.places()) {
                call.arg("p").arg(most);
            }
            for (_, bucket, amount) in one.wanted.debits() {
                let (span_s, span_n) = pair(bucket.span());
                call.arg("r").arg(span_s).arg(span_n);
                match bucket.limit() {
                    0 => call.arg(-1).arg(0),
                    _ => {
                        let (cost_s, cost_n) = pair(bucket.cost(amount));
                        call.arg(cost_s).arg(cost_n)
                    }
                };
            }
        }
        call
    }

    /// Puts a rate right by so many nanoseconds, either way.
    pub(crate) fn correct(&self, node: &str, key: &str, by: i64) -> Cmd {
        let (s, n) = pair(by.unsigned_abs());
        let mut call = self.call("correct", node, &[key]);
        call.arg(if by < 0 { "-" } else { "+" }).arg(s).arg(n);
        call
    }

    /// So many places more or fewer.
    pub(crate) fn places(&self, node: &str, key: &str, by: i64) -> Cmd {
        let mut call = self.call("places", node, &[key]);
        call.arg(by);
        call
    }

    /// Takes at most so much of a rate in advance, nanoseconds.
    pub(crate) fn lease(&self, node: &str, key: &str, span: u64, want: u64) -> Cmd {
        let ((span_s, span_n), (want_s, want_n)) = (pair(span), pair(want));
        let mut call = self.call("lease", node, &[key]);
        call.arg(span_s).arg(span_n).arg(want_s).arg(want_n);
        call
    }

    /// This node is there.
    pub(crate) fn beat(&self, node: &str) -> Cmd {
        self.call("beat", node, &[])
    }

    /// This node is not there any more.
    pub(crate) fn leave(&self, node: &str) -> Cmd {
        self.call("leave", node, &[])
    }
}

fn nodes_key() -> String {
    format!("{PREFIX}nodes")
}

fn says(error: &RedisError, words: &str) -> bool {
    error.to_string().contains(words)
}

fn pair(nanos: u64) -> (u64, u64) {
    (nanos / NANO, nanos % NANO)
}

/// One part of what is asked for, with where it is counted.
pub(crate) struct Asked {
    pub(crate) wanted: Wanted,
    pub(crate) place: Option<Arc<PlaceCounter>>,
    /// As [`Wanted::debits`].
    pub(crate) rates: SmallVec<[Arc<RateCounter>; 2]>,
}

impl Asked {
    fn keys(&self) -> impl Iterator<Item = &str> {
        let place = self.place.iter().map(|place| place.key());
        place.chain(self.rates.iter().map(|rate| rate.key()))
    }

    pub(crate) fn things(&self) -> usize {
        usize::from(self.place.is_some()) + self.rates.len()
    }

    /// What the server said of this part: which thing refused, and how far each is from full.
    fn judge(&self, told: &[i64], taken: bool) -> Option<Verdict> {
        let (refused, things) = told.split_first()?;
        let mut ahead = things.chunks_exact(2).map(|pair| nanos(pair[0], pair[1]));
        let refused = usize::try_from(*refused).ok()?;
        if self.place.is_some() {
            ahead.next()?;
            if refused == 1 {
                return Some(Err(Full::Concurrency(self.wanted.places()?)));
            }
        }
        let mut standing = None;
        for (at, (rate, bucket, amount)) in self.wanted.debits().enumerate() {
            let ahead = ahead.next()?;
            if refused == usize::from(self.place.is_some()) + at + 1 {
                return Some(Err(Full::Rate(rate, bucket.refusal(ahead, amount))));
            }
            let own = bucket.standing_at(ahead);
            standing = Some(own).into_iter().chain(standing).min_by_key(|standing| standing.remaining);
        }
        if !taken {
            return Some(Ok(Granted { standing, ..Granted::default() }));
        }
        let place = self.place.as_ref().map(|place| Box::new(Place::granted(place)) as Box<_>);
        let debits = self.rates.iter().map(|rate| Arc::clone(rate) as Arc<_>).collect();
        Some(Ok(Granted { standing, debits, place }))
    }
}

/// Nanoseconds of a pair that the server told; what it cannot be is nothing.
pub(crate) fn nanos(seconds: i64, below: i64) -> u64 {
    let (seconds, below) = (u64::try_from(seconds).unwrap_or(0), u64::try_from(below).unwrap_or(0));
    seconds.saturating_mul(NANO).saturating_add(below)
}

/// Reads the answer to [`Door::take`]: a verdict for each part, or up to the one that refused; then nothing is taken.
pub(crate) fn verdicts(asked: &[Asked], answer: &Value) -> Option<Vec<Verdict>> {
    let Value::Array(parts) = answer else { return None };
    let told: Vec<_> = parts.iter().map(integers).collect::<Option<_>>()?;
    let refuses = |(asked, told): (&Asked, &SmallVec<[i64; 8]>)| {
        !asked.wanted.shadow && told.first().is_none_or(|which| *which != 0)
    };
    let refused = asked.iter().zip(&told).any(refuses);
    if told.len() != asked.len() && !refused {
        return None;
    }
    asked.iter().zip(&told).map(|(asked, told)| asked.judge(told, !refused)).collect()
}

pub(crate) fn integers(value: &Value) -> Option<SmallVec<[i64; 8]>> {
    let Value::Array(items) = value else { return None };
    items.iter().map(|item| if let Value::Int(number) = item { Some(*number) } else { None }).collect()
}

/// A pipeline of which each answer is told apart.
pub(crate) fn pipeline() -> Pipeline {
    let mut pipeline = redis::pipe();
    pipeline.ignore_errors();
    pipeline
}
