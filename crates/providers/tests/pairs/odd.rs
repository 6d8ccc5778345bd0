//! What nobody thinks of.
