//! Counts the bytes that a loop looks at, in tests only: a proof of linear time that no slow machine
//! can upset. In a normal build [`count`] is nothing at all.

#[cfg(test)]
thread_local! {
    static STEPS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Adds `looked_at` bytes to this thread's tally.
#[inline(always)]
pub(crate) fn count(looked_at: usize) {
    #[cfg(test)]
    STEPS.with(|steps| steps.set(steps.get() + looked_at as u64));
    #[cfg(not(test))]
    let _ = looked_at;
}

/// Runs `work` and tells how many bytes it looked at.
#[cfg(test)]
pub(crate) fn measured(work: impl FnOnce()) -> u64 {
    STEPS.with(|steps| steps.set(0));
    work();
    STEPS.with(std::cell::Cell::get)
}
