//! How records lie on disk: postcard, behind the labels of whom they belong to.
//!
//! A payload is `length of labels u32 · labels · record`. Labels stand apart because they repeat from record to
//! record: a reader keeps those it has seen and shares them, instead of making ten strings for each record.
//! Every shape here is written by borrowing and read by owning with one and the same struct, so that the order
//! of fields cannot drift between the two.

use std::collections::HashMap;
use std::sync::Arc;

use policy::{Money, Name, Price, RequestId, Timestamp, Usage};
use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize};

use crate::frame::{self, Kind};
use crate::records::{Basis, Bodies, Entry, EntryKind, Intent, Labels, Outcome, RequestLog, Settlement};

/// An intent as it lies in the spool: with the budget windows that its charge will be taken from.
#[derive(Clone, Debug, PartialEq)]
pub struct IntentRecord {
    /// What is about to be sent.
    pub intent: Intent,
    /// Scope and start of each budget window.
    pub budgets: Vec<(Name, Timestamp)>,
}

/// How far an attempt had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The request.
    pub request_id: RequestId,
    /// Which attempt of it.
    pub attempt_no: u16,
    /// When.
    pub at: Timestamp,
    /// Output tokens seen so far.
    pub output: u64,
}

/// The whole state at one place of the log: what came before it need not be read again.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// When it was taken.
    pub at: Timestamp,
    /// Scope, start of window, spent.
    pub balances: Vec<(Name, Timestamp, Money)>,
    /// Attempts in flight, with how far they had come (output tokens, when).
    pub open: Vec<(IntentRecord, u64, Timestamp)>,
}

/// One record of the spool.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "read one at a time; a box each would cost an allocation each")]
pub enum Record {
    /// Written before dispatch.
    Intent(IntentRecord),
    /// Written while a stream runs.
    Mark(Mark),
    /// The end of an attempt; with the final one comes the request's log line.
    Terminal(Entry, Option<RequestLog>),
    /// The log line of a request that made no attempt.
    Request(RequestLog),
    /// The state at this place.
    Checkpoint(Checkpoint),
    /// Written by a later version; skipped.
    Unknown {
        /// The frame's kind.
        kind: u8,
        /// The frame's version.
        version: u8,
    },
}

#[derive(Serialize, Deserialize)]
struct IntentWire<'a, P, T, B> {
    request_id: RequestId,
    attempt_no: u16,
    at: Timestamp,
    provider: &'a str,
    model: &'a str,
    price: Option<P>,
    input_bound: u64,
    input_estimate: u64,
    output_cap: Option<u64>,
    endpoint: &'a str,
    model_asked: &'a str,
    stream: bool,
    end_user: Option<&'a str>,
    session: Option<&'a str>,
    tags: T,
    budgets: B,
}

#[derive(Serialize, Deserialize)]
struct EntryWire<'a, T, B> {
    request_id: RequestId,
    attempt_no: u16,
    kind: EntryKind,
    seq: u16,
    at: Timestamp,
    settled_at: Timestamp,
    provider: &'a str,
    model: &'a str,
    endpoint: &'a str,
    end_user: Option<&'a str>,
    session: Option<&'a str>,
    tags: T,
    outcome: Outcome,
    usage: Usage,
    basis: Basis,
    estimated: bool,
    cost: Option<Money>,
    charge: Option<Money>,
    price_version: Option<&'a str>,
    budgets: B,
    overrun: bool,
}

#[derive(Serialize, Deserialize)]
struct LogWire<'a, T, B> {
    request_id: RequestId,
    at: Timestamp,
    endpoint: &'a str,
    model_asked: &'a str,
    model_answered: Option<&'a str>,
    provider: &'a str,
    status: u16,
    error_code: Option<&'a str>,
    attempts: u16,
    stream: bool,
    usage: Usage,
    cost: Option<Money>,
    estimated: bool,
    first_byte_us: Option<u64>,
    duration_us: u64,
    gateway_us: u64,
    end_user: Option<&'a str>,
    session: Option<&'a str>,
    tags: T,
    upstream_request_id: Option<&'a str>,
    finish_reason: Option<&'a str>,
    bodies: Option<B>,
}

type Tags = Vec<(Name, Name)>;
type Windows = Vec<(Name, Timestamp)>;
type Balances = Vec<(Name, Timestamp, Money)>;

/// Serialises straight into the shared buffer.
struct Into<'a>(&'a mut Vec<u8>);

impl Flavor for Into<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        match bytes {
            // Most numbers are one byte, and copying it is the smaller part of a call of `memcpy`.
            [one] => self.0.push(*one),
            more => self.0.extend_from_slice(more),
        }
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

