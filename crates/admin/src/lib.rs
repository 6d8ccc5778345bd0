//! Control plane: JSON API, keys, releases, usage, logs, console page
