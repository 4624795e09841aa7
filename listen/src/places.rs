//! The places of a port, and who is asked to leave while all are taken.
//!
//! Apart from the life of a connection, which knows nothing of others. The rule a newcomer would break: whoever may have a
//! call on its way is never asked, however long that takes.

use super::pulse::{Pulse, Standing};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// So long nobody is asked who says nothing. A head comes right behind its connection; this is for one that was lost on
/// the way and sent again. With 1,000 places the [`WAITING`](super::WAITING) behind as many silent ones wait 4 s.
const GRACE: Duration = Duration::from_secs(1);
/// How often it is looked again while nobody can be asked, or who was asked is still there.
const LOOK: Duration = Duration::from_millis(50);

/// The places of one port.
pub(super) struct Places {
    free: Arc<Semaphore>,
    taken: Mutex<Taken>,
}

/// Who has a place, in the order in which they came.
#[derive(Default)]
struct Taken {
    came: u64,
    by: BTreeMap<u64, Occupant>,
}

#[derive(Clone)]
struct Occupant {
    pulse: Arc<Pulse>,
    asked: CancellationToken,
}

/// The place of one connection, until this is dropped.
pub(super) struct Place {
    occupant: Occupant,
    number: u64,
    places: Arc<Places>,
    _permit: OwnedSemaphorePermit,
}

impl Places {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            free: Arc::new(Semaphore::new(most)),
            taken: Mutex::default(),
        })
    }

    /// Waits for a place. While there is none, one after the other is asked to leave.
    pub(super) async fn free(&self) -> io::Result<OwnedSemaphorePermit> {
        loop {
            if let Ok(permit) = self.free.clone().try_acquire_owned() {
                return Ok(permit);
            }
            self.ask_one();
            if let Ok(permit) = timeout(LOOK, self.free.clone().acquire_owned()).await {
                return permit.map_err(io::Error::other);
            }
        }
    }

    /// Gives it to a connection that begins now.
    pub(super) fn give(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Place {
        let occupant = Occupant {
            pulse: Arc::new(Pulse::begin_now()),
            asked: CancellationToken::new(),
        };
        let mut taken = self.taken();
        let number = taken.came;
        taken.came += 1;
        taken.by.insert(number, occupant.clone());
        Place {
            occupant,
            number,
            places: Arc::clone(self),
            _permit: permit,
        }
    }

    fn ask_one(&self) {
        let taken = self.taken();
        let not_asked = taken.by.values().filter(|occupant| !occupant.asked.is_cancelled());
        if let Some(occupant) = dispensable(not_asked.map(|occupant| (occupant.pulse.standing(), occupant))) {
            occupant.asked.cancel();
        }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// What is known of the connection that has it.
    pub(super) fn pulse(&self) -> &Arc<Pulse> {
        &self.occupant.pulse
    }

    /// Waits until it is wanted for somebody else.
    pub(super) async fn wanted(&self) {
        self.occupant.asked.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken().by.remove(&self.number);
    }
}

/// Who can be spared the most, of all in the order in which they came: the first that never said anything; else the one
/// whose last answer is longest ago.
fn dispensable<T>(all: impl Iterator<Item = (Standing, T)>) -> Option<T> {
    let mut longest: Option<(Duration, T)> = None;
    for (standing, occupant) in all {
        match standing {
            Standing::Silent(since) if since >= GRACE => return Some(occupant),
            Standing::Resting(since) if since >= GRACE && longest.as_ref().is_none_or(|(most, _)| since > *most) => {
                longest = Some((since, occupant));
            }
            _ => {}
        }
    }
    longest.map(|(_, occupant)| occupant)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Standing::{Engaged, Resting, Silent};

    #[test]
    fn who_can_be_spared() {
        let ms = Duration::from_millis;
        let (short, long, longer) = (ms(999), ms(1_000), ms(60_000));
        for (all, spared) in [
            (&[][..], None),
            (&[Engaged, Engaged], None),
            (&[Silent(short), Resting(short)], None),
            (&[Engaged, Silent(longer), Silent(long)], Some(1)),
            (&[Resting(longer), Engaged, Silent(long)], Some(2)),
            (&[Resting(longer), Engaged, Silent(short)], Some(0)),
            (
                &[Resting(short), Resting(long), Resting(longer), Resting(long)],
                Some(2),
            ),
        ] {
            let numbered = all.iter().enumerate().map(|(number, standing)| (*standing, number));
            assert_eq!(dispensable(numbered), spared, "{all:?}");
        }
    }

    #[tokio::test]
    async fn one_is_asked_only_while_all_places_are_taken() {
        let places = Places::new(2);
        let first = places.give(places.free().await.unwrap());
        tokio::time::sleep(GRACE).await;
        let second = places.give(places.free().await.unwrap());
        assert!(!first.occupant.asked.is_cancelled());
        let leaving = async {
            first.wanted().await;
            drop(first);
        };
        // The limit is only against hanging.
        let third = timeout(Duration::from_secs(60), async {
            tokio::join!(places.free(), leaving).0
        });
        let third = third.await.expect("there is a place");
        assert!(!second.occupant.asked.is_cancelled(), "one that leaves is enough");
        drop((second, third));
        assert_eq!(places.free.available_permits(), 2);
        assert!(places.taken().by.is_empty());
    }
}
