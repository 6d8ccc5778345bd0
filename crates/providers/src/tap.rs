//! skeleton
use bytes::Bytes;
use smallvec::SmallVec;
use crate::Usage;
/// Options.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "skeleton")]
pub struct TapOptions { pub swallow_usage: bool, pub max_event: usize }
/// Fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "skeleton")]
pub enum StreamFault { #[error("too long")] TooLong, #[error("in band")] InBandError { raw: Bytes, message: Option<String>, code: Option<String> }, #[error("not events")] NotEvents }
/// Tap.
pub struct Tap;
#[expect(missing_docs, clippy::needless_pass_by_value, reason = "skeleton")]
impl Tap {
    pub fn new(_options: TapOptions) -> Self { Tap }
    pub fn push(&mut self, _chunk: Bytes, _out: &mut SmallVec<[Bytes; 4]>) -> Result<(), StreamFault> { unimplemented!() }
    /// The upstream closed its stream in good order: judges what is left without a blank line.
    pub fn end(&mut self, _out: &mut SmallVec<[Bytes; 4]>) -> Result<(), StreamFault> { unimplemented!() }
    pub fn started(&self) -> bool { unimplemented!() }
    pub fn terminal(&mut self) -> Option<Bytes> { unimplemented!() }
    pub fn finished(&self) -> bool { unimplemented!() }
    pub fn usage(&self) -> Option<Usage> { unimplemented!() }
    pub fn output_estimate(&self) -> u64 { unimplemented!() }
    pub fn finish_reason(&self) -> Option<&str> { unimplemented!() }
    pub fn model(&self) -> Option<&str> { unimplemented!() }
    pub fn id(&self) -> Option<&str> { unimplemented!() }
}
