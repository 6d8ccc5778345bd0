//! Entry points for long property runs.
