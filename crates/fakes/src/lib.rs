//! Scripted upstreams, a fault proxy, a load generator, an oracle
