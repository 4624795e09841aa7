//! Bodies that are read whole: each bounded in bytes and in time, and all of them together in bytes.
//!
//! The rule a newcomer would break: room in the common budget is taken for bytes that have come, not for those that are
//! announced; else a few callers who announce much and send nothing would keep everybody else out.

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// What room is counted in.
const KIB: usize = 1 << 10;
/// 16 GiB: far below what a semaphore can count.
const MOST_KIB: usize = 1 << 24;

/// Memory for the bodies that a program holds at the same time.
#[derive(Clone, Debug)]
pub struct Budget {
    free: Arc<Semaphore>,
    /// KiB in all, free or not.
    all: Arc<AtomicUsize>,
}

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// It has more bytes than it may.
    TooLarge,
    /// It did not come in time.
    Slow,
    /// It broke off.
    Cut,
    /// Other bodies fill the budget.
    Full,
}

/// A body; by default one of nothing. Its room is free again when it is dropped.
#[derive(Debug, Default)]
pub struct Whole {
    bytes: Bytes,
    _room: Room,
}

impl Budget {
    /// So many bytes, or as many as two of the largest bodies have, where that is more.
    pub fn new(bytes: usize) -> Self {
        let all = (bytes / KIB).min(MOST_KIB);
        Self {
            free: Arc::new(Semaphore::new(all)),
            all: Arc::new(AtomicUsize::new(all)),
        }
    }

    /// One body of `most` bytes must not keep every other out, whatever it is allowed to have.
    fn suffice(&self, most: usize) {
        let wanted = most.div_ceil(KIB).saturating_mul(2).min(MOST_KIB);
        let before = self.all.fetch_max(wanted, Ordering::Relaxed);
        self.free.add_permits(wanted.saturating_sub(before));
    }

    /// Reads a body of at most `most` bytes that must have come by `until`. One that announces more is not read at all,
    /// so that whoever asked first (`Expect`) is not told to send it.
    ///
    /// # Errors
    /// Why it was not read.
    pub async fn read<B>(&self, body: B, most: usize, until: Instant) -> Result<Whole, Unread>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        self.suffice(most);
        if usize::try_from(body.size_hint().lower()).map_or(true, |announced| announced > most) {
            return Err(Unread::TooLarge);
        }
        timeout_at(until, self.collect(body, most))
            .await
            .map_err(|_| Unread::Slow)?
    }

    async fn collect<B>(&self, mut body: B, most: usize) -> Result<Whole, Unread>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let mut room = Room::default();
        let mut first = Bytes::new();
        let mut all = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| Unread::Cut)?.into_data() else {
                continue;
            };
            let came = first.len() + all.len() + data.len();
            if came > most {
                return Err(Unread::TooLarge);
            }
            room.grow(&self.free, came)?;
            // What comes in one piece is not copied. Of many pieces none is kept, for each holds more than its bytes.
            if first.is_empty() && all.is_empty() {
                first = data;
            } else {
                all.extend_from_slice(&std::mem::take(&mut first));
                all.extend_from_slice(&data);
            }
        }
        let bytes = if all.is_empty() { first } else { all.freeze() };
        Ok(Whole { bytes, _room: room })
    }
}

/// What one body has taken of the budget.
#[derive(Debug, Default)]
struct Room(Option<OwnedSemaphorePermit>);

impl Room {
    fn grow(&mut self, free: &Arc<Semaphore>, bytes: usize) -> Result<(), Unread> {
        let has = self.0.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = bytes.div_ceil(KIB).saturating_sub(has);
        if more == 0 {
            return Ok(());
        }
        let more = u32::try_from(more).map_err(|_| Unread::TooLarge)?;
        let more = Arc::clone(free)
            .try_acquire_many_owned(more)
            .map_err(|_| Unread::Full)?;
        match &mut self.0 {
            Some(room) => room.merge(more),
            None => self.0 = Some(more),
        }
        Ok(())
    }
}

impl Whole {
    /// Its bytes, without their room: for whoever hands them on at once.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }
}

impl Deref for Whole {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body as AnyBody;
    use std::time::Duration;

    /// A body of these pieces, of no announced size, that then ends or does not.
    struct Pieces(Vec<Bytes>, bool);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
            match self.0.pop() {
                Some(piece) => std::task::Poll::Ready(Some(Ok(http_body::Frame::data(piece)))),
                None if self.1 => std::task::Poll::Ready(None),
                None => std::task::Poll::Pending,
            }
        }
    }

    fn pieces(count: usize, size: usize) -> Pieces {
        Pieces(vec![Bytes::from(vec![b'x'; size]); count], true)
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[tokio::test]
    async fn a_body_is_whole_however_it_comes() {
        let budget = Budget::new(1 << 20);
        for (count, size) in [(0, 0), (1, 10), (3, 1), (100, 1_000), (2, 0)] {
            let whole = budget.read(pieces(count, size), 100_000, later()).await.unwrap();
            assert_eq!(whole.len(), count * size);
            assert_eq!(budget.free.available_permits(), 1_024 - (count * size).div_ceil(KIB));
        }
        assert_eq!(budget.free.available_permits(), 1_024);
    }

    #[tokio::test]
    async fn what_is_announced_too_large_is_not_read_and_what_comes_too_large_is_left() {
        let budget = Budget::new(1 << 20);
        let announced = AnyBody::from(vec![b'x'; 11]);
        assert_eq!(budget.read(announced, 10, later()).await.unwrap_err(), Unread::TooLarge);
        let come = budget.read(pieces(11, 1), 10, later()).await;
        assert_eq!(come.unwrap_err(), Unread::TooLarge);
        let stalled = Pieces(vec![Bytes::from_static(b"x")], false);
        assert_eq!(
            budget.read(stalled, 10, Instant::now()).await.unwrap_err(),
            Unread::Slow
        );
    }

    #[tokio::test]
    async fn all_bodies_together_are_bounded() {
        let budget = Budget::new(10 * KIB);
        let mut held = Vec::new();
        for _ in 0..5 {
            held.push(budget.read(pieces(2, KIB), 2 * KIB, later()).await.unwrap());
        }
        assert_eq!(
            budget.read(pieces(1, 1), 2 * KIB, later()).await.unwrap_err(),
            Unread::Full
        );
        held.pop();
        let read = budget.read(pieces(2, KIB), 2 * KIB, later()).await;
        assert!(read.is_ok());
    }

    #[tokio::test]
    async fn the_largest_body_leaves_room_for_another() {
        let budget = Budget::new(KIB);
        let most = 64 * KIB;
        let largest = budget.read(pieces(64, KIB), most, later()).await.unwrap();
        let another = budget.read(pieces(1, most), most, later()).await.unwrap();
        assert_eq!(
            budget.read(pieces(1, 1), most, later()).await.unwrap_err(),
            Unread::Full
        );
        drop((largest, another));
        assert_eq!(budget.free.available_permits(), 128);
    }
}