fn put<T: Serialize>(out: &mut Vec<u8>, value: &T) -> postcard::Result<()> {
    postcard::serialize_with_flavor(value, Into(out))
}

/// Writes a u32 length before what `inner` writes.
fn sized(
    out: &mut Vec<u8>,
    inner: impl FnOnce(&mut Vec<u8>) -> postcard::Result<()>,
) -> postcard::Result<()> {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    inner(out)?;
    let length = u32::try_from(out.len() - start - 4).map_err(|_| postcard::Error::SerializeBufferFull)?;
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

fn put_labels(out: &mut Vec<u8>, labels: &Labels) -> postcard::Result<()> {
    sized(out, |out| put(out, labels))
}

/// Appends a frame. A record too long for one is refused.
fn framed(
    out: &mut Vec<u8>,
    kind: Kind,
    payload: impl FnOnce(&mut Vec<u8>) -> postcard::Result<()>,
) -> postcard::Result<()> {
    frame::append(out, kind, |out| {
        let start = out.len();
        payload(out)?;
        if out.len() - start > frame::MAX_PAYLOAD {
            return Err(postcard::Error::SerializeBufferFull);
        }
        Ok(())
    })
}

fn intent_payload(out: &mut Vec<u8>, intent: &Intent, budgets: &[(Name, Timestamp)]) -> postcard::Result<()> {
    put_labels(out, &intent.labels)?;
    put(
        out,
        &IntentWire {
            request_id: intent.request_id,
            attempt_no: intent.attempt_no,
            at: intent.at,
            provider: &intent.provider,
            model: &intent.model,
            price: intent.price.as_deref(),
            input_bound: intent.input_bound,
            input_estimate: intent.input_estimate,
            output_cap: intent.output_cap,
            endpoint: &intent.endpoint,
            model_asked: &intent.model_asked,
            stream: intent.stream,
            end_user: intent.end_user.as_deref(),
            session: intent.session.as_deref(),
            tags: intent.tags.as_slice(),
            budgets,
        },
    )
}

/// Appends an intent's frame.
pub(crate) fn intent(
    out: &mut Vec<u8>,
    intent: &Intent,
    budgets: &[(Name, Timestamp)],
) -> postcard::Result<()> {
    framed(out, Kind::Intent, |out| intent_payload(out, intent, budgets))
}

/// Appends a mark's frame.
pub(crate) fn mark(out: &mut Vec<u8>, mark: &Mark) -> postcard::Result<()> {
    framed(out, Kind::Mark, |out| put(out, mark))
}

/// Appends a terminal entry's frame, with the request's log line where the settlement carries one.
pub(crate) fn terminal(
    out: &mut Vec<u8>,
    intent: &Intent,
    settlement: &Settlement,
    budgets: &[(Name, Timestamp)],
    overrun: bool,
) -> postcard::Result<()> {
    framed(out, Kind::Terminal, |out| {
        put_labels(out, &intent.labels)?;
        put(
            out,
            &EntryWire {
                request_id: intent.request_id,
                attempt_no: intent.attempt_no,
                kind: match settlement.outcome {
                    Outcome::NeverDispatched => EntryKind::Void,
                    _ => EntryKind::Settle,
                },
                seq: 0,
                at: intent.at,
                settled_at: settlement.at,
                provider: &intent.provider,
                model: &intent.model,
                endpoint: &intent.endpoint,
                end_user: intent.end_user.as_deref(),
                session: intent.session.as_deref(),
                tags: intent.tags.as_slice(),
                outcome: settlement.outcome,
                usage: settlement.usage,
                basis: settlement.basis,
                estimated: settlement.is_estimated(),
                cost: settlement.cost,
                charge: settlement.charge,
                price_version: intent.price.as_ref().map(|price| &*price.version),
                budgets,
                overrun,
            },
        )?;
        let Some(log) = &settlement.request else {
            out.push(0);
            return Ok(());
        };
        // Labels of its own only where they are not the entry's.
        if Arc::ptr_eq(&log.labels, &intent.labels) || log.labels == intent.labels {
            out.push(1);
        } else {
            out.push(2);
            put_labels(out, &log.labels)?;
        }
        put_log(out, log)
    })
}

/// Appends the frame of a request without attempts.
pub(crate) fn request(out: &mut Vec<u8>, log: &RequestLog) -> postcard::Result<()> {
    framed(out, Kind::Request, |out| {
        put_labels(out, &log.labels)?;
        put_log(out, log)
    })
}

fn put_log(out: &mut Vec<u8>, log: &RequestLog) -> postcard::Result<()> {
    put(
        out,
        &LogWire {
            request_id: log.request_id,
            at: log.at,
            endpoint: &log.endpoint,
            model_asked: &log.model_asked,
            model_answered: log.model_answered.as_deref(),
            provider: &log.provider,
            status: log.status,
            error_code: log.error_code.as_deref(),
            attempts: log.attempts,
            stream: log.stream,
            usage: log.usage,
            cost: log.cost,
            estimated: log.estimated,
            first_byte_us: log.first_byte_us,
            duration_us: log.duration_us,
            gateway_us: log.gateway_us,
            end_user: log.end_user.as_deref(),
            session: log.session.as_deref(),
            tags: log.tags.as_slice(),
            upstream_request_id: log.upstream_request_id.as_deref(),
            finish_reason: log.finish_reason.as_deref(),
            bodies: log.bodies.as_ref(),
        },
    )
}

/// Appends a checkpoint's frame; `open` gives intent, budget windows, and the last mark.
pub(crate) fn checkpoint<'a>(
    out: &mut Vec<u8>,
    at: Timestamp,
    balances: &[(Name, Timestamp, Money)],
    open: impl ExactSizeIterator<Item = (&'a Intent, &'a [(Name, Timestamp)], u64, Timestamp)>,
) -> postcard::Result<()> {
    framed(out, Kind::Checkpoint, |out| {
        put(out, &(at, balances, open.len() as u64))?;
        for (intent, budgets, output, marked_at) in open {
            put(out, &(output, marked_at))?;
            sized(out, |out| intent_payload(out, intent, budgets))?;
        }
        Ok(())
    })
}

