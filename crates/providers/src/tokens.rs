//! How many tokens a text has, without its tokenizer: what it is made of, and a row of weights for each family of models.
//!
//! Tokenizers of one family agree on what is cheap (words of Latin letters) and differ in what is dear (digits one by
//! one or in threes, Han characters, indentation). So a text is counted once, by kind ([`Counts`]), in one pass and
//! without tables of a vocabulary; a family's count is a weighted sum ([`Family::weigh`]), which can be taken for
//! several families of one request. The weights are fitted to the real tokenizers by `scripts/token-estimates`, which
//! also measures the error on texts that the fit has not seen: `docs/token-estimates.md`.
//!
//! Counts of tokens are small and estimates are sums of products, so weights are integers, in thousandths of a token.

mod counts;
mod families;
pub mod media;

pub use counts::Counts;
pub(crate) use counts::growth;
pub use families::Family;

#[cfg(test)]
#[path = "tokens/tests.rs"]
mod tests;
