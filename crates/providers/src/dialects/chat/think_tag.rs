//! Thoughts that a server leaves in the content: a leading `<think>…</think>`.
//!
//! Tags may be split over chunks, so as much as could still become a tag is held back, and no more.

const OPEN: &str = "<think>";
const CLOSE: &str = "</think>";
/// More space than this in a row is text: what is held back is looked at again with each piece.
const LONGEST_SPACE: usize = 256;

/// Which side of the tags the text is on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Nothing but space and a beginning of the tag has come.
    #[default]
    Before,
    /// After `<think>`; space at its beginning is not told.
    Inside { begun: bool },
    /// After `</think>`; space before the answer is not told.
    Between,
    /// The rest is the answer.
    After,
}

/// Splits the content of one choice.
#[derive(Debug, Default)]
pub(crate) struct ThinkTag {
    place: Place,
    held: String,
}

/// A piece of content.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// What is thought.
    Thought(String),
    /// What is said.
    Said(String),
}

impl ThinkTag {
    /// Whether the next piece can be passed on without a look.
    pub(crate) fn is_through(&self) -> bool {
        self.place == Place::After
    }

    /// The next piece of content.
    pub(crate) fn push(&mut self, text: &str, out: &mut Vec<Piece>) {
        self.held.push_str(text);
        loop {
            match self.place {
                Place::Before => {
                    let start = self.held.trim_start();
                    if let Some(rest) = start.strip_prefix(OPEN) {
                        self.held = rest.to_owned();
                        self.place = Place::Inside { begun: false };
                    } else if OPEN.starts_with(start) && self.held.len() <= LONGEST_SPACE {
                        return;
                    } else {
                        self.place = Place::After;
                    }
                }
                Place::Inside { begun } => {
                    if let Some(at) = self.held.find(CLOSE) {
                        let rest = self.held.split_off(at);
                        self.think(begun, true, out);
                        self.held = rest[CLOSE.len()..].to_owned();
                        self.place = Place::Between;
                        continue;
                    }
                    let rest = self.held.split_off(self.held.len() - held_back(&self.held));
                    self.think(begun, false, out);
                    self.held = rest;
                    return;
                }
                Place::Between => {
                    let start = self.held.trim_start();
                    if start.is_empty() {
                        self.held.clear();
                        return;
                    }
                    self.held = start.to_owned();
                    self.place = Place::After;
                }
                Place::After => {
                    if !self.held.is_empty() {
                        out.push(Piece::Said(std::mem::take(&mut self.held)));
                    }
                    return;
                }
            }
        }
    }

    /// What was held back, when no more content comes.
    pub(crate) fn end(&mut self, out: &mut Vec<Piece>) {
        let held = std::mem::take(&mut self.held);
        match self.place {
            _ if held.is_empty() => {}
            Place::Inside { .. } => out.push(Piece::Thought(held)),
            _ => out.push(Piece::Said(held)),
        }
        self.place = Place::After;
    }

    /// Tells `held` as thought, without space at the very beginning and end.
    fn think(&mut self, begun: bool, last: bool, out: &mut Vec<Piece>) {
        let mut text = std::mem::take(&mut self.held);
        if !begun {
            text = text.trim_start().to_owned();
        }
        if last {
            text.truncate(text.trim_end().len());
        }
        if !text.is_empty() {
            self.place = Place::Inside { begun: true };
            out.push(Piece::Thought(text));
        }
    }
}

/// How many bytes at the end may belong to the closing tag or to the space before it.
fn held_back(text: &str) -> usize {
    let tag = (1..CLOSE.len()).rev().find(|&length| text.ends_with(&CLOSE[..length])).unwrap_or(0);
    let before = &text[..text.len() - tag];
    let with_space = text.len() - before.trim_end().len();
    if with_space > LONGEST_SPACE { tag } else { with_space }
}
