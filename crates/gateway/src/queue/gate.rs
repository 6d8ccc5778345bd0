//! A gate that so many calls may have passed at once; the others wait before it, in the order of [`policy::queue`].
//!
//! While there is room a call costs one look and one change of a number, on whatever thread it comes. Only where there is none
//! do threads meet at a lock, and hold it for as long as it takes to find a place in the queue or whose turn it is. Whoever
//! gives a place back calls the next itself, so there is no task that could fall behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};

use parking_lot::Mutex;
use policy::queue::{Asks, Bounds, Queue, Shed, Ticket};
use runtime::Clock;
use tokio::sync::oneshot;

type Tell = oneshot::Sender<Result<Pass, Shed>>;

/// See the module.
pub(crate) struct Gate {
    room: AtomicU32,
    passed: AtomicU32,
    /// As many as are in the queue; written under its lock.
    waiting: AtomicUsize,
    queue: Mutex<Queue<Tell>>,
    clock: Clock,
}

/// A place behind the gate; the next gets it when this is dropped.
pub(crate) struct Pass(Option<Arc<Gate>>);

impl Pass {
    pub(crate) fn is_of(&self, gate: &Arc<Gate>) -> bool {
        self.0.as_ref().is_some_and(|own| Arc::ptr_eq(own, gate))
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(gate) = self.0.take() {
            gate.passed.fetch_sub(1, SeqCst);
            gate.call_next();
        }
    }
}

/// One that waits; dropping it leaves the queue.
pub(crate) struct Wait {
    gate: Arc<Gate>,
    ticket: Ticket,
    told: oneshot::Receiver<Result<Pass, Shed>>,
}

impl Wait {
    /// Until its turn or its end. May be asked again after it was not awaited to its end.
    pub(crate) async fn turn(&mut self) -> Result<Pass, Shed> {
        // Whoever takes it out of the queue tells it something.
        (&mut self.told).await.unwrap_or(Err(Shed::Late))
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let mut queue = self.gate.queue.lock();
        queue.remove(self.ticket);
        self.gate.waiting.store(queue.len(), SeqCst);
    }
}

impl Gate {
    pub(crate) fn new(room: u32, bounds: Bounds, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            room: AtomicU32::new(room),
            passed: AtomicU32::new(0),
            waiting: AtomicUsize::new(0),
            queue: Mutex::new(Queue::new(bounds)),
            clock,
        })
    }

    /// How many may have passed at once.
    pub(crate) fn room(&self) -> u32 {
        self.room.load(SeqCst)
    }

    /// Changes that. Who has passed goes on, even where they are now too many.
    pub(crate) fn set_room(self: &Arc<Self>, room: u32) {
        self.room.store(room, SeqCst);
        self.call_next();
    }

    /// Whether one that comes would have to wait.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.load(SeqCst) > 0 || self.passed.load(SeqCst) >= self.room()
    }

    /// A place, where there is one and nobody waits for it.
    pub(crate) fn pass(self: &Arc<Self>) -> Option<Pass> {
        (self.waiting.load(SeqCst) == 0 && self.take()).then(|| Pass(Some(Arc::clone(self))))
    }

    /// A place in the queue, or why there is none.
    pub(crate) fn wait(self: &Arc<Self>, asks: Asks) -> Result<Wait, Shed> {
        let (tell, told) = oneshot::channel();
        let (now, mut displaced) = (self.clock.moment(), Vec::new());
        let offered = {
            let mut queue = self.queue.lock();
            let offered = queue.offer(asks, tell, now, &mut displaced);
            self.waiting.store(queue.len(), SeqCst);
            offered
        };
        for gone in displaced {
            let _ = gone.value.send(Err(Shed::Displaced));
        }
        let wait = Wait { gate: Arc::clone(self), ticket: offered?, told };
        // A place may have been given back before this one was seen to wait.
        self.call_next();
        Ok(wait)
    }

    /// How long one would wait that comes now, as far as that is known.
    pub(crate) fn outlook(&self, asks: &Asks) -> Option<std::time::Duration> {
        self.queue.lock().outlook(asks, self.clock.moment())
    }

    fn take(&self) -> bool {
        let room = self.room();
        self.passed.fetch_update(SeqCst, SeqCst, |passed| (passed < room).then_some(passed + 1)).is_ok()
    }

    /// Lets as many pass as there is room for. Who waits is seen before or after a place is given back: either this finds it,
    /// or it finds the place.
    fn call_next(self: &Arc<Self>) {
        while self.waiting.load(SeqCst) > 0 && self.take() {
            let mut late = Vec::new();
            let next = {
                let mut queue = self.queue.lock();
                let next = queue.next(self.clock.moment(), &mut late);
                self.waiting.store(queue.len(), SeqCst);
                next
            };
            for gone in late {
                let _ = gone.value.send(Err(Shed::Late));
            }
            let unclaimed = match next {
                // Its client may have gone at this moment.
                Some(next) => next.value.send(Ok(Pass(Some(Arc::clone(self))))).err(),
                None => Some(Ok(Pass(Some(Arc::clone(self))))),
            };
            if let Some(Ok(mut pass)) = unclaimed {
                // Without calling this again from within.
                pass.0 = None;
                self.passed.fetch_sub(1, SeqCst);
            }
        }
    }
}

#[cfg(test)]
#[path = "gate/tests.rs"]
mod tests;