/// Reads payloads, sharing the labels that repeat.
#[derive(Default)]
pub(crate) struct Decoder {
    labels: HashMap<Box<[u8]>, Arc<Labels>, foldhash::fast::RandomState>,
    last: Last,
}

/// The names of the record before, to be shared where they come again: mostly they do.
#[derive(Default)]
struct Last {
    provider: Name,
    model: Name,
    endpoint: Name,
    model_asked: Name,
    price_version: Name,
    finish_reason: Name,
}

fn shared(last: &mut Name, text: &str) -> Name {
    if **last != *text {
        *last = text.into();
    }
    Arc::clone(last)
}

/// Labels kept at most: those of the keys that are busy now.
const LABELS_KEPT: usize = 4_096;

impl Decoder {
    /// Whether a frame tells how an attempt or a request ended, which is all that the store keeps.
    pub(crate) fn is_end(kind: u8, version: u8) -> bool {
        matches!(Kind::known(kind, version), Some(Kind::Terminal | Kind::Request))
    }

    /// The record of a whole frame whose checksum held.
    pub(crate) fn record(&mut self, kind: u8, version: u8, payload: &[u8]) -> postcard::Result<Record> {
        match Kind::known(kind, version) {
            Some(Kind::Intent) => Ok(Record::Intent(self.intent(payload)?)),
            Some(Kind::Mark) => Ok(Record::Mark(postcard::from_bytes(payload)?)),
            Some(Kind::Terminal) => self.terminal(payload),
            Some(Kind::Request) => {
                let (labels, rest) = self.labels(payload)?;
                Ok(Record::Request(self.log(labels, rest)?))
            }
            Some(Kind::Checkpoint) => Ok(Record::Checkpoint(self.checkpoint(payload)?)),
            None => Ok(Record::Unknown { kind, version }),
        }
    }

