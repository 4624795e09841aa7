//! Threads that each serve connections of their own.
//!
//! For a port whose answers take less time than it takes to wake a thread: no other thread is woken to help, and a caller who
//! asks again at once finds its thread awake. The rule a newcomer would break: whatever takes long must not be done here, for
//! nobody else takes over the connections of a thread that is busy.

use std::cell::{Cell, OnceCell};
use std::future::{Future, pending};
use std::io;
use std::num::NonZero;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Handle};
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// So long a thread stays awake for a caller who asked again within the same time after its last answer. To wake a thread
/// takes longer than a small model, as the callers of one in turn see (`make bench ONLY=iris`). It costs the core of a thread
/// only while somebody calls more than 10,000 times a second: once in 100 µs.
const VIGIL: Duration = Duration::from_micros(100);

/// Threads, as many as there are cores for them. They end when this is dropped, with all that they serve.
#[derive(Clone)]
pub struct Threads {
    threads: Arc<[Thread]>,
    _end: Arc<DropGuard>,
}

struct Thread {
    handle: Handle,
    /// One for the thread and one for each of its connections.
    connections: Arc<()>,
}

thread_local! {
    static AWAKE: Awake = Awake::default();
}

/// Until when this thread stays awake.
#[derive(Default)]
struct Awake {
    until: Cell<Option<Instant>>,
    /// Told when that begins. Only threads that do so have it.
    begun: OnceCell<Arc<Notify>>,
}

impl Threads {
    /// Starts them.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn start() -> io::Result<Self> {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let end = CancellationToken::new();
        let started = (0..cores).map(|number| Thread::start(number, cores > 1, end.clone()));
        let threads = started.collect::<io::Result<Vec<_>>>()?;
        Ok(Self {
            threads: threads.into(),
            _end: Arc::new(end.drop_guard()),
        })
    }

    /// Serves a connection on the thread that has the fewest.
    pub(super) fn serve(&self, connections: &TaskTracker, connection: impl Future<Output = ()> + Send + 'static) {
        let fewest = self
            .threads
            .iter()
            .min_by_key(|thread| Arc::strong_count(&thread.connections));
        if let Some(thread) = fewest {
            let counted = Arc::clone(&thread.connections);
            let counted = async move {
                let _counted = counted;
                connection.await;
            };
            connections.spawn_on(counted, &thread.handle);
        }
    }
}

impl Thread {
    /// With one core alone, whoever is awake keeps its caller from running.
    fn start(number: usize, keeps_vigil: bool, end: CancellationToken) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        thread::Builder::new()
            .name(format!("callers-{number}"))
            .spawn(move || {
                let vigils = async { if keeps_vigil { vigils().await } else { pending().await } };
                runtime.block_on(async {
                    tokio::select! {
                        () = end.cancelled() => {}
                        () = vigils => {}
                    }
                });
            })?;
        Ok(Self {
            handle,
            connections: Arc::default(),
        })
    }
}

/// Keeps the runtime of this thread from sleeping while it should stay awake: between two turns of this it looks for what has
/// come, and does not wait.
async fn vigils() {
    let begun = AWAKE.with(|awake| Arc::clone(awake.begun.get_or_init(Arc::default)));
    loop {
        begun.notified().await;
        while AWAKE
            .with(|awake| awake.until.get())
            .is_some_and(|until| Instant::now() < until)
        {
            yield_now().await;
        }
        AWAKE.with(|awake| awake.until.set(None));
    }
}

impl Awake {
    fn stay(&self, until: Instant) {
        let Some(begun) = self.begun.get() else {
            return;
        };
        if self.until.replace(Some(until)).is_none() {
            begun.notify_one();
        }
    }
}

/// How soon the caller of one connection asks again.
#[derive(Default)]
pub(super) struct Pace {
    answered: Option<Instant>,
    is_prompt: bool,
}

impl Pace {
    /// Something was asked. Only the first bytes after an answer say how soon.
    pub(super) fn asked(&mut self, now: Instant) {
        if let Some(answered) = self.answered.take() {
            self.is_prompt = now.saturating_duration_since(answered) <= VIGIL;
        }
    }

    /// Something was answered: for one that is prompt this thread stays awake, if it is one that does so.
    pub(super) fn answered(&mut self, now: Instant) {
        self.answered = Some(now);
        if self.is_prompt {
            AWAKE.with(|awake| awake.stay(now + VIGIL));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll, Wake, Waker};
    use tokio::sync::mpsc;

    const LATER: Duration = Duration::from_secs(3_600);

    #[tokio::test]
    async fn connections_are_shared_evenly_and_end_with_their_thread() {
        let threads = Threads::start().unwrap();
        let (connections, (told, mut heard)) = (TaskTracker::new(), mpsc::unbounded_channel());
        let count = threads.threads.len() * 3;
        for _ in 0..count {
            let told = told.clone();
            threads.serve(&connections, async move {
                told.send(thread::current().name().map(str::to_owned)).unwrap();
                pending().await
            });
        }
        drop(told);
        let mut by_thread = HashMap::new();
        for _ in 0..count {
            *by_thread.entry(heard.recv().await.unwrap()).or_insert(0) += 1;
        }
        assert_eq!(by_thread.len(), threads.threads.len());
        assert!(by_thread.values().all(|connections| *connections == 3), "{by_thread:?}");
        drop(threads);
        assert_eq!(heard.recv().await, None, "they were dropped");
    }

    #[test]
    fn a_caller_is_prompt_who_asked_again_at_once_the_last_time() {
        let (start, mut pace) = (Instant::now(), Pace::default());
        let mut at = start;
        for (gap, is_prompt) in [(VIGIL, true), (VIGIL * 2, false), (Duration::ZERO, true)] {
            pace.answered(at);
            at += gap;
            pace.asked(at);
            assert_eq!(pace.is_prompt, is_prompt, "{gap:?}");
            // The rest of what is asked.
            at += LATER;
            pace.asked(at);
            assert_eq!(pace.is_prompt, is_prompt, "{gap:?}");
        }
    }

    /// How often it was woken.
    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_thread_is_kept_from_sleeping_until_then_and_no_longer() {
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut vigils = pin!(vigils());
        // Whether it is to be polled again without anything having come.
        let mut wakes = || {
            let before = count.0.load(Ordering::SeqCst);
            assert_eq!(vigils.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Pending);
            count.0.load(Ordering::SeqCst) > before
        };
        assert!(!wakes(), "nobody was answered");
        AWAKE.with(|awake| awake.stay(Instant::now() + LATER));
        assert!(wakes() && wakes());
        AWAKE.with(|awake| awake.until.set(Some(Instant::now())));
        assert!(!wakes());
        AWAKE.with(|awake| awake.stay(Instant::now() + LATER));
        assert!(wakes(), "and once more");
    }

    #[test]
    fn a_thread_that_is_none_of_these_sleeps_as_it_likes() {
        AWAKE.with(|awake| awake.stay(Instant::now() + LATER));
        assert_eq!(AWAKE.with(|awake| awake.until.get()), None);
    }
}
