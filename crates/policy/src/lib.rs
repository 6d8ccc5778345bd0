//! What is allowed, where a call goes, what it costs
