//! Whether a cluster is there, and whether it is seen otherwise than before.

use super::{Care, SELDOM};
use crate::launch::kubernetes::connection::{answer, says_something};
use crate::launch::kubernetes::watch::{Sights, is_clear};
use kube::Client;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Between two looks whether a cluster answers again.
const AGAIN: Duration = Duration::from_secs(2);

/// How everything stood when all was seen last.
#[derive(Default)]
struct Outlook(Option<Sights>);

impl Outlook {
    /// Whether that is another than before, now that all is seen.
    fn is_new(&mut self, now: Sights) -> bool {
        let is_new = self.0.as_ref() != Some(&now);
        self.0 = Some(now);
        is_new
    }
}

impl Care {
    /// While a cluster is away all of its deployments say so, and when it is back all are looked at.
    pub(super) async fn look_whether_it_is_there(&self, client: &Client) {
        let mut changes = self.view.changes();
        let (mut away, mut outlook) = (None, Outlook::default());
        loop {
            let now = changes.borrow_and_update().clone();
            match is_clear(&now) {
                Ok(true) => {
                    away = None;
                    let all = self.deployments().await;
                    // What failed may succeed where a kind is seen that was not. Else it has its time: a cluster that says its
                    // version may still refuse all but that.
                    match outlook.is_new(now) {
                        true => self.queue.add(all),
                        false => self.queue.remind(all),
                    }
                }
                Ok(false) => {}
                Err(why) => {
                    if away.as_ref() != Some(&why) {
                        tracing::warn!(infrastructure = %self.cluster.name, reason = why, "a cluster cannot be seen");
                        self.say_everywhere(&why).await;
                        away = Some(why);
                    }
                    sleep(AGAIN).await;
                    if answer(client.apiserver_version()).await.is_ok() {
                        self.view.recover();
                    }
                    continue;
                }
            }
            // One that has nothing to tell may be one that is not there any more: nobody would ever hear it.
            let changed = loop {
                match timeout(SELDOM, changes.changed()).await {
                    Ok(changed) => break changed,
                    Err(_) => {
                        if !says_something(client).await {
                            self.view.begin_anew();
                        }
                    }
                }
            };
            if changed.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::kubernetes::objects::Kind;
    use crate::launch::kubernetes::watch::{Known, Sight, Watched};

    #[test]
    fn what_comes_back_as_it_was_is_nothing_new_and_a_kind_that_is_shown_is() {
        let clear = |known| Sights::from([(Watched::Objects(Kind::HttpRoute), Sight::Clear(known))]);
        let hidden = || clear(Known::Hidden("the account may not look".to_owned()));
        let mut outlook = Outlook::default();
        assert!(outlook.is_new(hidden()), "the first time");
        assert!(!outlook.is_new(hidden()), "it was lost, and is as before");
        assert!(outlook.is_new(clear(Known::Seen)));
        assert!(!outlook.is_new(clear(Known::Seen)));
    }
}
