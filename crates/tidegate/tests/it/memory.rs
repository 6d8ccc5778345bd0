//! Giant prompts on a small machine: refused before memory runs out.

use bytes::Bytes;

use crate::books;
use crate::cage::{Cage, Told};
use crate::client::chat;
use crate::stand::{PATIENCE, Setup, Stand};

const SMALL: u64 = 256 << 20;

/// Sends many giant prompts at once, several times; each is answered or refused, never cut.
async fn giants(stand: &Stand, rounds: u32) {
    let giant = chat("fake/ok-t3", &format!(r#","x":"{}""#, "a".repeat(30 << 20)));
    let too_large = chat("fake/ok-t3", &format!(r#","x":"{}""#, "a".repeat(33 << 20)));
    let (giant, too_large) = (Bytes::from(giant), Bytes::from(too_large));
    let mut seen = std::collections::BTreeMap::<u16, u32>::new();
    for _ in 0..rounds {
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..24 {
            let body = if number % 6 == 5 { too_large.clone() } else { giant.clone() };
            let client = stand.client();
            tasks.spawn(async move {
                client.send("POST", "/v1/chat/completions", body).await.map(|reply| reply.status)
            });
        }
        for status in tasks.join_all().await {
            let status = status.unwrap_or_else(|error| panic!("{error:#}; {}", stand.log()));
            *seen.entry(status).or_default() += 1;
        }
    }
    eprintln!("giant prompts: {seen:?}");
    assert!(seen.keys().all(|status| [200, 413, 503].contains(status)), "{seen:?}");
    assert!(seen.contains_key(&503) && seen.contains_key(&413), "{seen:?}");
    let after = tokio::time::timeout(PATIENCE, stand.client().chat("fake/ok-t3")).await.unwrap();
    assert_eq!(after.status, 200);
}

fn setup(server: &str, wrapper: Vec<String>) -> Setup {
    Setup { server: server.to_owned(), wrapper, more: books::priced_models(), ..Setup::default() }
}

/// A figure of the process itself: `VmHWM`, the most that it ever had, or what it has now.
fn kib(stand: &Stand, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", stand.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn giant_prompts_are_refused_before_memory_runs_out() {
    let said = "max_body = \"32MiB\"\nmax_memory = \"96MiB\"";
    // Also without a word about memory: then it follows from what there is.
    for server in [said, ""] {
        let cage = match Cage::with_memory(SMALL) {
            Ok(cage) => cage,
            Err(why) => {
                eprintln!(
                    "no control group with a memory limit can be made here ({why}): the peak is measured"
                );
                let wrapper = ["prlimit", "--as=2147483648"].map(str::to_owned).to_vec();
                let stand = Stand::start(setup(said, wrapper)).await;
                giants(&stand, 1).await;
                let peak = kib(&stand, "VmHWM");
                assert!(peak < SMALL >> 10, "peak {peak} KiB");
                return;
            }
        };
        let stand = Stand::start(setup(server, cage.wrapper())).await;
        assert!(cage.holds(stand.pid()), "the gateway is not in its cage");
        let idle = kib(&stand, "VmRSS");
        giants(&stand, 3).await;
        let Told { oom_kills, peak_bytes } = cage.told();
        let (group, peak) = (peak_bytes >> 10, kib(&stand, "VmHWM"));
        eprintln!(
            "256 MiB, settings {server:?}: {oom_kills} kills; peak of the group {group} KiB, of the process {peak} KiB \
             (idle {idle} KiB)"
        );
        assert_eq!(oom_kills, 0, "the kernel killed for memory");
        drop(stand);
    }
}
