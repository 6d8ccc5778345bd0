//! Unix sockets in folders with long names.
//!
//! The kernel takes at most 107 bytes of path for a socket, and data folders are easily deeper. Where the
//! path is too long, the folder is opened and the socket is named through the open folder instead.

use anyhow::Context;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// Paths up to this long fit; one byte is for the end.
const FITS: usize = 107;

/// A socket's path in a form that the kernel takes, for as long as this value lives.
pub(crate) struct Reachable {
    path: PathBuf,
    _folder: Option<File>,
}

impl Reachable {
    /// Finds the form. The folder must exist; the socket need not.
    pub(crate) fn new(path: &Path) -> anyhow::Result<Self> {
        if path.as_os_str().len() <= FITS {
            return Ok(Self { path: path.to_owned(), _folder: None });
        }
        let (folder, name) = (path.parent().context("a socket needs a folder")?, path.file_name());
        let name = name.context("a socket needs a name")?;
        let folder = File::open(folder).with_context(|| format!("cannot open `{}`", folder.display()))?;
        let short = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name);
        Ok(Self { path: short, _folder: Some(folder) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}
