//! Speaks every model API: wire types, splicing, stream decoding
