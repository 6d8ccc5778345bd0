//! skeleton
/// Usage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[expect(missing_docs, reason = "skeleton")]
pub struct Usage { pub input: Option<u64>, pub cached_input: Option<u64>, pub cache_write: Option<u64>, pub output: Option<u64>, pub reasoning: Option<u64>, pub audio_input: Option<u64>, pub audio_output: Option<u64>, pub images: Option<u64> }
