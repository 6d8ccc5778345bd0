//! Just enough HTTP/1.1 to drive a proxy: incremental, without allocation per request, on one connection at a time.
//!
//! Written here and not taken from a library so that the generator costs a few microseconds a request, and so that a
//! proxy is judged by bytes and not by what a shared library would forgive.

use memchr::memmem;

/// How a message says where it ends.
enum Framing {
    Length(usize),
    Chunked,
}

/// Reads one message after another from the bytes of a connection.
#[derive(Default)]
pub(crate) struct Reader {
    inbound: Vec<u8>,
    /// Decoded so far of the current message.
    pub(crate) body: Vec<u8>,
    /// The first line of the current message.
    pub(crate) first_line: String,
    framing: Option<Framing>,
}

impl Reader {
    /// Takes what was read; true when the message is complete. A broken message is an error in words.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<bool, String> {
        self.inbound.extend_from_slice(bytes);
        if self.framing.is_none() {
            let Some(end) = memmem::find(&self.inbound, b"\r\n\r\n") else {
                return Ok(false);
            };
            self.framing = Some(self.head(end)?);
            self.inbound.drain(..end + 4);
        }
        match self.framing {
            Some(Framing::Length(length)) => {
                let take = (length - self.body.len()).min(self.inbound.len());
                self.body.extend_from_slice(&self.inbound[..take]);
                self.inbound.drain(..take);
                Ok(self.body.len() == length)
            }
            Some(Framing::Chunked) => self.chunks(),
            None => Ok(false),
        }
    }

    /// Forgets the message just read; what was read beyond it stays.
    pub(crate) fn next_message(&mut self) {
        self.framing = None;
        self.body.clear();
    }

    /// The status of an answer; 0 when the first line is none.
    pub(crate) fn status(&self) -> u16 {
        self.first_line.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0)
    }

    fn head(&mut self, end: usize) -> Result<Framing, String> {
        let head =
            std::str::from_utf8(&self.inbound[..end]).map_err(|_| "the head is not text".to_owned())?;
        let mut lines = head.split("\r\n");
        lines.next().unwrap_or_default().clone_into(&mut self.first_line);
        let mut framing = Framing::Length(0);
        for line in lines {
            let Some((name, value)) = line.split_once(':') else { continue };
            if name.eq_ignore_ascii_case("content-length") {
                let length = value.trim().parse().map_err(|_| format!("content-length `{value}`"))?;
                framing = Framing::Length(length);
            } else if name.eq_ignore_ascii_case("transfer-encoding") && value.trim() == "chunked" {
                return Ok(Framing::Chunked);
            }
        }
        Ok(framing)
    }

    fn chunks(&mut self) -> Result<bool, String> {
        let mut at = 0;
        let mut done = false;
        while let Some(line) = memmem::find(&self.inbound[at..], b"\r\n") {
            let text = std::str::from_utf8(&self.inbound[at..at + line]).unwrap_or("?");
            let size = usize::from_str_radix(text.split(';').next().unwrap_or_default().trim(), 16)
                .map_err(|_| format!("chunk size `{text}`"))?;
            let (start, end) = (at + line + 2, at + line + 2 + size);
            if self.inbound.len() < end + 2 {
                break;
            }
            self.body.extend_from_slice(&self.inbound[start..end]);
            at = end + 2;
            if size == 0 {
                done = true;
                break;
            }
        }
        self.inbound.drain(..at);
        Ok(done)
    }
}

/// Events of a streamed body.
pub(crate) fn events(body: &[u8]) -> usize {
    memmem::find_iter(body, b"data: {").count()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_however_it_is_cut() {
        for whole in [crate::work::answer(), stream()] {
            for size in [1, 2, 7, 64, whole.len()] {
                let mut reader = Reader::default();
                let mut complete = 0;
                for part in whole.chunks(size) {
                    complete += usize::from(reader.push(part).unwrap());
                }
                assert_eq!((complete, reader.status(), reader.inbound.len()), (1, 200, 0), "parts of {size}");
            }
        }
    }

    #[test]
    fn events_are_counted() {
        let mut reader = Reader::default();
        assert!(reader.push(&stream()).unwrap());
        assert_eq!(events(&reader.body), crate::work::EVENTS + 1);
        assert!(reader.body.ends_with(b"data: [DONE]\n\n"));
    }

    #[test]
    fn a_broken_chunk_is_an_error() {
        let mut reader = Reader::default();
        assert!(reader.push(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n").is_err());
    }

    fn stream() -> Vec<u8> {
        let mut bytes = crate::work::STREAM_HEAD.as_bytes().to_vec();
        bytes.extend(crate::work::beats(true).concat());
        bytes
    }
}
