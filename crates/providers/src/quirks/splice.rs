//! Surgery on JSON text: members taken out, replaced, renamed and added, everything else byte for byte.

use bytes::Bytes;

use crate::json::{Object, Span, StringToken, Visitor, scan_document, top_level};

/// Replacements in one text, to be made together.
#[derive(Debug, Default)]
pub(super) struct Splices(Vec<(Span, Vec<u8>)>);

impl Splices {
    /// Puts `with` in the place of a span. Spans must not overlap; an empty one inserts.
    pub(super) fn put(&mut self, span: Span, with: impl Into<Vec<u8>>) {
        self.0.push((span, with.into()));
    }

    /// Takes over the splices of a part of the text that begins at `base`.
    pub(super) fn take(&mut self, inner: Self, base: usize) {
        let moved = |span: Span| Span::new(span.start + base, span.end + base);
        self.0.extend(inner.0.into_iter().map(|(span, with)| (moved(span), with)));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text with all of them made; the very bytes when there are none.
    pub(super) fn apply(mut self, text: &Bytes) -> Bytes {
        if self.0.is_empty() {
            return text.clone();
        }
        // By where they end: an insertion after the last member comes after the removal of that member.
        self.0.sort_by_key(|(span, _)| (span.end, span.start));
        let added: usize = self.0.iter().map(|(_, with)| with.len()).sum();
        let mut out = Vec::with_capacity(text.len() + added);
        let mut copied = 0;
        for (span, with) in &self.0 {
            out.extend_from_slice(text.get(copied..span.start).unwrap_or_default());
            out.extend_from_slice(with);
            copied = span.end.max(copied);
        }
        out.extend_from_slice(text.get(copied..).unwrap_or_default());
        out.into()
    }
}

/// The members of one object, and what shall become of them.
pub(super) struct Members<'t> {
    text: &'t [u8],
    object: Object,
    gone: Vec<bool>,
    replaced: Vec<(Span, Vec<u8>)>,
    added: Vec<u8>,
}

impl<'t> Members<'t> {
    /// Of an object's text; `None` when it is none.
    pub(super) fn of(text: &'t [u8]) -> Option<Self> {
        let object = top_level(text).ok()?;
        let gone = vec![false; object.fields.len()];
        Some(Self { text, object, gone, replaced: Vec::new(), added: Vec::new() })
    }

    /// The value of the last member of this name, unless absent or `null`.
    pub(super) fn value(&self, name: &str) -> Option<&'t [u8]> {
        self.object.value(self.text, name)
    }

    /// Where that value stands.
    pub(super) fn span(&self, name: &str) -> Option<Span> {
        self.object
            .find(self.text, name)
            .map(|field| field.value)
            .filter(|span| span.of(self.text) != b"null")
    }

    /// Whether there is a member of this name, `null` included.
    pub(super) fn has(&self, name: &str) -> bool {
        self.object.find(self.text, name).is_some()
    }

    /// Takes out every member of this name; says whether any had a value.
    pub(super) fn remove(&mut self, name: &str) -> bool {
        let mut said = false;
        for (field, gone) in self.object.fields.iter().zip(&mut self.gone) {
            if field.key_is(self.text, name) {
                said |= !*gone && field.value.of(self.text) != b"null";
                *gone = true;
            }
        }
        said
    }

    /// Gives every member of this name another value.
    pub(super) fn replace(&mut self, name: &str, with: &[u8]) {
        for field in &self.object.fields {
            if field.key_is(self.text, name) {
                self.replaced.push((field.value, with.to_vec()));
            }
        }
    }

    /// Gives every member of this name another name.
    pub(super) fn rename(&mut self, name: &str, to: &str) {
        for field in &self.object.fields {
            if field.key_is(self.text, name) {
                self.replaced.push((field.key, format!("\"{to}\"").into_bytes()));
            }
        }
    }

    /// Adds a member at the end.
    pub(super) fn add(&mut self, name: &str, value: &[u8]) {
        self.added.extend_from_slice(b",\"");
        self.added.extend_from_slice(name.as_bytes());
        self.added.extend_from_slice(b"\":");
        self.added.extend_from_slice(value);
    }

    /// Everything as splices of the object's text.
    pub(super) fn splices(self) -> Splices {
        let Self { text, object, gone, replaced, mut added } = self;
        let mut splices = Splices::default();
        let fields = &object.fields;
        let kept = |span: &Span| {
            let inside = |(field, gone): (&crate::json::Field, &bool)| {
                *gone && field.key.start <= span.start && span.end <= field.value.end
            };
            !fields.iter().zip(&gone).any(inside)
        };
        splices.0.extend(replaced.into_iter().filter(|(span, _)| kept(span)));
        let mut at = 0;
        while at < fields.len() {
            if !gone[at] {
                at += 1;
                continue;
            }
            let first = at;
            while at < fields.len() && gone[at] {
                at += 1;
            }
            // One comma goes with each run of members.
            let (start, end) = match (fields.get(at), first) {
                (Some(next), _) => (fields[first].key.start, next.key.start),
                (None, 0) => (fields[first].key.start, fields[at - 1].value.end),
                (None, _) => (fields[first - 1].value.end, fields[at - 1].value.end),
            };
            splices.put(Span::new(start, end), []);
        }
        if !added.is_empty() {
            let end = fields.last().map_or_else(|| brace(text) + 1, |field| field.value.end);
            if gone.iter().all(|gone| *gone) {
                added.remove(0);
            }
            splices.put(Span::new(end, end), added);
        }
        splices
    }
}

fn brace(text: &[u8]) -> usize {
    memchr::memchr(b'{', text).unwrap_or(0)
}

/// The elements of an array; none of what is no array.
pub(super) fn elements(text: &[u8]) -> Vec<Span> {
    #[derive(Default)]
    struct Elements {
        is_array: bool,
        start: usize,
        found: Vec<Span>,
    }
    impl Visitor for Elements {
        fn string(&mut self, depth: usize, _: &[u8], string: StringToken) {
            if depth == 1 {
                self.found.push(string.outer());
            }
        }
        fn scalar(&mut self, depth: usize, _: &[u8], span: Span) {
            if depth == 1 {
                self.found.push(span);
            }
        }
        fn open(&mut self, depth: usize, _: &[u8], at: usize, is_object: bool) {
            match depth {
                0 => self.is_array = !is_object,
                1 => self.start = at,
                _ => {}
            }
        }
        fn close(&mut self, depth: usize, _: &[u8], end: usize) {
            if depth == 1 {
                self.found.push(Span::new(self.start, end));
            }
        }
    }
    let mut elements = Elements::default();
    match scan_document(text, &mut elements) {
        Ok(()) if elements.is_array => elements.found,
        _ => Vec::new(),
    }
}
