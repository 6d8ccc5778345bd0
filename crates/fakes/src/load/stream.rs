//! Reading an event stream as a client does: lines, whatever the chunks; no more than the load generator must know.

use serde_json::Value;

use crate::journal::Tokens;

/// What a stream said so far.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) line: Vec<u8>,
    /// A carriage return ended the last line: a line feed after it belongs to it.
    pub(super) after_return: bool,
    pub(super) data: Vec<u8>,
    pub(super) events: u64,
    pub(super) done: bool,
    pub(super) finished: bool,
    pub(super) malformed: bool,
    /// Something came after the end.
    pub(super) trailing: bool,
    pub(super) error: Option<String>,
    pub(super) usage: Option<Tokens>,
    pub(super) text: String,
    pub(super) keep_text: bool,
}

impl Reader {
    /// Reads more bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'\n' if self.after_return => self.after_return = false,
                b'\n' | b'\r' => {
                    self.after_return = *byte == b'\r';
                    self.line_end();
                }
                byte => {
                    self.after_return = false;
                    self.line.push(*byte);
                }
            }
        }
    }

    /// Whether everything that came belongs to a whole event.
    pub(super) fn at_border(&self) -> bool {
        self.line.is_empty() && self.data.is_empty()
    }

    fn line_end(&mut self) {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            if !self.data.is_empty() {
                let data = std::mem::take(&mut self.data);
                self.event(&data);
            }
        } else if let Some(data) = line.strip_prefix(b"data:") {
            if !self.data.is_empty() {
                self.data.push(b'\n');
            }
            self.data.extend_from_slice(data.strip_prefix(b" ").unwrap_or(data));
        }
    }

    fn event(&mut self, data: &[u8]) {
        self.trailing |= self.done || self.error.is_some();
        if data == b"[DONE]" {
            self.done = true;
            return;
        }
        self.events += 1;
        let Ok(event) = serde_json::from_slice::<Value>(data) else {
            self.malformed = true;
            return;
        };
        if !event["error"].is_null() {
            self.error = Some(error_name(&event));
        }
        self.usage = usage(&event).or(self.usage);
        for choice in event["choices"].as_array().into_iter().flatten() {
            self.finished |= choice["finish_reason"].is_string();
            if self.keep_text {
                self.text.push_str(choice["delta"]["content"].as_str().unwrap_or(""));
            }
        }
    }
}

/// The `code` of an error, or its message.
pub(super) fn error_name(body: &Value) -> String {
    let error = &body["error"];
    let named = error["code"].as_str().or(error["message"].as_str()).or(error.as_str());
    named.unwrap_or("unnamed").chars().take(200).collect()
}

/// `usage` of an answer or event.
pub(super) fn usage(body: &Value) -> Option<Tokens> {
    let usage = &body["usage"];
    let count = |value: &Value| value.as_u64().unwrap_or(0);
    usage.is_object().then(|| Tokens {
        input: count(&usage["prompt_tokens"]),
        cached_input: count(&usage["prompt_tokens_details"]["cached_tokens"]),
        output: count(&usage["completion_tokens"]),
        reasoning: count(&usage["completion_tokens_details"]["reasoning_tokens"]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_chunking_reads_the_same() {
        let text = "\u{feff}: hi\r\n\r\ndata: {\"choices\":[{\"delta\":{\"content\":\"ü\"}}]}\r\n\r\ndata: {\"choices\":[],\rdata: \"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n";
        for size in 1..20 {
            let mut reader = Reader { keep_text: true, ..Reader::default() };
            text.as_bytes().chunks(size).for_each(|chunk| reader.push(chunk));
            assert_eq!(
                (reader.events, reader.done, reader.malformed, reader.text.as_str()),
                (2, true, false, "ü")
            );
            assert_eq!(reader.usage.map(|usage| (usage.input, usage.output)), Some((3, 2)));
            assert!(reader.at_border() && !reader.trailing);
        }
    }

    #[test]
    fn errors_and_what_follows_them() {
        let mut reader = Reader::default();
        reader.push(b"data: {\"error\":{\"message\":\"boo\",\"code\":\"upstream\"}}\n\n");
        assert_eq!((reader.error.as_deref(), reader.trailing), (Some("upstream"), false));
        reader.push(b"data: [DONE]\n\n");
        assert!(reader.trailing);
        reader.push(b"data: {\n\n");
        assert!(reader.malformed);
    }
}
