//! The start: what the last process left in the spool.
//!
//! Records may come twice (a batch that was written anew after a failed sync), late (an intent after its terminal
//! entry) or not at all (damage). So every record is taken by what it is about, not by where it stands: an entry
//! counts once, an ended attempt is not opened again, and a checkpoint replaces everything before it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use policy::{Name, RequestId, Timestamp, Usage};

use crate::budgets::Budgets;
use crate::disk::Disk;
use crate::pending::{Batch, Pending};
use crate::read::{Found, SegmentReader};
use crate::records::{Basis, Entry, Intent, Outcome, RequestLog, Settlement};
use crate::segments::{Segment, Segments, file_name};
use crate::wire::{self, Checkpoint, Decoder, IntentRecord, Record};

type Key = (RequestId, u16);

/// An attempt without an end, and how far it had come.
struct Open {
    record: IntentRecord,
    output: u64,
    marked_at: Timestamp,
}

/// The state of the spool after all its records.
pub(crate) struct Replay {
    pub(crate) budgets: Budgets,
    pub(crate) segments: Segments,
    open: HashMap<Key, Open>,
    ended: HashSet<(Key, u16)>,
    pub(crate) records: u64,
    pub(crate) damaged_bytes: u64,
    pub(crate) unknown: u64,
    /// No record and no checkpoint was found: this spool remembers nothing.
    pub(crate) fresh: bool,
}

impl Replay {
    /// Reads the segments `numbers`, ascending. Records from `drained` (segment, offset) on are counted as not
    /// drained yet.
    pub(crate) fn read(disk: &dyn Disk, numbers: &[u64], drained: (u64, u64)) -> Self {
        let mut replay = Self {
            budgets: Budgets::new(),
            segments: Segments::default(),
            open: HashMap::new(),
            ended: HashSet::new(),
            records: 0,
            damaged_bytes: 0,
            unknown: 0,
            fresh: true,
        };
        let mut decoder = Decoder::default();
        for number in numbers {
            replay.segment(disk, *number, drained, &mut decoder);
        }
        replay
    }

    fn segment(&mut self, disk: &dyn Disk, number: u64, drained: (u64, u64), decoder: &mut Decoder) {
        let name = file_name(number);
        let opened = disk.open(&name).and_then(|file| file.length().map(|length| (file, length)));
        let (file, length) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                // Left where it is: what cannot be read today may be readable elsewhere.
                tracing::error!("segment {number:08} cannot be opened and is left out: {error}");
                return;
            }
        };
        self.segments.add(Segment::found(number, length));
        let mut reader = SegmentReader::new(file, 0);
        loop {
            let at = (number, reader.offset());
            match reader.next(length, decoder) {
                Ok(Some(Found::Record(record))) => self.record(record, at >= drained),
                Ok(Some(Found::Other)) => {}
                Ok(Some(Found::Damage { offset, bytes, what })) => {
                    self.damaged_bytes += bytes;
                    tracing::warn!("segment {number:08}: {bytes} bytes at {offset} are damaged: {what}");
                }
                Ok(None) => return,
                Err(error) => {
                    let bytes = length.saturating_sub(reader.offset());
                    self.damaged_bytes += bytes;
                    tracing::error!("segment {number:08}: {bytes} bytes cannot be read: {error}");
                    return;
                }
            }
        }
    }

    fn record(&mut self, record: Record, undrained: bool) {
        self.records += 1;
        self.fresh = false;
        if undrained && matches!(record, Record::Terminal(..) | Record::Request(_)) {
            self.segments.written.fetch_add(1, Ordering::Relaxed);
        }
        match record {
            Record::Intent(record) => {
                let (output, marked_at) = (0, record.intent.at);
                self.opened(Open { record, output, marked_at });
            }
            Record::Mark(mark) => {
                if let Some(open) = self.open.get_mut(&(mark.request_id, mark.attempt_no))
                    && mark.output >= open.output
                {
                    (open.output, open.marked_at) = (mark.output, mark.at);
                }
            }
            Record::Terminal(entry, _) => self.terminal(&entry),
            Record::Request(_) => {}
            Record::Checkpoint(Checkpoint { balances, open, .. }) => {
                self.budgets.restart(&balances);
                self.open.clear();
                for (record, output, marked_at) in open {
                    self.opened(Open { record, output, marked_at });
                }
            }
            Record::Unknown { .. } => self.unknown += 1,
        }
    }

    fn opened(&mut self, open: Open) {
        let key = (open.record.intent.request_id, open.record.intent.attempt_no);
        if !self.ended.contains(&(key, 0)) {
            // The same intent again must not forget how far it had come.
            self.open.entry(key).or_insert(open);
        }
    }

    fn terminal(&mut self, entry: &Entry) {
        let key = (entry.request_id, entry.attempt_no);
        self.open.remove(&key);
        if !self.ended.insert((key, entry.seq)) {
            return;
        }
        if let Some(charge) = entry.charge {
            for (scope, start) in &entry.budgets {
                self.budgets.charge_again(scope, *start, charge);
            }
        }
    }

    /// Ends every attempt that was left open, from its last mark: the entries, for the head of the new segment.
    pub(crate) fn settle_open(&mut self, now: Timestamp) -> (Batch, u64) {
        let mut pending = Pending::default();
        let mut open: Vec<Open> = std::mem::take(&mut self.open).into_values().collect();
        open.sort_unstable_by_key(|open| (open.record.intent.at, open.record.intent.request_id));
        let mut settled = 0;
        for Open { record: IntentRecord { intent, budgets }, output, marked_at } in open {
            let settlement = from_mark(&intent, output, marked_at, now, Basis::Crashed);
            let said = pending.drainable(|out| wire::terminal(out, &intent, &settlement, &budgets, false));
            if said.is_err() {
                continue;
            }
            if let Some(charge) = settlement.charge {
                for (scope, start) in &budgets {
                    self.budgets.charge_again(scope, *start, charge);
                }
            }
            settled += 1;
        }
        (pending.batch, settled)
    }
}

/// The settlement of an attempt of which only the last mark is known: the estimated input, and the output seen.
pub(crate) fn from_mark(
    intent: &Intent,
    output: u64,
    seen_at: Timestamp,
    now: Timestamp,
    basis: Basis,
) -> Settlement {
    let usage = Usage { input: Some(intent.input_estimate), output: Some(output), ..Usage::default() };
    let cost = intent.price.as_ref().and_then(|price| price.cost(&usage));
    let code = if basis == Basis::Crashed { "crashed" } else { "dropped" };
    let request = RequestLog {
        request_id: intent.request_id,
        at: intent.at,
        labels: Arc::clone(&intent.labels),
        endpoint: intent.endpoint.clone(),
        model_asked: intent.model_asked.clone(),
        model_answered: None,
        provider: intent.provider.clone(),
        status: 0,
        error_code: Some(Name::from(code)),
        attempts: intent.attempt_no,
        stream: intent.stream,
        usage,
        cost,
        estimated: true,
        first_byte_us: None,
        duration_us: u64::try_from(seen_at.since(intent.at).as_micros()).unwrap_or(u64::MAX),
        gateway_us: 0,
        end_user: intent.end_user.clone(),
        session: intent.session.clone(),
        tags: intent.tags.clone(),
        upstream_request_id: None,
        finish_reason: None,
        bodies: None,
    };
    Settlement {
        at: now,
        outcome: Outcome::UpstreamFailed,
        usage,
        basis,
        cost,
        charge: cost,
        request: Some(Box::new(request)),
    }
}
