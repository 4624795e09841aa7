//! Which of several control planes acts: the one that holds the lease. All of them answer people and nodes; what goes on
//! by itself (starting nodes, taking files away) goes on in one.
//!
//! The times: a lease is given for 3 s by the database's clock and renewed every second; the others ask every half second.
//! Its holder stops acting half a second before the lease ends, by its own clock and counted from when it asked. So after
//! the holder has died or hangs the next one acts within 3 s, half a second and the time of two statements; at once when
//! its process is proven to have ended on this machine, or when it has left in order: it gives the lease back at the beginning
//! of its end, and the others are told. The rule a newcomer would break:
//! who acts asks [`Term::holds`] right before each deed that is not a write to the database; writes are fenced by
//! themselves.

mod home;
mod silence;

pub use home::Home;

use crate::store::{Change, Error, Gone, Holding, LEASE, Living, Presence, SystemStore};
use home::Holder;
use silence::Silence;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

const RENEW: Duration = Duration::from_secs(1);
const ASK: Duration = Duration::from_millis(500);
/// So long before the lease ends its holder does nothing any more.
const EARLY: Duration = Duration::from_millis(500);

/// The time in which this control plane acts.
#[derive(Clone, Debug)]
pub struct Term {
    /// None where no other control plane can be.
    number: Option<i64>,
    end: Arc<Mutex<Instant>>,
    over: CancellationToken,
}

impl Term {
    /// Of the only control plane.
    pub fn alone() -> Self {
        Self::until(None, Instant::now())
    }

    fn until(number: Option<i64>, end: Instant) -> Self {
        Self {
            number,
            end: Arc::new(Mutex::new(end)),
            over: CancellationToken::new(),
        }
    }

    /// What writes are fenced by.
    pub fn number(&self) -> Option<i64> {
        self.number
    }

    /// Whether this control plane may act now.
    pub fn holds(&self) -> bool {
        !self.over.is_cancelled() && (self.number.is_none() || Instant::now() < self.end())
    }

    /// Waits until it may not any more.
    pub async fn over(&self) {
        self.over.cancelled().await;
    }

    fn end(&self) -> Instant {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn extend(&self, end: Instant) {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = end;
    }
}

/// The terms of this control plane, one after the other; none while another acts.
pub type Terms = watch::Receiver<Option<Term>>;

/// Which control planes live on the database.
#[derive(Clone)]
pub struct Neighbours {
    store: SystemStore,
    own: Presence,
    /// Where nodes can dial, as far as this one knows.
    addresses: watch::Sender<Vec<String>>,
    /// This one is about to end.
    leaving: Arc<AtomicBool>,
    /// Another one lives and is not, as far as this one knows.
    another_stays: Arc<AtomicBool>,
}

impl Neighbours {
    /// Says that this one lives, and takes note of all that do.
    ///
    /// # Errors
    /// The database failed.
    pub async fn look(&self) -> Result<Vec<Living>, Error> {
        if !self.store.is_shared() {
            return Ok(Vec::new());
        }
        let leaving = self.leaving.load(Ordering::SeqCst);
        let living = self.store.say_present(&self.own, leaving).await?;
        let mut others = living.iter().filter(|living| living.presence.id != self.own.id);
        let another_stays = others.any(|other| !other.leaving);
        self.another_stays.store(another_stays, Ordering::SeqCst);
        let urls: Vec<String> = living.iter().map(|living| living.presence.url.clone()).collect();
        self.addresses.send_if_modified(|before| {
            let changed = *before != urls;
            *before = urls;
            changed
        });
        Ok(living)
    }

    /// From now on says with each look that this one is about to end.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::SeqCst);
    }

    /// Whether another one lives that is not about to end, as far as this one knows.
    pub fn another_stays(&self) -> bool {
        self.another_stays.load(Ordering::SeqCst)
    }
}

/// How a control plane leaves to others what goes on by itself.
#[derive(Clone, Debug, Default)]
pub struct Handing {
    /// Nothing acts here any more, nor will it again.
    pub resigned: CancellationToken,
    /// Nobody is answered here any more.
    pub ended: CancellationToken,
}

/// Asks for the lease, and holds it.
pub struct Keeper {
    store: SystemStore,
    neighbours: Neighbours,
    holder: Holder,
    terms: watch::Sender<Option<Term>>,
    silence: Silence,
    failing: bool,
}

impl Keeper {
    /// A keeper, and the terms that it gets. `addresses` is told where all control planes are that live.
    pub fn new(store: SystemStore, own: Presence, home: &Home, addresses: watch::Sender<Vec<String>>) -> (Self, Terms) {
        let (terms, receiver) = watch::channel(None);
        let keeper = Self {
            holder: home.holder(own.id),
            neighbours: Neighbours {
                store: store.clone(),
                own,
                addresses,
                leaving: Arc::default(),
                another_stays: Arc::default(),
            },
            store,
            terms,
            silence: Silence::default(),
            failing: false,
        };
        (keeper, receiver)
    }

    /// Looks for the others, too.
    pub fn neighbours(&self) -> Neighbours {
        self.neighbours.clone()
    }

