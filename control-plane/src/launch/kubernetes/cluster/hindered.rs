//! What hinders a deployment's pods, from all that tells of it.

use super::Care;
use crate::launch::kubernetes::apply::Place;
use crate::launch::kubernetes::observe::{Pod, both, condition, due};
use crate::launch::kubernetes::{evicted, unheard};
use crate::store::Progress;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

impl Care {
    /// What is wrong with a deployment's pods, of whose nodes these are known. What time alone changes is looked at again.
    pub(super) async fn hindered(
        &self,
        place: &Place<'_>,
        id: Uuid,
        pods: &[Pod],
        known: &[Progress],
        failure: Option<&str>,
    ) -> Option<String> {
        let heard: Vec<Uuid> = known.iter().map(|node| node.id).collect();
        let now = self.facts.acting.system().now();
        let (evicted, over) = evicted::of(pods, now);
        let (unheard, again) = unheard::of(pods, &heard, Instant::now());
        let (waiting, later) = self.waiting.look(pods, place.client, place.namespace).await;
        let ready = due(pods, now).map(Duration::from_millis);
        for wait in [over, again, later, ready].into_iter().flatten() {
            self.queue.add_later(id, wait);
        }
        both(condition(pods, failure, now).or(waiting), evicted).or(unheard)
    }
}
