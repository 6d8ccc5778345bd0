//! Data plane: the way of one request
