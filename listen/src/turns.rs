//! Another turn at once, for a future that wakes itself while it is polled.
//!
//! hyper hands a request's body over to whoever answers it within one task, and wakes that task for each step: twice for a
//! small request. The runtime would put the task at the end of its queue each time and wake another of its threads to help
//! with it, which takes longer than the step. The rule a newcomer would break: turns are few, so that a future that always
//! wakes itself does not keep the thread from others.

use futures::task::AtomicWaker;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// A request with its body takes three: its head, its body, and a look whether more has come.
const MOST: usize = 4;

/// It is not polled: a wake is passed on.
const RESTING: u8 = 0;
/// It is polled, and was not woken since that began.
const POLLED: u8 = 1;
/// It was woken while it is polled.
const WOKEN: u8 = 2;

/// The turns of one future.
pub(super) struct Turns {
    sleeper: Arc<Sleeper>,
    /// Wakes the sleeper.
    waker: Waker,
}

#[derive(Default)]
struct Sleeper {
    state: AtomicU8,
    /// The task that the future belongs to.
    task: AtomicWaker,
}

impl Turns {
    pub(super) fn new() -> Self {
        let sleeper = Arc::new(Sleeper::default());
        let waker = Waker::from(Arc::clone(&sleeper));
        Self { sleeper, waker }
    }

    /// Polls a future, which must be the same each time, until it rests or has had its turns.
    pub(super) fn poll<T>(
        &self,
        context: &mut Context<'_>,
        mut future: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let Sleeper { state, task } = &*self.sleeper;
        task.register(context.waker());
        for _ in 0..MOST {
            state.store(POLLED, Ordering::Release);
            if let Poll::Ready(output) = future(&mut Context::from_waker(&self.waker)) {
                return Poll::Ready(output);
            }
            if state
                .compare_exchange(POLLED, RESTING, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
            {
                return Poll::Pending;
            }
        }
        state.store(RESTING, Ordering::Release);
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let woken = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
            (state != RESTING).then_some(WOKEN)
        });
        if woken.is_err() {
            self.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::pin::pin;
    use std::sync::atomic::AtomicUsize;
    use std::thread;
    use tokio::sync::oneshot;

    /// How often it was woken.
    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Polls a future that wakes itself so many times: how often it was polled, whether it ended, and the wakes of its task.
    fn polled(wakes: usize) -> (usize, bool, usize) {
        let (turns, count) = (Turns::new(), Arc::new(Count::default()));
        let waker = Waker::from(Arc::clone(&count));
        let mut polls = 0;
        let ended = turns.poll(&mut Context::from_waker(&waker), |context| {
            polls += 1;
            if polls > wakes {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        });
        (polls, ended.is_ready(), count.0.load(Ordering::SeqCst))
    }

    #[test]
    fn one_that_wakes_itself_has_another_turn_and_its_task_is_not_woken() {
        assert_eq!(polled(0), (1, true, 0));
        assert_eq!(polled(2), (3, true, 0));
    }

    #[test]
    fn one_that_goes_on_waking_itself_lets_others_go_first() {
        assert_eq!(polled(usize::MAX), (MOST, false, 1));
    }

    #[tokio::test]
    async fn a_wake_from_elsewhere_is_never_lost() {
        for _ in 0..2_000 {
            let (sender, receiver) = oneshot::channel();
            let turns = Turns::new();
            let mut receiver = pin!(receiver);
            // It may come before, while and after it is polled.
            let sending = thread::spawn(move || sender.send(7));
            let got = poll_fn(|context| turns.poll(context, |context| receiver.as_mut().poll(context))).await;
            assert_eq!(got, Ok(7));
            sending.join().unwrap().unwrap();
        }
    }
}
