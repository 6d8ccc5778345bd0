//! Frames and header blocks of HTTP/2, written without asking whether they are allowed (RFC 9113, RFC 7541).

/// Frame types.
pub(super) mod kind {
    pub(in crate::h2) const DATA: u8 = 0;
    pub(in crate::h2) const HEADERS: u8 = 1;
    pub(in crate::h2) const RST_STREAM: u8 = 3;
    pub(in crate::h2) const SETTINGS: u8 = 4;
    pub(in crate::h2) const PING: u8 = 6;
    pub(in crate::h2) const GOAWAY: u8 = 7;
    pub(in crate::h2) const WINDOW_UPDATE: u8 = 8;
    pub(in crate::h2) const CONTINUATION: u8 = 9;
}

/// The bytes of one frame.
pub(super) struct Frame(pub(super) Vec<u8>);

impl Frame {
    pub(super) fn new(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Self {
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], kind, flags];
        bytes.extend_from_slice(&stream.to_be_bytes());
        bytes.extend_from_slice(payload);
        Self(bytes)
    }
}

/// A header block: literals with names, without Huffman.
#[derive(Default, Clone)]
pub(super) struct Headers(Vec<u8>);

impl Headers {
    /// A header that leaves no trace in the table.
    pub(super) fn with(self, name: &str, value: &str) -> Self {
        self.literal(0x00, name, value)
    }

    /// A header that goes into the dynamic table.
    pub(super) fn indexed(self, name: &str, value: &str) -> Self {
        self.literal(0x40, name, value)
    }

    fn literal(mut self, first: u8, name: &str, value: &str) -> Self {
        self.0.push(first);
        for text in [name, value] {
            self.length(text.len());
            self.0.extend_from_slice(text.as_bytes());
        }
        self
    }

    /// An integer with a prefix of 7 bits.
    fn length(&mut self, length: usize) {
        if length < 127 {
            self.0.push(u8::try_from(length).unwrap_or(0));
            return;
        }
        self.0.push(127);
        let mut rest = length - 127;
        while rest >= 128 {
            self.0.push(u8::try_from(rest % 128).unwrap_or(0) | 0x80);
            rest /= 128;
        }
        self.0.push(u8::try_from(rest).unwrap_or(0));
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        self.0.clone()
    }
}
