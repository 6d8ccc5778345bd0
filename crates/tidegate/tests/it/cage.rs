//! A control group with a memory limit, for one process: what the kernel kills there, it kills for that limit alone.
//!
//! Version 2 wants the group beside ours or higher, where the controller is handed down; version 1 wants it below ours.
//! Neither leaves the limits that we are under ourselves.

use std::path::{Path, PathBuf};

/// A group of its own, gone when dropped (after the process in it has ended).
#[derive(Debug)]
pub(crate) struct Cage {
    dir: PathBuf,
    second_version: bool,
}

/// What happened in a cage.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) oom_kills: u64,
    pub(crate) peak_bytes: u64,
}

impl Cage {
    /// Makes one, or says why that is not possible here.
    pub(crate) fn with_memory(bytes: u64) -> Result<Self, String> {
        let groups = std::fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
        let name = format!("tidegate-cage-{}-{bytes}", std::process::id());
        let mounts = std::fs::read_to_string("/proc/self/mounts").map_err(|error| error.to_string())?;
        Self::second(&groups, &mounts, &name, bytes).or_else(|second| {
            Self::first(&groups, &mounts, &name, bytes).map_err(|e| format!("{second}; {e}"))
        })
    }

    fn second(groups: &str, mounts: &str, name: &str, bytes: u64) -> Result<Self, String> {
        let ours = groups.lines().find_map(|line| line.strip_prefix("0::"));
        let (root, ours) = mount(mounts, "cgroup2", "").zip(ours).ok_or("no cgroup v2")?;
        let mut parent = root.join(ours.trim_start_matches('/'));
        // The nearest group that hands the controller down.
        loop {
            let handed = std::fs::read_to_string(parent.join("cgroup.subtree_control")).unwrap_or_default();
            if handed.split_whitespace().any(|controller| controller == "memory") {
                break;
            }
            if parent == root || !parent.pop() {
                return Err("cgroup v2 hands no memory controller down".to_owned());
            }
        }
        let cage = Self::make(parent.join(name), true)?;
        cage.write("memory.max", bytes)?;
        // Without swap the limit is the limit.
        let _ = cage.write("memory.swap.max", 0);
        Ok(cage)
    }

    fn first(groups: &str, mounts: &str, name: &str, bytes: u64) -> Result<Self, String> {
        let ours = groups.lines().find_map(|line| line.split_once(":memory:")).map(|(_, path)| path);
        let (root, ours) = mount(mounts, "cgroup", "memory").zip(ours).ok_or("no memory controller of v1")?;
        let cage = Self::make(root.join(ours.trim_start_matches('/')).join(name), false)?;
        cage.write("memory.limit_in_bytes", bytes)?;
        let _ = cage.write("memory.memsw.limit_in_bytes", bytes);
        Ok(cage)
    }

    fn make(dir: PathBuf, second_version: bool) -> Result<Self, String> {
        std::fs::create_dir(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        Ok(Self { dir, second_version })
    }

    fn write(&self, file: &str, value: u64) -> Result<(), String> {
        std::fs::write(self.dir.join(file), value.to_string()).map_err(|error| format!("{file}: {error}"))
    }

    fn number(&self, file: &str, key: &str) -> Option<u64> {
        let text = std::fs::read_to_string(self.dir.join(file)).ok()?;
        text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok())
    }

    /// The command that runs another command inside, to stand before it.
    pub(crate) fn wrapper(&self) -> Vec<String> {
        let enter = format!("echo $$ > '{}' && exec \"$0\" \"$@\"", self.dir.join("cgroup.procs").display());
        vec!["sh".to_owned(), "-c".to_owned(), enter]
    }

    /// Whether a process is inside.
    pub(crate) fn holds(&self, pid: u32) -> bool {
        let inside = std::fs::read_to_string(self.dir.join("cgroup.procs")).unwrap_or_default();
        inside.lines().any(|line| line == pid.to_string())
    }

    /// What the kernel says of it.
    pub(crate) fn told(&self) -> Told {
        let (events, key, peak) = match self.second_version {
            true => ("memory.events", "oom_kill ", "memory.peak"),
            false => ("memory.oom_control", "oom_kill ", "memory.max_usage_in_bytes"),
        };
        let oom_kills = self.number(events, key).expect("the kernel counts its kills");
        Told { oom_kills, peak_bytes: self.number(peak, "").unwrap_or(0) }
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        // The kernel lets a group go a moment after its last process.
        for _ in 0..100 {
            if !self.dir.exists() || std::fs::remove_dir(&self.dir).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        eprintln!("the control group {} could not be removed", self.dir.display());
    }
}

/// Where a file system of this kind with this option is mounted.
fn mount(mounts: &str, kind: &str, option: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (at, what, options) = (words.next()?, words.next()?, words.next()?);
        let fits = what == kind && (option.is_empty() || options.split(',').any(|one| one == option));
        fits.then(|| Path::new(at).to_owned())
    })
}
