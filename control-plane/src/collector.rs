//! Takes away package files that no version names: of uploads that were refused at the last step, and of deleted versions.
//!
//! Apart from artifacts, which knows no versions, and from the store, which knows no files. The rule a newcomer would
//! break: what is in use is asked after the files are listed. A file is kept before its version is written down, so a
//! version that comes in between names a file that is young, or was made young again.

use crate::artifacts::{Packages, Stored};
use crate::domain::Time;
use crate::domain::package::Digest;
use crate::lease::{Term, Terms};
use crate::store::SystemStore;
use futures::TryStreamExt;
use std::collections::HashSet;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(3_600);
/// Files taken away at one look, so that it never keeps the disk from uploads for long. The rest has an hour's time.
const MOST: usize = 1_000;

/// Collects at once and then every hour in each term of this control plane, until it is told to stop.
pub async fn run(packages: Packages, store: SystemStore, mut terms: Terms, stopping: CancellationToken) {
    let rounds = async {
        while let Ok(term) = terms.wait_for(Option::is_some).await.map(|term| term.clone()) {
            let Some(term) = term else { continue };
            loop {
                match collect(&packages, &store, &term).await {
                    Ok((0, _)) => {}
                    Ok((files, bytes)) => {
                        tracing::info!(files, bytes, "package files that no version names were taken away");
                    }
                    Err(reason) => tracing::warn!(reason, "package files could not be collected"),
                }
                tokio::select! {
                    () = term.over() => break,
                    () = tokio::time::sleep(EVERY) => {}
                }
            }
        }
    };
    // Nothing is half done in between: a file is there or it is not.
    stopping.run_until_cancelled(rounds).await;
}

/// How many files were taken away, and their bytes.
async fn collect(packages: &Packages, store: &SystemStore, term: &Term) -> Result<(usize, u64), String> {
    packages.sweep().await.map_err(|error| error.to_string())?;
    let listed: Vec<Stored> = packages.list().try_collect().await.map_err(|error| error.to_string())?;
    let in_use = store.digests_in_use().await.map_err(|error| error.to_string())?;
    let in_use: HashSet<Digest> = in_use.into_iter().collect();
    let (mut files, mut bytes) = (0, 0);
    let patience = i64::try_from(packages.patience().as_millis()).unwrap_or(i64::MAX);
    let youngest = store.now().after_ms(-patience);
    for file in unused(&listed, &in_use, youngest).take(MOST) {
        if !term.holds() {
            break;
        }
        if packages.collect(file).await.map_err(|error| error.to_string())? {
            files += 1;
            bytes += file.size;
        }
    }
    Ok((files, bytes))
}

/// The files that nothing uses and that have waited long enough for a version. A file from the future is young.
fn unused<'a>(listed: &'a [Stored], in_use: &HashSet<Digest>, youngest: Time) -> impl Iterator<Item = &'a Stored> {
    listed
        .iter()
        .filter(move |file| file.kept_at < youngest && !in_use.contains(&file.digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_old_and_unused_goes() {
        const YOUNG_MS: i64 = 3_600_000;
        let now = Time::from_ms(100 * YOUNG_MS);
        let used = Digest::new([0; 32]);
        let in_use = HashSet::from([used]);
        for (digest, age_ms, goes) in [
            (Digest::new([1; 32]), YOUNG_MS + 1, true),
            (Digest::new([1; 32]), YOUNG_MS, false),
            (Digest::new([1; 32]), 0, false),
            (Digest::new([1; 32]), -YOUNG_MS, false),
            (used, 50 * YOUNG_MS, false),
        ] {
            let file = Stored {
                digest,
                size: 1,
                kept_at: now.after_ms(-age_ms),
            };
            let found: Vec<&Stored> = unused(std::slice::from_ref(&file), &in_use, now.after_ms(-YOUNG_MS)).collect();
            assert_eq!(!found.is_empty(), goes, "{digest} {age_ms}");
        }
    }
}
