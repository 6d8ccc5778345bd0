//! The fields of one event's bytes.

use memchr::memchr2;

/// The `data` lines of an event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Data<'e> {
    /// There are none.
    None,
    /// One line, as nearly always.
    Line(&'e [u8]),
    /// Several, joined with LF.
    Joined(Vec<u8>),
}

impl Data<'_> {
    fn add<'e>(self, line: &'e [u8]) -> Data<'e>
    where
        Self: 'e,
    {
        let mut joined = match self {
            Self::None => return Data::Line(line),
            Self::Line(first) => first.to_vec(),
            Self::Joined(joined) => joined,
        };
        joined.push(b'\n');
        joined.extend_from_slice(line);
        Data::Joined(joined)
    }
}

/// What an event says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fields<'e> {
    pub(crate) data: Data<'e>,
    pub(crate) name: Option<&'e [u8]>,
    /// The value of an `error` line, which the standard ignores: older llama.cpp servers report a
    /// failure in mid-stream this way.
    pub(crate) error: Option<&'e [u8]>,
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl<'e> Fields<'e> {
    /// Reads the lines of one event; a byte order mark is passed over where the stream begins, and
    /// nowhere else.
    pub(crate) fn read(raw: &'e [u8], begins_stream: bool) -> Self {
        let mut fields = Fields { data: Data::None, name: None, error: None };
        let mark = if begins_stream { BYTE_ORDER_MARK } else { b"" };
        let mut rest = raw.strip_prefix(mark).unwrap_or(raw);
        while !rest.is_empty() {
            let end = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
            let (line, after) = rest.split_at(end);
            // A CRLF leaves an LF behind: one more blank line, which means nothing within an event.
            rest = after.get(1..).unwrap_or_default();
            fields.line(line);
        }
        fields
    }

    #[inline]
    fn line(&mut self, line: &'e [u8]) {
        if let Some(value) = value_of(line, b"data") {
            self.data = std::mem::replace(&mut self.data, Data::None).add(value);
        } else if let Some(value) = value_of(line, b"event") {
            self.name = Some(value);
        } else if let Some(value) = value_of(line, b"error") {
            self.error = Some(value);
        }
    }
}

/// The value of a line if it is the field `name`; one space after the colon does not count.
#[inline]
fn value_of<'e>(line: &'e [u8], name: &[u8]) -> Option<&'e [u8]> {
    match line.strip_prefix(name)? {
        [] => Some(&[]),
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
        _ => None,
    }
}
