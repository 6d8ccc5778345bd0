//! The machine: data folder, disk, master key, clock, port.

use super::Check;
use crate::secrets::ProcessSecrets;
use crate::serve::folder::{MASTER_KEY, parse_master_key};
use policy::{Secrets, Server, Timestamp};
use runtime::Clock;
use std::ffi::CString;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Below this the spool is about to fail.
const TOO_LITTLE: u64 = 100 << 20;
/// Below this someone should look.
const LITTLE: u64 = 1 << 30;
/// 2026-01-01: this program did not exist before, so a clock that says so is wrong.
const BEFORE_US: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

pub(super) fn look(data_dir: &Path, server: Option<&Server>) -> Vec<Check> {
    let mut checks = vec![look_at_clock(Clock::system().now())];
    let Some(folder) = look_at_folder(data_dir) else {
        checks.push(Check::fine("data folder", format!("{} is made at the first start", data_dir.display())));
        checks.extend(free_space(data_dir.parent().unwrap_or(Path::new("."))));
        return checks;
    };
    checks.push(folder);
    checks.extend(free_space(data_dir));
    checks.push(look_at_master_key(data_dir, server));
    checks
}

fn look_at_clock(now: Timestamp) -> Check {
    if now < BEFORE_US {
        let help =
            "set the clock (for example `timedatectl set-ntp true`); budgets and certificates depend on it";
        return Check::wrong("clock", format!("this machine believes it is {now}"), help);
    }
    Check::fine("clock", format!("{now}"))
}

/// `None` when there is no folder yet.
fn look_at_folder(dir: &Path) -> Option<Check> {
    let shown = dir.display();
    let about = match std::fs::metadata(dir) {
        Ok(about) => about,
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Err(error) => {
            let help = "run this as the user that runs the gateway";
            return Some(Check::wrong("data folder", format!("{shown}: {error}"), help));
        }
    };
    if !about.is_dir() {
        return Some(Check::wrong(
            "data folder",
            format!("{shown} is not a folder"),
            "name another with --data-dir",
        ));
    }
    if about.mode() & 0o077 != 0 {
        let help = format!("run: chmod 700 {shown}");
        return Some(Check::wrong("data folder", format!("{shown} is open to other users"), &help));
    }
    if !may_write(dir) {
        let help = "run this as the user that runs the gateway, or change the folder's owner";
        return Some(Check::wrong("data folder", format!("{shown} cannot be written by this user"), help));
    }
    Some(Check::fine("data folder", format!("{shown} is ours alone")))
}

fn c_path(path: &Path) -> Option<CString> {
    CString::new(path.as_os_str().as_bytes()).ok()
}

#[expect(unsafe_code, reason = "std has no access(2); the pointer is to a live C string")]
fn may_write(path: &Path) -> bool {
    // SAFETY: `path` is a valid, NUL-terminated string for the whole call, and access(2) keeps nothing of it.
    c_path(path).is_some_and(|path| unsafe { libc::access(path.as_ptr(), libc::W_OK | libc::X_OK) } == 0)
}

#[expect(unsafe_code, reason = "std has no statvfs(3); both pointers are to live values")]
fn free_bytes(path: &Path) -> Option<u64> {
    let path = c_path(path)?;
    let mut about = std::mem::MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: `path` is NUL-terminated and `about` is large enough; statvfs(3) writes it whole when it returns 0,
    // and it is plain data, valid when zeroed too.
    let about = unsafe {
        if libc::statvfs(path.as_ptr(), about.as_mut_ptr()) != 0 {
            return None;
        }
        about.assume_init()
    };
    Some(about.f_bavail.saturating_mul(about.f_frsize))
}

fn free_space(dir: &Path) -> Option<Check> {
    let free = free_bytes(if dir.as_os_str().is_empty() { Path::new(".") } else { dir })?;
    Some(judge_space(free))
}

fn judge_space(free: u64) -> Check {
    let told = format!("{} MiB free where the data folder lies", free >> 20);
    let help = "make room: while the disk is full, calls of durable keys and keys with budgets are refused";
    match free {
        _ if free < TOO_LITTLE => Check::wrong("disk", told, help),
        _ if free < LITTLE => Check::remark("disk", told, help),
        _ => Check::fine("disk", told),
    }
}

fn look_at_master_key(dir: &Path, server: Option<&Server>) -> Check {
    if let Some(reference) = server.and_then(|server| server.master_key.as_ref()) {
        let reference = &reference.value;
        let read = ProcessSecrets.read(reference).map_err(|reason| anyhow::anyhow!(reason));
        return match read.and_then(|secret| parse_master_key(secret.expose())) {
            Ok(_) => Check::fine("master key", format!("{reference} can be read")),
            Err(error) => Check::wrong("master key", format!("{error:#}"), "mend server.master_key"),
        };
    }
    let path = dir.join(MASTER_KEY);
    let shown = path.display();
    match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Check::fine("master key", "it is made at the next start".to_owned())
        }
        Err(error) => {
            Check::wrong("master key", format!("{shown}: {error}"), "run this as the gateway's user")
        }
        Ok(text) => {
            let open = std::fs::metadata(&path).is_ok_and(|about| about.mode() & 0o077 != 0);
            match parse_master_key(&text) {
                Err(error) => {
                    Check::wrong("master key", format!("{shown}: {error:#}"), "restore it from a backup")
                }
                Ok(_) if open => {
                    let help = format!("run: chmod 600 {shown}");
                    Check::wrong("master key", format!("{shown} can be read by other users"), &help)
                }
                Ok(_) => Check::fine("master key", format!("{shown} is ours alone")),
            }
        }
    }
}

/// Whether the gateway could listen, asked only when none runs here.
pub(super) fn look_at_port(server: &Server) -> Check {
    match gateway::bind(server.listen) {
        Ok(_) => Check::fine("port", format!("{} is free", server.listen)),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            let help = "stop the program that listens there, or choose another with --listen";
            Check::wrong("port", format!("{} is in use by another program", server.listen), help)
        }
        Err(error) => {
            Check::wrong("port", format!("{}: {error}", server.listen), "choose another with --listen")
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::super::Verdict;
    use super::*;

    #[test]
    fn little_room_is_noted_and_too_little_is_wrong() {
        let verdicts = [50 << 20, 500 << 20, 50 << 30].map(|free| judge_space(free).verdict);
        assert_eq!(verdicts, [Verdict::Wrong, Verdict::Remark, Verdict::Fine]);
        assert!(free_bytes(Path::new("/")).unwrap() > 0);
    }

    #[test]
    fn a_clock_in_the_past_is_wrong() {
        assert_eq!(look_at_clock(Timestamp::from_micros(0)).verdict, Verdict::Wrong);
        assert_eq!(look_at_clock(BEFORE_US).verdict, Verdict::Fine);
    }

    #[test]
    fn a_folder_that_is_not_there_yet_is_no_fault() {
        assert!(look_at_folder(Path::new("/nonexistent/tidegate")).is_none());
    }
}
