//! Gives memory back to the system when there is nothing to do.
//!
//! The allocator returns freed pages when somebody allocates or frees. After a burst nobody does, and the process would
//! look as large as its busiest second until the next one. Each thread has pages of its own, so each of the data plane
//! is asked too (`gateway::Parts::quiet`).

use super::engine::Engine;
use std::sync::Arc;
use std::time::Duration;

const LOOK: Duration = Duration::from_millis(500);

/// What a thread of the system's allocator may keep at its end, bytes; glibc's own default, said aloud.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT: libc::c_int = 128 * 1024;

/// Starts the task.
pub(crate) fn start(engine: &Arc<Engine>) {
    hold_to_the_threshold();
    engine.tasks.spawn("memory", keep(engine.clone()));
}

/// Left to itself glibc raises the threshold when large blocks are freed, to many megabytes, and `malloc_trim` does not
/// reach what other threads than the first have free at their end (SQLite's are such).
#[cfg_attr(
    all(target_os = "linux", target_env = "gnu"),
    expect(unsafe_code, reason = "the allocator's own door, which no safe crate opens")
)]
fn hold_to_the_threshold() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: takes no pointer and may be called at any time.
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
    }
}

/// Looks after the end of work at which memory is given back: what one thread frees another may have to collect.
const TIMES: u32 = 3;

async fn keep(engine: Arc<Engine>) {
    let mut left = TIMES;
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = engine.tasks.stopping() => return,
        }
        if engine.gateway.in_flight() > 0 || engine.ledger.depth().records > 0 {
            left = TIMES;
        } else if left > 0 {
            left -= 1;
            if let Some(store) = engine.store.find() {
                store.rest().await;
            }
            give_back();
            // The spool is read on the threads that may wait for the disk: they have pages of their own.
            let _ = tokio::task::spawn_blocking(give_back).await;
        }
    }
}

#[expect(unsafe_code, reason = "the allocators' own doors, which no safe crate opens")]
pub(crate) fn give_back() {
    // SAFETY: takes no pointer and may be called from any thread at any time.
    unsafe { libmimalloc_sys::mi_collect(true) }
    // SQLite allocates from the system's library.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: as above.
    unsafe {
        libc::malloc_trim(0);
    }
}
