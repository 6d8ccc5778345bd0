//! Damaged files: no panic, and every record that was not touched is recovered.

use super::*;
use crate::disk::Disk;
use crate::read::Record;
use crate::tests::crash::frames;

/// A plain generator: the same variants on every machine.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap_or_default() % bound.max(1)
    }
}

fn written() -> Vec<u8> {
    let bench = Bench::new();
    let mut streams: Vec<_> = (0..4)
        .map(|number| bench.ledger.begin(intent(number, 1, START), bench.free(), false).unwrap())
        .collect();
    for number in 10..16 {
        bench.whole(number, 3);
    }
    streams[0].progress(300, START);
    streams[1].progress(400, START);
    bench.ledger.log_request(log(99, START, 401));
    bench.disk.bytes("00000001.seg").unwrap()
}

fn damaged(segment: &[u8], draw: &mut Draw) -> Vec<u8> {
    let mut bytes = segment.to_vec();
    match draw.below(4) {
        0 => bytes.truncate(draw.below(segment.len())),
        1 => {
            for _ in 0..=draw.below(8) {
                let at = draw.below(bytes.len());
                bytes[at] ^= 1 << draw.below(8);
            }
        }
        // A page of zeros, as a loss of power leaves.
        2 => {
            let from = draw.below(bytes.len());
            let to = (from + draw.below(512)).min(bytes.len());
            bytes[from..to].fill(0);
        }
        // A torn append: the head of a frame, then something else.
        _ => {
            bytes.truncate(draw.below(segment.len()));
            for _ in 0..draw.below(64) {
                bytes.push(u8::try_from(draw.below(256)).unwrap_or_default());
            }
        }
    }
    bytes
}

#[test]
fn ten_thousand_damaged_segments() {
    let segment = written();
    let whole = frames(&segment);
    let mut draw = Draw(0x9E37_79B9_7F4A_7C15);
    let mut lost_something = 0;
    for variant in 0..10_000 {
        let bytes = damaged(&segment, &mut draw);
        // What must be found: frames whose bytes are where they were, untouched.
        let mut offset = 0;
        let mut expected = Vec::new();
        for frame in &whole {
            if bytes.get(offset..offset + frame.len()) == Some(frame) {
                expected.push(frame);
            }
            offset += frame.len();
        }
        lost_something += usize::from(expected.len() < whole.len());
        let disk = MemoryDisk::default();
        disk.put("00000001.seg", &bytes);
        let found = crate::read::records(Box::new(disk.clone()), vec![1]).filter(Result::is_ok).count();
        assert!(found >= expected.len(), "variant {variant}: {found} of {}", expected.len());
        if variant % 10 == 0 {
            // The whole start, with its settlement and its new segment, on every tenth.
            let bench = Bench::on(disk, START);
            assert!(bench.recovery.records >= expected.len() as u64, "variant {variant}");
            let again = bench.after_kill();
            assert_eq!(again.recovery.open_intents_settled, 0, "variant {variant}");
        }
    }
    assert!(lost_something > 5_000, "the damage must do damage: {lost_something}");
}

#[test]
fn garbage_of_any_kind_is_damage_and_not_a_panic() {
    let mut draw = Draw(7);
    for length in [0, 1, 11, 12, 13, 300, 70_000] {
        let magic = crate::frame::MAGIC;
        let patterns: [Vec<u8>; 3] = [
            vec![0; length],
            magic.iter().copied().cycle().take(length).collect(),
            (0..length).map(|_| u8::try_from(draw.below(256)).unwrap_or_default()).collect(),
        ];
        for bytes in patterns {
            let disk = MemoryDisk::default();
            disk.put("00000001.seg", &bytes);
            let bench = Bench::on(disk, START);
            assert_eq!((bench.recovery.records, bench.recovery.damaged_bytes), (0, length as u64));
            bench.whole(1, 1);
        }
    }
}

#[test]
fn a_frame_whose_record_cannot_be_read_costs_only_itself() {
    let segment = written();
    let mut bytes = Vec::new();
    for frame in frames(&segment) {
        // A valid frame of a known kind with nonsense in it before each.
        for kind in [crate::frame::Kind::Intent, crate::frame::Kind::Terminal, crate::frame::Kind::Checkpoint]
        {
            let _: Result<(), ()> = crate::frame::append(&mut bytes, kind, |out| {
                out.extend_from_slice(&[255; 40]);
                Ok(())
            });
        }
        bytes.extend_from_slice(&frame);
    }
    let disk = MemoryDisk::default();
    disk.put("00000001.seg", &bytes);
    let good = Bench::on(disk, START);
    assert_eq!(good.recovery.records, frames(&segment).len() as u64);
    assert_eq!(good.recovery.open_intents_settled, 4);
}

#[test]
fn records_of_a_later_version_are_skipped_and_counted() {
    let segment = written();
    let mut bytes = segment.clone();
    for (kind, version) in [(99, 1), (3, 2)] {
        let start = bytes.len();
        let _: Result<(), ()> = crate::frame::append(&mut bytes, crate::frame::Kind::Mark, |out| {
            out.extend_from_slice(b"from the future");
            Ok(())
        });
        bytes[start + 2] = kind;
        bytes[start + 3] = version;
        let crc = {
            let mut hasher = crc32fast::Hasher::new();
            hasher.update(&bytes[start + 2..start + 8]);
            hasher.update(&bytes[start + 12..]);
            hasher.finalize()
        };
        bytes[start + 8..start + 12].copy_from_slice(&crc.to_le_bytes());
    }
    let disk = MemoryDisk::default();
    disk.put("00000001.seg", &bytes);
    let bench = Bench::on(disk.clone(), START);
    assert_eq!((bench.recovery.unknown, bench.recovery.damaged_bytes), (2, 0));
    let unknown = crate::read::records(Box::new(disk), vec![1])
        .filter(|record| matches!(record, Ok(Record::Unknown { .. })));
    assert_eq!(unknown.count(), 2);
    let store = Store::new();
    bench.drain_to_now(&store);
    assert_eq!(store.rows.lock().entries.len(), 10);
}

#[test]
fn a_segment_that_cannot_be_opened_does_not_stop_the_start() {
    let disk = MemoryDisk::default();
    disk.put("00000001.seg", &written());
    disk.put("notes.txt", b"not ours");
    disk.put("0000000x.seg", b"not ours");
    let bench = Bench::on(disk, START);
    assert_eq!(bench.recovery.damaged_bytes, 0);
    assert!(bench.disk.list().unwrap().contains(&"00000002.seg".to_owned()));
}
