//! A disk that is full, or fails: nothing is lost and nothing counted twice.

use std::path::Path;
use std::time::Instant;

use crate::books;
use crate::stand::{Setup, Stand};

fn setup() -> Setup {
    Setup { key: books::budget("50.00"), more: books::priced_models(), ..Setup::default() }
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
    // Refused before anything is sent, and at once: nothing waits for the disk (the goal is 50 ms; shown, not
    // asserted, since it is also the machine's).
    let dispatched = stand.upstream.journal().count();
    let mut times = Vec::new();
    for _ in 0..50 {
        let since = Instant::now();
        let reply = stand.client().chat("fake/ok-t3").await;
        times.push(since.elapsed());
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (503, "accounting_unavailable"),
            "{}",
            reply.text()
        );
    }
    assert_eq!(stand.upstream.journal().count(), dispatched, "a refused call was sent");
    times.sort_unstable();
    eprintln!("refusals on a full disk: median {:?}, longest {:?} of 50", times[25], times[49]);
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