    fn labels<'a>(&mut self, bytes: &'a [u8]) -> postcard::Result<(Arc<Labels>, &'a [u8])> {
        let (blob, rest) = cut_sized(bytes)?;
        if let Some(known) = self.labels.get(blob) {
            return Ok((known.clone(), rest));
        }
        let labels: Arc<Labels> = Arc::new(postcard::from_bytes(blob)?);
        if self.labels.len() >= LABELS_KEPT {
            self.labels.clear();
        }
        self.labels.insert(blob.into(), labels.clone());
        Ok((labels, rest))
    }

    fn intent(&mut self, payload: &[u8]) -> postcard::Result<IntentRecord> {
        let (labels, rest) = self.labels(payload)?;
        let wire: IntentWire<'_, Price, Tags, Windows> = postcard::from_bytes(rest)?;
        let intent = Intent {
            request_id: wire.request_id,
            attempt_no: wire.attempt_no,
            at: wire.at,
            labels,
            provider: wire.provider.into(),
            model: wire.model.into(),
            price: wire.price.map(Arc::new),
            input_bound: wire.input_bound,
            input_estimate: wire.input_estimate,
            output_cap: wire.output_cap,
            endpoint: wire.endpoint.into(),
            model_asked: wire.model_asked.into(),
            stream: wire.stream,
            end_user: wire.end_user.map(Name::from),
            session: wire.session.map(Name::from),
            tags: wire.tags,
        };
        Ok(IntentRecord { intent, budgets: wire.budgets })
    }

    fn terminal(&mut self, payload: &[u8]) -> postcard::Result<Record> {
        let (labels, rest) = self.labels(payload)?;
        let (wire, rest): (EntryWire<'_, Tags, Windows>, _) = postcard::take_from_bytes(rest)?;
        let entry = Entry {
            request_id: wire.request_id,
            attempt_no: wire.attempt_no,
            kind: wire.kind,
            seq: wire.seq,
            at: wire.at,
            settled_at: wire.settled_at,
            labels,
            provider: shared(&mut self.last.provider, wire.provider),
            model: shared(&mut self.last.model, wire.model),
            endpoint: shared(&mut self.last.endpoint, wire.endpoint),
            end_user: wire.end_user.map(Name::from),
            session: wire.session.map(Name::from),
            tags: wire.tags,
            outcome: wire.outcome,
            usage: wire.usage,
            basis: wire.basis,
            estimated: wire.estimated,
            cost: wire.cost,
            charge: wire.charge,
            price_version: wire.price_version.map(|name| shared(&mut self.last.price_version, name)),
            budgets: wire.budgets,
            overrun: wire.overrun,
        };
        let log = match rest.split_first() {
            Some((0, _)) => None,
            Some((1, rest)) => Some(self.log(entry.labels.clone(), rest)?),
            Some((2, rest)) => {
                let (labels, rest) = self.labels(rest)?;
                Some(self.log(labels, rest)?)
            }
            _ => return Err(postcard::Error::DeserializeUnexpectedEnd),
        };
        Ok(Record::Terminal(entry, log))
    }

    fn log(&mut self, labels: Arc<Labels>, bytes: &[u8]) -> postcard::Result<RequestLog> {
        let wire: LogWire<'_, Tags, Bodies> = postcard::from_bytes(bytes)?;
        Ok(RequestLog {
            request_id: wire.request_id,
            at: wire.at,
            labels,
            endpoint: shared(&mut self.last.endpoint, wire.endpoint),
            model_asked: shared(&mut self.last.model_asked, wire.model_asked),
            model_answered: wire.model_answered.map(|name| shared(&mut self.last.model, name)),
            provider: shared(&mut self.last.provider, wire.provider),
            status: wire.status,
            error_code: wire.error_code.map(Name::from),
            attempts: wire.attempts,
            stream: wire.stream,
            usage: wire.usage,
            cost: wire.cost,
            estimated: wire.estimated,
            first_byte_us: wire.first_byte_us,
            duration_us: wire.duration_us,
            gateway_us: wire.gateway_us,
            end_user: wire.end_user.map(Name::from),
            session: wire.session.map(Name::from),
            tags: wire.tags,
            upstream_request_id: wire.upstream_request_id.map(Name::from),
            finish_reason: wire.finish_reason.map(|name| shared(&mut self.last.finish_reason, name)),
            bodies: wire.bodies,
        })
    }

    fn checkpoint(&mut self, payload: &[u8]) -> postcard::Result<Checkpoint> {
        let ((at, balances, count), mut rest): ((Timestamp, Balances, u64), _) =
            postcard::take_from_bytes(payload)?;
        let mut open = Vec::new();
        for _ in 0..count {
            let ((output, marked_at), after): ((u64, Timestamp), _) = postcard::take_from_bytes(rest)?;
            let (intent, after) = cut_sized(after)?;
            open.push((self.intent(intent)?, output, marked_at));
            rest = after;
        }
        Ok(Checkpoint { at, balances, open })
    }
}

fn cut_sized(bytes: &[u8]) -> postcard::Result<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or(postcard::Error::DeserializeUnexpectedEnd)?;
    let length = u32::from_le_bytes(*length) as usize;
    rest.split_at_checked(length).ok_or(postcard::Error::DeserializeUnexpectedEnd)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spools outlive the program that wrote them.
    #[test]
    fn an_id_lies_in_the_spool_as_its_sixteen_bytes() {
        for byte in [0, 1, 0x7f, 0x80, 0xf0, 0xff] {
            let id = RequestId::from_bytes(std::array::from_fn(|at| byte ^ (at as u8)));
            let mut written = Vec::new();
            assert_eq!(put(&mut written, &id), Ok(()));
            assert_eq!(written, id.as_bytes());
            assert_eq!(postcard::from_bytes(&written), Ok(id));
        }
    }
}
