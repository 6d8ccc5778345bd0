//! Prints the table of public errors for `docs/errors.md`.

#[expect(clippy::print_stdout, reason = "printing is its purpose")]
fn main() {
    print!("{}", gateway::errors_table());
}
