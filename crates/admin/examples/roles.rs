//! Prints the page of roles: `cargo run -p admin --example roles > docs/roles.md`.
#![expect(clippy::print_stdout, reason = "it is what it does")]

fn main() {
    print!("{}", admin::permissions::page());
}
