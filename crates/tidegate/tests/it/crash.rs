//! Killed, panicked, out of disk: nothing is lost and nothing counted twice.

use std::path::Path;

use fakes::oracle;
use fakes::random::Random;

use crate::books;
use crate::client::chat;
use crate::stand::{PATIENCE, Setup, Stand};

fn setup() -> Setup {
    let key =
        r#"budgets = [{ name = "total", amount = "50.00", currency = "USD", window = "total" }]"#.to_owned();
    Setup { key, more: books::priced_models(), ..Setup::default() }
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_nine_under_load_loses_and_doubles_nothing() {
    let mut stand = Stand::start(setup()).await;
    let mut random = Random::seeded(0x7E57);
    let mut seen = Vec::new();
    let rounds = books::rounds(5, 50);
    for round in 0..rounds {
        let run = books::run(books::load(&stand, 3.0, 1000 + round));
        tokio::time::sleep(books::millis(400 + random.below(2200))).await;
        stand.kill();
        if round + 1 == rounds {
            // Kept for the replay below: the spool as the crash left it.
            copy_dir(&stand.data_dir.join("spool"), &stand.dir.join("spool-copy"));
        }
        stand.run().await;
        let mut report = run.await.unwrap();
        for one in &mut report.seen {
            one.index += round * 1_000_000;
        }
        seen.append(&mut report.seen);
    }
    stand.wait_drained().await;
    let journal = books::journal(&stand).await;
    assert!(journal.len() > 200, "{} dispatches are no load", journal.len());
    assert_eq!(stand.stop().await, Some(0), "{}", stand.log());
    let tables = books::sqlite(&stand.data_dir).await;
    let limits: Vec<_> = tables.balances.iter().map(|b| (b.scope.as_str(), 50_000_000_000)).collect();
    books::assert_balanced(&journal, &tables, &seen, &books::rules(&limits));
    // I7: the spool of the last crash once more, twice.
    for _ in 0..2 {
        std::fs::remove_dir_all(stand.data_dir.join("spool")).unwrap();
        copy_dir(&stand.dir.join("spool-copy"), &stand.data_dir.join("spool"));
        stand.run().await;
        stand.wait_drained().await;
        stand.stop().await;
        let again = books::sqlite(&stand.data_dir).await;
        let changed = oracle::unchanged(&tables, &again);
        assert!(changed.is_empty(), "{changed:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_anywhere_leaves_one_terminal_entry() {
    let points = [
        "ledger.reserve",
        "ledger.intent.before_write",
        "ledger.intent.after_write",
        "gateway.dispatch",
        "gateway.first_byte",
        "gateway.settle",
        "ledger.settle.before_write",
        "ledger.settle.after_write",
        "gateway.settled",
        "gateway.ack",
    ];
    for point in points {
        let environment = vec![("FAILPOINTS".to_owned(), format!("{point}=panic@0.3#6"))];
        let mut stand = Stand::start(Setup { environment, ..setup() }).await;
        let load = fakes::load::Load { aborts: 0.0, rate: Some(100.0), ..books::load(&stand, 1.0, 7) };
        let report = fakes::load::run(load).await.unwrap();
        let broken = report.failed();
        assert!(broken <= 6, "{point}: {:?}", report.classes);
        if point != "gateway.ack" {
            assert!(broken > 0, "{point} was never passed: {:?}", report.classes);
        }
        // Once more after the panics: nothing stays locked.
        let mut well = 0;
        for _ in 0..20 {
            let sent = stand.client().send("POST", "/v1/chat/completions", chat("fake/ok-t3", "")).await;
            well += u32::from(sent.is_ok_and(|reply| reply.status == 200));
        }
        assert!(well >= 14, "{point}: {well} of 20");
        stand.wait_drained().await;
        let journal = books::journal(&stand).await;
        assert_eq!(stand.stop().await, Some(0), "{point}: {}", stand.log());
        let tables = books::sqlite(&stand.data_dir).await;
        let rules = oracle::Rules { unread: true, ..books::rules(&[]) };
        books::assert_balanced(&journal, &tables, &report.seen, &rules);
    }
}

/// A file system of its own, of one mebibyte; unmounted when dropped.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Self {
        std::fs::create_dir_all(at).unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs"])
            .arg(at)
            .status()
            .unwrap();
        assert!(mounted.success(), "this test needs the right to mount a tmpfs");
        Self(at.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_strict_keys_and_heals_by_itself() {
    let dir = crate::stand::fresh_dir();
    let data = dir.join("data");
    let _disk = SmallDisk::mount(&data.join("spool"));
    let key = format!("durable = true\n{}", setup().key);
    let server = "segment_bytes = \"128KiB\"".to_owned();
    let setup = Setup { key, server, data_dir: Some(data.clone()), ..setup() };
    let mut stand = Stand::start(setup).await;
    assert_eq!(stand.client().chat("fake/ok-t3").await.status, 200);
    // Somebody else fills the disk.
    let filler = data.join("spool").join("filler");
    let _ = std::fs::write(&filler, vec![0u8; 2 << 20]);
    let mut refused = None;
    for _ in 0..20_000 {
        let reply = stand.client().chat("fake/ok-t3").await;
        if reply.status != 200 {
            refused = Some(reply);
            break;
        }
    }
    let refused = refused.expect("a full disk is noticed");
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (503, "accounting_unavailable"),
        "{}",
        refused.text()
    );
    std::fs::remove_file(&filler).unwrap();
    stand
        .wait_until("the spool can be written again", |stand| {
            let client = stand.client();
            async move { client.chat("fake/ok-t3").await.status == 200 }
        })
        .await;
    stand.wait_drained().await;
    let journal = books::journal(&stand).await;
    stand.stop().await;
    let tables = books::sqlite(&stand.data_dir).await;
    books::assert_balanced(&journal, &tables, &[], &books::rules(&[]));
    std::fs::remove_dir_all(&dir).ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failing_writes_lose_nothing_that_was_acknowledged() {
    for (error, call) in [("EIO", "pwrite64"), ("ENOSPC", "pwrite64"), ("EIO", "fdatasync")] {
        let mut stand = Stand::start(setup()).await;
        let spool = stand.data_dir.join("spool").canonicalize().unwrap();
        let mut tracer = std::process::Command::new("strace");
        tracer.args(["-f", "-qq", "-o", "/dev/null", "-p", &stand.pid().to_string()]);
        // Only the spool's files: the failures are the disk's, not the sockets'.
        for number in 1..40 {
            tracer.arg("-P").arg(spool.join(format!("{number:08}.seg")));
        }
        let every = if call == "fdatasync" { "when=1+2" } else { "when=50+50" };
        tracer.args(["-e", &format!("inject={call}:error={error}:{every}"), "-e", &format!("trace={call}")]);
        let mut tracer = tracer.stderr(std::process::Stdio::null()).spawn().expect("strace is installed");
        let report = fakes::load::run(fakes::load::Load { aborts: 0.0, ..books::load(&stand, 4.0, 11) })
            .await
            .unwrap();
        assert!(report.class("ok") + report.class("stream_ok") > 100, "{:?}", report.classes);
        let _ = tracer.kill();
        let _ = tracer.wait();
        stand.kill();
        stand.run().await;
        stand.wait_drained().await;
        let journal = books::journal(&stand).await;
        stand.stop().await;
        let tables = books::sqlite(&stand.data_dir).await;
        books::assert_balanced(&journal, &tables, &report.seen, &books::rules(&[]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn giant_prompts_are_refused_before_memory_runs_out() {
    // The cap stands in for a small machine: bodies of many requests together may hold so much and no more.
    let server = "max_body = \"32MiB\"\nmax_memory = \"96MiB\"".to_owned();
    let wrapper = ["prlimit", "--as=2147483648"].map(str::to_owned).to_vec();
    let stand =
        Stand::start(Setup { server, wrapper, more: books::priced_models(), ..Setup::default() }).await;
    let giant = chat("fake/ok-t3", &format!(r#","x":"{}""#, "a".repeat(30 << 20)));
    let giant = bytes::Bytes::from(giant);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..24 {
        let (client, body) = (stand.client(), giant.clone());
        tasks.spawn(async move {
            client.send("POST", "/v1/chat/completions", body).await.map(|reply| reply.status)
        });
    }
    let statuses: Vec<_> = tasks.join_all().await.into_iter().map(Result::unwrap).collect();
    assert!(statuses.iter().all(|status| [200, 413, 503].contains(status)), "{statuses:?}");
    assert!(statuses.contains(&503), "{statuses:?}");
    let peak = std::fs::read_to_string(format!("/proc/{}/status", stand.pid())).unwrap();
    let peak = peak.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap().trim().trim_end_matches(" kB");
    let peak: u64 = peak.parse().unwrap();
    assert!(peak < 256 * 1024, "peak {peak} kB");
    let after = tokio::time::timeout(PATIENCE, stand.client().chat("fake/ok-t3")).await.unwrap();
    assert_eq!(after.status, 200);
}
