//! Deadlines of many connections for the price of one timer per thread.
//!
//! A timer per request costs as much as parsing it. Here a connection owns a slot and only stores
//! a number in it; one task per thread looks at all slots every [`TICK`] and wakes those that are
//! late. Deadlines are therefore up to one tick late, never early.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::{Context, Waker},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

pub(crate) const TICK: Duration = Duration::from_millis(100);
const NEVER: u64 = u64::MAX;

/// The slots of one thread.
#[derive(Debug)]
pub(crate) struct Watchdog {
    origin: Instant,
    /// Milliseconds since `origin`, as of the last tick.
    now_ms: Cell<u64>,
    slots: RefCell<Vec<Entry>>,
    free: RefCell<Vec<usize>>,
    used: Cell<usize>,
    /// Counts up with every [`Slot::arm_idle`], since deadlines are too coarse to order by.
    order: Cell<u64>,
    first: Notify,
}

#[derive(Debug, Default)]
struct Entry {
    deadline_ms: u64,
    waker: Option<Waker>,
    /// May be taken away when connections are short; when it became idle.
    idle: Option<u64>,
    expired: bool,
}

impl Watchdog {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self {
            origin: Instant::now(),
            now_ms: Cell::new(0),
            slots: RefCell::default(),
            free: RefCell::default(),
            used: Cell::new(0),
            order: Cell::new(0),
            first: Notify::new(),
        })
    }

    pub(crate) fn slot(self: &Rc<Self>) -> Slot {
        let index = self.free.borrow_mut().pop().unwrap_or_else(|| {
            let mut slots = self.slots.borrow_mut();
            slots.push(Entry::default());
            slots.len() - 1
        });
        self.slots.borrow_mut()[index] = Entry { deadline_ms: NEVER, ..Entry::default() };
        if self.used.replace(self.used.get() + 1) == 0 {
            self.now_ms.set(self.elapsed_ms());
            self.first.notify_one();
        }
        Slot { watchdog: self.clone(), index }
    }

    /// Runs as long as its thread.
    pub(crate) async fn run(self: Rc<Self>) {
        loop {
            if self.used.get() == 0 {
                self.first.notified().await;
            }
            tokio::time::sleep(TICK).await;
            self.tick();
        }
    }

    fn tick(&self) {
        let now_ms = self.elapsed_ms();
        self.now_ms.set(now_ms);
        let mut late = Vec::new();
        for entry in self.slots.borrow_mut().iter_mut() {
            if entry.deadline_ms <= now_ms {
                entry.deadline_ms = NEVER;
                entry.expired = true;
                late.extend(entry.waker.take());
            }
        }
        late.into_iter().for_each(Waker::wake);
    }

    /// Lets the connection that has been idle for longest expire now; false when none is idle.
    pub(crate) fn reclaim_idle(&self) -> bool {
        let waker = {
            let mut slots = self.slots.borrow_mut();
            let oldest = slots.iter_mut().filter(|entry| entry.idle.is_some() && !entry.expired);
            let Some(entry) = oldest.min_by_key(|entry| entry.idle) else { return false };
            entry.expired = true;
            entry.deadline_ms = NEVER;
            entry.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
        true
    }

    /// No idle connection stays longer than `most` from now.
    pub(crate) fn hurry_idle(&self, most: Duration) {
        let latest = self.elapsed_ms().saturating_add(u64::try_from(most.as_millis()).unwrap_or(NEVER));
        for entry in self.slots.borrow_mut().iter_mut().filter(|entry| entry.idle.is_some()) {
            entry.deadline_ms = entry.deadline_ms.min(latest);
        }
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(NEVER - 1)
    }
}

/// The deadline of one connection or stream.
#[derive(Debug)]
pub(crate) struct Slot {
    watchdog: Rc<Watchdog>,
    index: usize,
}

impl Slot {
    /// From now on the deadline is `after` from now; an earlier expiry is forgotten.
    pub(crate) fn arm(&self, after: Duration) {
        self.set(after, None);
    }

