//! Aligned columns for people: names to the left, numbers to the right, nothing cut, nothing boxed in.

use crate::terminal::{Terminal, Tone, harmless};
use std::io;

/// Which side a column leans to.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum Lean {
    Left,
    Right,
}

/// Rows that are all known before the first is printed.
pub(crate) struct Table {
    heads: Vec<(&'static str, Lean)>,
    rows: Vec<Vec<(String, Tone)>>,
}

impl Table {
    pub(crate) fn new(heads: &[(&'static str, Lean)]) -> Self {
        Self { heads: heads.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; cells beyond the heads are dropped, missing ones are empty.
    pub(crate) fn row(&mut self, cells: Vec<(String, Tone)>) {
        self.rows.push(cells.into_iter().map(|(text, tone)| (harmless(&text, false), tone)).collect());
    }

    /// Prints heads and rows; columns in which every cell is empty are left out.
    pub(crate) fn print(&self, terminal: &mut Terminal) -> io::Result<()> {
        let widths = self.widths();
        let heads: Vec<(String, Tone)> =
            self.heads.iter().map(|(head, _)| ((*head).to_owned(), Tone::Quiet)).collect();
        for row in std::iter::once(&heads).chain(&self.rows) {
            let line = self.lay_out(row, &widths, terminal);
            terminal.line(line.trim_end())?;
        }
        Ok(())
    }

    fn widths(&self) -> Vec<usize> {
        let cell =
            |row: &Vec<(String, Tone)>, column: usize| row.get(column).map_or(0, |(text, _)| width(text));
        (0..self.heads.len())
            .map(|column| {
                let widest = self.rows.iter().map(|row| cell(row, column)).max().unwrap_or(0);
                if widest == 0 && !self.rows.is_empty() { 0 } else { widest.max(width(self.heads[column].0)) }
            })
            .collect()
    }

    fn lay_out(&self, row: &[(String, Tone)], widths: &[usize], terminal: &Terminal) -> String {
        let mut line = String::new();
        for (column, (_, lean)) in self.heads.iter().enumerate().filter(|(column, _)| widths[*column] > 0) {
            if !line.is_empty() {
                line.push_str("  ");
            }
            let empty = (String::new(), Tone::Plain);
            let (text, tone) = row.get(column).unwrap_or(&empty);
            let space = " ".repeat(widths[column].saturating_sub(width(text)));
            let painted = terminal.paint(*tone, text);
            match lean {
                Lean::Left => line.extend([painted, space]),
                Lean::Right => line.extend([space, painted]),
            }
        }
        line
    }
}

/// Columns that a terminal gives to a text: two for the wide scripts of East Asia, none for combining marks.
pub(crate) fn width(text: &str) -> usize {
    text.chars()
        .map(|c| match u32::from(c) {
            0x300..=0x36f | 0x200b..=0x200f | 0xfe00..=0xfe0f => 0,
            0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f => 2,
            0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x1f300..=0x1faff | 0x2_0000..=0x3_fffd => 2,
            _ => 1,
        })
        .sum()
}

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn columns_line_up_whatever_the_script() {
        let paper = Paper::default();
        let mut terminal = Terminal::plain(Box::new(paper.clone()));
        let mut table = Table::new(&[("NAME", Lean::Left), ("EMPTY", Lean::Left), ("COST", Lean::Right)]);
        table.row(vec![
            ("明天".into(), Tone::Plain),
            (String::new(), Tone::Plain),
            ("1.50".into(), Tone::Plain),
        ]);
        table.row(vec![
            ("app\x1b[1m".into(), Tone::Plain),
            (String::new(), Tone::Plain),
            ("12.00".into(), Tone::Good),
        ]);
        table.print(&mut terminal).unwrap();
        let text = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text, "NAME      COST\n明天      1.50\napp\u{fffd}[1m  12.00\n");
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000), "1,000");
        assert_eq!(grouped(12_345_678), "12,345,678");
    }
}
