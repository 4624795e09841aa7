//! What pods have logged, asked for once for all who want it within a moment.
//!
//! Many may follow one deployment, and each of them looks once a second: its cluster is asked as if there were one. The rule
//! a newcomer would break: whether somebody may see it is decided before, each time; nothing here knows who asks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::sleep;
use uuid::Uuid;

/// Whoever follows looks once a second, and is to see something new each time.
const MOMENT: Duration = Duration::from_millis(900);

/// Answers that are kept at a time, each of at most 16 MiB; whoever asks for one more has it for themselves.
const MOST: usize = 16;

/// The last lines of each pod by its node's id, or why there are none.
pub type Tails = Result<Arc<Vec<(Uuid, String)>>, String>;

/// A deployment, and how many lines of each of its pods.
type Asked = (Uuid, usize);

/// One answer for all who ask at the same time.
type Answer = Arc<tokio::sync::OnceCell<Tails>>;

/// What was asked for within the last moment.
#[derive(Clone, Default)]
pub(super) struct Recent(Arc<Mutex<HashMap<Asked, Answer>>>);

impl Recent {
    /// What was answered within the last moment, or is being; else what is answered now.
    pub(super) async fn get(&self, asked: Asked, ask: impl Future<Output = Tails>) -> Tails {
        let answer = {
            let mut all = self.all();
            // What everybody has hung up on before it was answered.
            all.retain(|_, answer| answer.initialized() || Arc::strong_count(answer) > 1);
            let has_room = all.len() < MOST || all.contains_key(&asked);
            has_room.then(|| Arc::clone(all.entry(asked).or_default()))
        };
        let Some(answer) = answer else {
            return ask.await;
        };
        let first = async {
            let tails = ask.await;
            let (recent, answer) = (self.clone(), Arc::clone(&answer));
            tokio::spawn(async move {
                sleep(MOMENT).await;
                recent.forget(&asked, &answer);
            });
            tails
        };
        answer.get_or_init(|| first).await.clone()
    }

    fn forget(&self, asked: &Asked, answer: &Answer) {
        let mut all = self.all();
        if all.get(asked).is_some_and(|now| Arc::ptr_eq(now, answer)) {
            all.remove(asked);
        }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Asked, Answer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn a_crowd_asks_once() {
        let (recent, asked) = (Recent::default(), AtomicUsize::new(0));
        let ask = || async {
            let number = asked.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            Ok(Arc::new(vec![(Uuid::nil(), number.to_string())]))
        };
        let (iris, rose) = ((Uuid::from_u128(1), 200), (Uuid::from_u128(2), 200));
        let answers = futures::future::join_all((0..50).map(|_| recent.get(iris, ask()))).await;
        assert!(answers.iter().all(|answer| answer.as_ref().unwrap()[0].1 == "0"));
        recent.get(rose, ask()).await.unwrap();
        recent.get((iris.0, 5), ask()).await.unwrap();
        assert_eq!(asked.load(Ordering::SeqCst), 3);
        // Each is forgotten after its moment, and then there is something new.
        while !recent.all().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(recent.get(iris, ask()).await.unwrap()[0].1, "3");
    }

    #[tokio::test]
    async fn what_is_kept_is_bounded() {
        let recent = Recent::default();
        for tail in 0..=MOST {
            let answer = recent.get((Uuid::nil(), tail), async { Ok(Arc::default()) }).await;
            assert!(answer.is_ok());
            assert_eq!(recent.all().len(), MOST.min(tail + 1));
        }
    }

    #[tokio::test]
    async fn whoever_hangs_up_leaves_the_question_to_the_next() {
        let (recent, iris) = (Recent::default(), (Uuid::from_u128(1), 200));
        assert!(recent.get(iris, std::future::pending()).now_or_never().is_none());
        let answer = recent.get(iris, async { Err("away".to_owned()) }).await;
        assert_eq!(answer, Err("away".to_owned()));
    }
}
