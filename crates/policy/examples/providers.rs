//! Writes the pages of `docs/providers` from the rows, and removes those of rows that are gone.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/providers");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    for (name, text) in policy::catalogue::pages() {
        std::fs::write(folder.join(name), text)?;
    }
    Ok(())
}
