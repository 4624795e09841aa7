//! What a follower waits for by itself, beside what the control plane says.

use super::load::{Failure, Load};
use tokio::time::{Instant, sleep_until};

/// What stirred.
pub enum Stir<B> {
    /// A load has ended.
    Ended(Result<B, Failure>),
    /// It is time to ask for files again.
    Retry,
    /// It is time to look for errands.
    Errands,
}

/// Waits for the first of them. May be dropped and called again.
pub async fn next<B: Clone + Send + Sync + 'static>(
    load: Option<&mut Load<B>>,
    retry: Option<Instant>,
    errands: Instant,
) -> Stir<B> {
    let ended = async {
        match load {
            Some(load) => load.ended().await,
            None => std::future::pending().await,
        }
    };
    let due = async {
        match retry {
            Some(at) => sleep_until(at).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        result = ended => Stir::Ended(result),
        () = due => Stir::Retry,
        () = sleep_until(errands) => Stir::Errands,
    }
}
