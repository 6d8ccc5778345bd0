//! How much memory there is for request bodies where the settings do not say.
//!
//! What there is, is the least of the machine's memory and of the limits of our control group and all above it: a
//! service manager limits the group that we are in, a container the one that looks like the root from within.

use std::path::PathBuf;

const LEAST: u64 = 64 << 20;
const MOST: u64 = 1 << 30;
const GROUPS: &str = "/sys/fs/cgroup";

/// Memory that request bodies may take together where the settings do not say: a quarter of what there is, in bytes.
pub(super) fn usual_memory() -> u64 {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? << 10)
    });
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let allowed = limit_files(&groups).into_iter().filter_map(|file| {
        // `max` is no number, and no limit.
        std::fs::read_to_string(file).ok()?.trim().parse::<u64>().ok()
    });
    let there = allowed.chain(machine).min().unwrap_or(MOST);
    (there / 4).clamp(LEAST, MOST)
}

/// The files that may hold a limit of ours, for what `/proc/self/cgroup` says, in both versions of control groups.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    // A container may be told the host's paths, which do not exist within it: the root is always looked at.
    for line in ["0::/", "0:memory:/"].into_iter().chain(groups.lines()) {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (root, name) = match controllers {
            "" => (PathBuf::from(GROUPS), "memory.max"),
            _ if controllers.split(',').any(|one| one == "memory") => {
                (PathBuf::from(GROUPS).join("memory"), "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let group = root.join(path.trim_start_matches('/'));
        files.extend(
            group.ancestors().take_while(|above| above.starts_with(&root)).map(|above| above.join(name)),
        );
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_every_group_above_counts() {
        let files = limit_files("5:cpu,memory:/a/b\n3:cpuset:/c\n0::/d.slice/e.service\n");
        let of = |root: &str, path: &str, name: &str| PathBuf::from(format!("{GROUPS}{root}{path}/{name}"));
        let second = |path| of("", path, "memory.max");
        let first = |path| of("/memory", path, "memory.limit_in_bytes");
        for file in [
            second(""),
            second("/d.slice"),
            second("/d.slice/e.service"),
            first(""),
            first("/a"),
            first("/a/b"),
        ] {
            assert!(files.contains(&file), "{file:?} is not in {files:?}");
        }
        assert!(!files.iter().any(|file| file.starts_with(PathBuf::from(GROUPS).join("c"))), "{files:?}");
        assert!((LEAST..=MOST).contains(&usual_memory()));
    }
}
