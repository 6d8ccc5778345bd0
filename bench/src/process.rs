//! What a process and its children used: CPU time in nanoseconds and memory, from the kernel.
//!
//! The kernel's CPU clock of a process counts all its threads, also ended ones, to the nanosecond; the ticks of
//! `/proc/PID/stat` are 10 ms, which is a quarter of what a short run costs.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// User and system CPU time of a process and of all its living descendants.
pub(crate) fn cpu_of_tree(root: u32) -> Duration {
    tree(root).into_iter().map(cpu_of).sum()
}

#[expect(unsafe_code, reason = "the standard library has no call for another process's CPU clock")]
fn cpu_of(pid: u32) -> Duration {
    // The clock's id is made from the process id; see clock_getcpuclockid(3) and the kernel's posix-timers.h.
    let clock = (!(pid as libc::clockid_t) << 3) | 2;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place to write to for the length of the call.
    let code = unsafe { libc::clock_gettime(clock, &raw mut time) };
    if code == 0 { Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32) } else { Duration::ZERO }
}

/// Resident memory now and at its highest, in bytes, of a process and its living descendants.
pub(crate) fn memory_of_tree(root: u32) -> (u64, u64) {
    let of = |pid: u32, name: &str| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0) * 1024
    };
    let pids = tree(root);
    (pids.iter().map(|pid| of(*pid, "VmRSS:")).sum(), pids.iter().map(|pid| of(*pid, "VmHWM:")).sum())
}

/// Waits (ten seconds at most) until the tree rests: what it left for later is part of what the work cost.
pub(crate) fn wait_until_quiet(root: u32) {
    let deadline = Instant::now() + Duration::from_secs(10);
    let step = Duration::from_millis(250);
    let mut quiet = 0;
    let mut before = cpu_of_tree(root);
    while quiet < 2 && Instant::now() < deadline {
        std::thread::sleep(step);
        let now = cpu_of_tree(root);
        quiet = if now - before < step / 200 { quiet + 1 } else { 0 };
        before = now;
    }
}

fn tree(root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name in parentheses may hold anything; the fields after it are state and parent.
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        if let Some(parent) = parent {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = vec![root];
    let mut at = 0;
    while let Some(pid) = found.get(at) {
        found.extend(children.remove(pid).unwrap_or_default());
        at += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    #[test]
    fn our_own_process_used_something() {
        let pid = std::process::id();
        let before = super::cpu_of_tree(pid);
        let sum =
            (0..5_000_000u64).fold(0u64, |sum, n| sum.wrapping_mul(31).wrapping_add(std::hint::black_box(n)));
        assert!(super::cpu_of_tree(pid) > before, "{sum}");
        let (now, peak) = super::memory_of_tree(pid);
        assert!(now > 0 && peak >= now);
    }
}
