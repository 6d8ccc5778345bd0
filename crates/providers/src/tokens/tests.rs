//! Kinds, pictures, and the errors of the weights against counts of the real tokenizers.
