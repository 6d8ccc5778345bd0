//! How far the store has got, remembered in a small file.
//!
//! Best effort: without it the drain begins at the oldest segment, and everything comes twice and counts once. So
//! it is overwritten in place, and a checksum says whether it is whole.

use crate::disk::Disk;

pub(crate) const NAME: &str = "drained";

/// The remembered position (segment, offset), when there is one.
pub(crate) fn read(disk: &dyn Disk) -> Option<(u64, u64)> {
    let mut text = [0; 128];
    let read = disk.open(NAME).and_then(|file| file.read_at(&mut text, 0)).ok()?;
    parse(std::str::from_utf8(&text[..read]).ok()?)
}

/// Remembers `position`.
pub(crate) fn write(disk: &dyn Disk, position: (u64, u64)) {
    // A disk that refuses this costs repetition after a restart and nothing else.
    let _ = disk.overwrite(NAME, format(position).as_bytes());
}

fn format((number, offset): (u64, u64)) -> String {
    let place = format!("{number:08} {offset:012}");
    format!("{place} {:08x}\n", crc32fast::hash(place.as_bytes()))
}

fn parse(text: &str) -> Option<(u64, u64)> {
    let (place, crc) = text.trim_end().rsplit_once(' ')?;
    if u32::from_str_radix(crc, 16).ok()? != crc32fast::hash(place.as_bytes()) {
        return None;
    }
    let (number, offset) = place.split_once(' ')?;
    Some((number.parse().ok()?, offset.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_back_and_a_torn_one_does_not() {
        let text = format((7, 123_456));
        assert_eq!(parse(&text), Some((7, 123_456)));
        for cut in 0..text.len() - 1 {
            assert_eq!(parse(&text[..cut]), None, "cut at {cut}");
        }
        assert_eq!(parse(&text.replace('7', "8")), None);
    }
}
