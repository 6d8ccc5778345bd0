//! Google Gemini `generateContent`.

use bytes::BytesMut;

use super::{Failing, Reply, Target, Unanswered};
use crate::blocks::request::Unreadable;
use crate::blocks::{Answer, Event, Issuer, Refused, Request, Written};

/// Reads a client's body.
pub(crate) fn read_request(_body: &[u8]) -> Result<Request, Unreadable> {
    unimplemented!()
}

/// Writes a provider's body.
pub(crate) fn write_request(_request: &Request, _target: &Target<'_>) -> Result<Written, Refused> {
    unimplemented!()
}

/// Reads a provider's whole answer.
pub(crate) fn read_answer(_body: &[u8], _issuer: &Issuer) -> Result<Answer, Unanswered> {
    unimplemented!()
}

/// Writes a client's whole answer.
pub(crate) fn write_answer(_answer: &Answer, _reply: &Reply<'_>) -> Vec<u8> {
    unimplemented!()
}

/// A failure as a body.
pub(crate) fn error_body(_failing: &Failing<'_>) -> Vec<u8> {
    unimplemented!()
}

/// Reads a provider's stream.
#[derive(Debug)]
pub struct StreamReader {
    _issuer: Issuer,
}

impl StreamReader {
    pub(crate) fn new(issuer: Issuer) -> Self {
        Self { _issuer: issuer }
    }

    pub(crate) fn push(&mut self, _name: Option<&[u8]>, _data: &[u8], _out: &mut Vec<Event>) {
        unimplemented!()
    }

    pub(crate) fn end(&mut self, _out: &mut Vec<Event>) {
        unimplemented!()
    }
}

/// Writes a client's stream.
#[derive(Debug)]
pub struct StreamWriter {}

impl StreamWriter {
    /// As a JSON array.
    pub fn array(_reply: &Reply<'_>) -> Self {
        Self {}
    }

    pub(crate) fn new(_reply: &Reply<'_>) -> Self {
        Self {}
    }

    pub(crate) fn write(&mut self, _event: &Event, _out: &mut BytesMut) {
        unimplemented!()
    }

    pub(crate) fn error(&mut self, _failing: &Failing<'_>, _out: &mut BytesMut) {
        unimplemented!()
    }
}