    /// As [`Self::arm`], and the connection may be closed before when room is short.
    pub(crate) fn arm_idle(&self, after: Duration) {
        let order = &self.watchdog.order;
        order.set(order.get() + 1);
        self.set(after, Some(order.get()));
    }

    fn set(&self, after: Duration, idle: Option<u64>) {
        // One tick is added since `now_ms` may be that old.
        let after_ms = u64::try_from((after + TICK).as_millis()).unwrap_or(NEVER);
        let deadline_ms = self.watchdog.now_ms.get().saturating_add(after_ms);
        let entry = &mut self.watchdog.slots.borrow_mut()[self.index];
        entry.deadline_ms = deadline_ms;
        entry.idle = idle;
        entry.expired = false;
    }

    pub(crate) fn disarm(&self) {
        let entry = &mut self.watchdog.slots.borrow_mut()[self.index];
        entry.deadline_ms = NEVER;
        entry.idle = None;
        entry.expired = false;
    }

    /// Whether the deadline has passed; if not, the task is woken when it does.
    pub(crate) fn expired(&self, cx: &Context<'_>) -> bool {
        let entry = &mut self.watchdog.slots.borrow_mut()[self.index];
        if !entry.expired && !entry.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            entry.waker = Some(cx.waker().clone());
        }
        entry.expired
    }

    /// Runs `work` until the deadline; none when that came first.
    pub(crate) async fn within<F: Future>(&self, after: Duration, work: F) -> Option<F::Output> {
        self.arm(after);
        let mut work = std::pin::pin!(work);
        let done = std::future::poll_fn(|cx| match work.as_mut().poll(cx) {
            std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
            std::task::Poll::Pending if self.expired(cx) => std::task::Poll::Ready(None),
            std::task::Poll::Pending => std::task::Poll::Pending,
        })
        .await;
        self.disarm();
        done
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.watchdog.slots.borrow_mut()[self.index] = Entry { deadline_ms: NEVER, ..Entry::default() };
        self.watchdog.free.borrow_mut().push(self.index);
        self.watchdog.used.set(self.watchdog.used.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_one_thread<F: Future>(work: impl FnOnce(Rc<Watchdog>) -> F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let watchdog = Watchdog::new();
            tokio::task::spawn_local(watchdog.clone().run());
            work(watchdog).await
        })
    }

    #[test]
    fn late_work_is_stopped_and_timely_work_is_not() {
        on_one_thread(|watchdog| async move {
            let slot = watchdog.slot();
            let from = Instant::now();
            assert_eq!(slot.within(Duration::from_millis(50), std::future::pending::<()>()).await, None);
            assert!(from.elapsed() >= Duration::from_millis(50));
            assert_eq!(slot.within(Duration::from_millis(50), async { 7 }).await, Some(7));
        });
    }

    #[test]
    fn slots_are_used_again_without_their_past() {
        on_one_thread(|watchdog| async move {
            let slot = watchdog.slot();
            slot.arm(Duration::ZERO);
            drop(slot);
            let again = watchdog.slot();
            assert_eq!(again.index, 0);
            tokio::time::sleep(TICK * 3).await;
            std::future::poll_fn(|cx| {
                assert!(!again.expired(cx));
                std::task::Poll::Ready(())
            })
            .await;
        });
    }

    #[test]
    fn the_longest_idle_goes_first() {
        on_one_thread(|watchdog| async move {
            let (busy, late, early) = (watchdog.slot(), watchdog.slot(), watchdog.slot());
            busy.arm(Duration::from_secs(1));
            early.arm_idle(Duration::from_secs(9));
            late.arm_idle(Duration::from_secs(9));
            assert!(watchdog.reclaim_idle());
            std::future::poll_fn(|cx| {
                assert!(early.expired(cx) && !late.expired(cx) && !busy.expired(cx));
                std::task::Poll::Ready(())
            })
            .await;
            assert!(watchdog.reclaim_idle());
            assert!(!watchdog.reclaim_idle());
        });
    }
}
