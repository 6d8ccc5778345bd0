//! The chunked transfer coding (RFC 9112 §7.1), read: data goes on as slices of what was read.

use bytes::{Buf, BytesMut};

use super::wire::{Taken, WireError};

/// The longest line of a chunk's size, with its extensions.
const MAX_LINE: usize = 256;
const MAX_TRAILERS: usize = 8 * 1024;

/// Where in the coding the reader is.
#[derive(Debug, Default)]
pub(super) enum Chunks {
    #[default]
    Size,
    Data(u64),
    /// Behind a chunk's data.
    DataEnd,
    Trailers {
        total: usize,
    },
    End,
}

impl Chunks {
    /// Data at the front of `buffer`, or the need for more. Bytes of the framing are thrown away.
    pub(super) fn take(&mut self, buffer: &mut BytesMut) -> Result<Taken, WireError> {
        loop {
            match self {
                Self::Size => {
                    let Some(line) = line_end(buffer, MAX_LINE)? else { return Ok(Taken::More) };
                    let size = read_size(&buffer[..line])?;
                    buffer.advance(line + 2);
                    *self = if size == 0 { Self::Trailers { total: 0 } } else { Self::Data(size) };
                }
                Self::Data(_) if buffer.is_empty() => return Ok(Taken::More),
                Self::Data(left) => {
                    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
                    *left -= length as u64;
                    let whole = *left == 0;
                    let data = buffer.split_to(length).freeze();
                    if whole {
                        *self = Self::DataEnd;
                        // Mostly its line end is there too: then the next read begins at a size.
                        if buffer.starts_with(b"\r\n") {
                            buffer.advance(2);
                            *self = Self::Size;
                        }
                    }
                    return Ok(Taken::Bytes(data));
                }
                Self::DataEnd => {
                    if buffer.len() < 2 {
                        return Ok(Taken::More);
                    }
                    if !buffer.starts_with(b"\r\n") {
                        return Err(WireError::Malformed("a chunk is longer than its size"));
                    }
                    buffer.advance(2);
                    *self = Self::Size;
                }
                Self::Trailers { total } => {
                    let Some(line) = line_end(buffer, MAX_TRAILERS - *total)? else { return Ok(Taken::More) };
                    // Trailers say nothing that we pass on.
                    *total += line + 2;
                    buffer.advance(line + 2);
                    if line == 0 {
                        *self = Self::End;
                    } else if *total >= MAX_TRAILERS {
                        return Err(WireError::Malformed("its trailers are too large"));
                    }
                }
                Self::End => return Ok(Taken::End),
            }
        }
    }
}

/// The length of the line at the front, without its CR LF; `None` while it is not whole.
fn line_end(buffer: &BytesMut, limit: usize) -> Result<Option<usize>, WireError> {
    match memchr::memchr(b'\n', buffer) {
        Some(at) if at > 0 && at < limit + 2 && buffer[at - 1] == b'\r' => Ok(Some(at - 1)),
        None if buffer.len() <= limit => Ok(None),
        _ => Err(WireError::Malformed("a line of its framing")),
    }
}

fn read_size(line: &[u8]) -> Result<u64, WireError> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let behind = line[digits..].trim_ascii_start();
    if digits == 0 || digits > 15 || !(behind.is_empty() || behind[0] == b';') {
        return Err(WireError::Malformed("the size of a chunk"));
    }
    let value = |byte: &u8| u64::from((*byte as char).to_digit(16).unwrap_or(0));
    Ok(line[..digits].iter().fold(0, |sum, byte| sum * 16 + value(byte)))
}
