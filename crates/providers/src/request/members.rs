//! The visitor behind `read`: the places of the members that matter, and the weight of all the rest.

use super::known::{Key, Known, Place, recognize};
use super::weigh::Scale;
use super::{BadRequest, Operation};
use crate::json::{Span, StringToken, Visitor};

/// What one pass over a body collects.
pub(super) struct Members {
    pub(super) is_object: bool,
    /// The first key that two readers could take differently.
    pub(super) refusal: Option<BadRequest>,
    /// The end of the last member's value: where another can be appended.
    pub(super) last_end: usize,
    pub(super) scale: Scale,
    places: [Option<Place>; Known::COUNT],
    /// Which labels have come in another spelling.
    respelled: [bool; Known::COUNT],
    /// The known member whose value is walked now.
    current: Option<Known>,
    /// Where the container began that is a top-level value.
    container: usize,
    /// The end of the value before `models`, and the beginning of the key after it.
    around_models: (usize, Option<usize>),
}

impl Members {
    pub(super) fn new(operation: Operation) -> Self {
        Self {
            is_object: false,
            refusal: None,
            last_end: 0,
            scale: Scale::new(operation),
            places: [None; Known::COUNT],
            respelled: [false; Known::COUNT],
            current: None,
            container: 0,
            around_models: (0, None),
        }
    }

    /// The value of a known member, `null` included.
    pub(super) fn span(&self, known: Known) -> Option<Span> {
        self.places[known as usize].map(|place| place.value)
    }

    /// The bytes of a known member's value, unless it is absent or `null`.
    pub(super) fn value<'t>(&self, text: &'t [u8], known: Known) -> Option<&'t [u8]> {
        self.span(known).map(|span| span.of(text)).filter(|value| *value != b"null")
    }

    /// `models` with the one comma that must go with it.
    pub(super) fn models_cut(&self) -> Option<Span> {
        let place = self.places[Known::Models as usize]?;
        Some(match self.around_models {
            (_, Some(next_key)) => Span::new(place.key_start, next_key),
            (0, None) => Span::new(place.key_start, place.value.end),
            (before, None) => Span::new(before, place.value.end),
        })
    }

    fn top_level_key(&mut self, text: &[u8], key: StringToken) {
        let key_start = key.outer().start;
        if self.current == Some(Known::Models) {
            self.around_models.1 = Some(key_start);
        }
        self.current = None;
        match recognize(text, key) {
            Key::Is(known) => {
                if self.places[known as usize].is_some() {
                    let message = format!("`{}` is given more than once", known.name());
                    return self.refuse(known, "duplicate_parameter", message);
                }
                if self.respelled[known as usize] {
                    return self.refuse_twin(known);
                }
                if known == Known::Models {
                    self.around_models = (self.last_end, None);
                }
                self.places[known as usize] = Some(Place { key_start, value: Span::default() });
                self.current = Some(known);
            }
            Key::Resembles(known) if known.is_label() => {
                self.respelled[known as usize] = true;
                if self.places[known as usize].is_some() {
                    return self.refuse_twin(known);
                }
            }
            Key::Resembles(known) => {
                let (name, spelled) = (known.name(), String::from_utf8_lossy(key.inner.of(text)));
                let message = format!("`{spelled}` is not a parameter; write `{name}`");
                self.refuse(known, "unknown_parameter", message);
            }
            Key::Other => {}
        }
        self.scale.member(key.inner.of(text));
    }

    fn refuse_twin(&mut self, known: Known) {
        let message = format!("`{}` is given twice, once with other capitals", known.name());
        self.refuse(known, "duplicate_parameter", message);
    }

    #[cold]
    fn refuse(&mut self, known: Known, code: &'static str, message: String) {
        self.refusal.get_or_insert_with(|| BadRequest::new(known.name(), code, message));
    }

    fn top_level_value(&mut self, value: Span) {
        self.last_end = value.end;
        if let Some(known) = self.current
            && let Some(place) = &mut self.places[known as usize]
        {
            place.value = value;
        }
    }
}

impl Visitor for Members {
    fn key(&mut self, depth: usize, text: &[u8], key: StringToken) {
        if depth == 1 {
            self.top_level_key(text, key);
        } else {
            self.scale.key(depth, key.inner.of(text));
        }
    }

    fn string(&mut self, depth: usize, text: &[u8], string: StringToken) {
        if depth == 1 {
            self.top_level_value(string.outer());
        }
        self.scale.string(depth, string.inner.of(text));
    }

    fn scalar(&mut self, depth: usize, _: &[u8], span: Span) {
        if depth == 1 {
            self.top_level_value(span);
        }
        self.scale.scalar(depth, span.len());
    }

    fn open(&mut self, depth: usize, _: &[u8], at: usize, is_object: bool) {
        match depth {
            0 => self.is_object = is_object,
            1 => self.container = at,
            _ => {}
        }
        self.scale.open(depth, is_object);
    }

    fn close(&mut self, depth: usize, _: &[u8], end: usize) {
        if depth == 1 {
            self.top_level_value(Span::new(self.container, end));
        }
    }
}