    /// Works until this control plane has resigned, gives the lease back then, and says that it lives until it has ended.
    pub async fn keep(mut self, handing: Handing) {
        let Handing { resigned, ended } = handing;
        if !self.store.is_shared() {
            self.terms.send_replace(Some(Term::alone()));
            ended.cancelled().await;
            return;
        }
        let mut changes = self.store.changes();
        loop {
            let asked = Instant::now();
            let term = self.terms.borrow().clone();
            // Who hangs at the database must not think that time stands still.
            let limit = term.as_ref().map_or(asked + LEASE, Term::end);
            let answer = tokio::time::timeout_at(limit.into(), self.ask(term.as_ref())).await;
            let answered = matches!(answer, Ok(Ok(_)));
            match (term, answer) {
                (Some(term), Ok(Ok(Some(number)))) if term.number == Some(number) => term.extend(end_of(asked)),
                (term, Ok(Ok(Some(number)))) => {
                    self.lose(term);
                    tracing::info!(term = number, "this control plane acts from now on");
                    self.terms.send_replace(Some(Term::until(Some(number), end_of(asked))));
                }
                (term, Ok(Ok(None))) => self.lose(term),
                (Some(term), _) if !term.holds() => self.lose(Some(term)),
                _ => {}
            }
            self.complain(!answered);
            let holds = self.terms.borrow().is_some();
            let wait = if holds && answered { RENEW } else { ASK };
            tokio::select! {
                () = resigned.cancelled() => break,
                () = is_free(&mut changes), if !holds => {}
                () = tokio::time::sleep_until((asked + wait).into()) => {}
            }
        }
        self.resign().await;
        while ended.run_until_cancelled(tokio::time::sleep(RENEW)).await.is_some() {
            let looked = tokio::time::timeout(LEASE, self.look()).await;
            self.complain(!matches!(looked, Ok(Ok(()))));
        }
        if !matches!(
            tokio::time::timeout(LEASE, self.store.say_gone(self.neighbours.own.id)).await,
            Ok(Ok(()))
        ) {
            tracing::warn!("it was not said that this control plane has ended");
        }
    }

    /// The term that is this control plane's now, if it is one.
    async fn ask(&mut self, term: Option<&Term>) -> Result<Option<i64>, Error> {
        let number = term.and_then(|term| term.number);
        let mut held = self.store.hold_lease(&self.holder.to_string(), number).await?;
        if held.is_none()
            && let Some(other) = self.store.lease().await?
            && let Some(gone) = Holder::parse(&other.holder).filter(|other| other.has_ended(&self.holder))
        {
            self.store.end_lease(&other).await?;
            self.store.forget_lines(Gone::One(gone.id())).await?;
            held = self.store.hold_lease(&self.holder.to_string(), None).await?;
        }
        self.look().await?;
        Ok(held)
    }

    /// Looks for the others. What nodes said to those that have fallen silent is believed no more.
    async fn look(&mut self) -> Result<(), Error> {
        let living = self.neighbours.look().await?;
        let said = living.iter().map(|living| (living.presence.id, living.said_at));
        for id in self.silence.look(said, Instant::now()) {
            tracing::warn!(control_plane.id = %id, "a control plane has fallen silent");
            // Apart: the lease must not wait for the events of its deployments.
            let store = self.store.clone();
            tokio::spawn(async move {
                if let Err(error) = store.forget_lines(Gone::Silent(id)).await {
                    tracing::warn!(%error, "the nodes of a silent control plane are not shown as lost before they are old");
                }
            });
        }
        Ok(())
    }

    fn lose(&self, term: Option<Term>) {
        if let Some(term) = term {
            // In this order: who hears that it is over must not find the same term again.
            self.terms.send_replace(None);
            term.over.cancel();
            tracing::warn!(term = term.number, "this control plane does not act any more");
        }
    }

    /// Once for a database that is away, not twice a second.
    fn complain(&mut self, failing: bool) {
        if failing && !std::mem::replace(&mut self.failing, failing) {
            tracing::error!("the lease could not be asked for");
        }
        self.failing = failing;
    }

    async fn resign(&self) {
        let Some(term) = self.terms.send_replace(None) else {
            return;
        };
        term.over.cancel();
        let Some(number) = term.number else { return };
        let own = Holding {
            holder: self.holder.to_string(),
            term: number,
        };
        // It ends by itself else.
        match tokio::time::timeout(LEASE, self.store.end_lease(&own)).await {
            Ok(Ok(())) => tracing::info!(term = number, "this control plane has given the lease back"),
            _ => tracing::warn!("the lease was not given back"),
        }
    }
}

/// Waits until somebody has given the lease back, or may have.
async fn is_free(changes: &mut broadcast::Receiver<Change>) {
    loop {
        match changes.recv().await {
            Ok(Change::Lease) | Err(broadcast::error::RecvError::Lagged(_)) => return,
            Ok(_) => {}
            // The time alone ends it.
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// Until when whoever asked at this moment may act.
fn end_of(asked: Instant) -> Instant {
    asked + LEASE.saturating_sub(EARLY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_ends_by_the_clock_though_nobody_says_so() {
        let now = Instant::now();
        assert!(Term::until(Some(1), now + LEASE).holds());
        assert!(!Term::until(Some(1), now).holds());
        assert!(Term::alone().holds());
        let told = Term::until(Some(1), now + LEASE);
        told.over.cancel();
        assert!(!told.holds());
    }

    /// Five seconds are promised: what is left is for the statements, on a slow machine.
    #[test]
    fn the_next_one_acts_within_what_is_promised() {
        assert!(LEASE + ASK + Duration::from_secs(1) <= Duration::from_secs(5));
    }

    #[test]
    fn its_holder_stops_before_anybody_else_can_begin() {
        let asked = Instant::now();
        assert!(end_of(asked) + EARLY <= asked + LEASE);
        // It gets two more chances to renew before that, when one is missed.
        assert!(asked + RENEW + ASK + ASK < end_of(asked));
    }
}
