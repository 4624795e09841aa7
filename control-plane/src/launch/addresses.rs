//! Where nodes fetch the files of their deployment when no control plane answers.
//!
//! Apart as a trait, because launching knows no files: whoever keeps packages says whether there are such addresses.

use crate::domain::Time;
use crate::domain::package::Digest;
use castoff_wire::PackageAddresses;
use std::collections::BTreeSet;

/// Whoever makes addresses of files.
#[async_trait::async_trait]
pub trait AddressSource: Send + Sync {
    /// SHA-256 of these files and of what their addresses depend on, but for time; none where there are no addresses.
    fn of(&self, files: &BTreeSet<Digest>) -> Option<[u8; 32]>;
    /// New addresses of these files; none where there are none.
    ///
    /// # Errors
    /// They cannot be made now, for this reason.
    async fn make(&self, files: &BTreeSet<Digest>, now: Time) -> Result<Option<PackageAddresses>, String>;
}
