//! What was spent: reserve, spool, settle; survives kill -9
