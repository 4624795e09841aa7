//! Addresses by which a file can be fetched from the bucket, until they end, by whoever has them.

use super::Packages;
use super::bucket::Failed;
use super::store::Kept;
use crate::domain::Time;
use crate::domain::package::Digest;
use castoff_wire::PackageAddresses;
use http::Method;
use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

impl Packages {
    /// Whether there can be addresses: not in a folder.
    pub fn has_addresses(&self) -> bool {
        matches!(self.kept(), Kept::Bucket { .. })
    }

    /// What the addresses of these files depend on, but for time: its SHA-256.
    pub fn addresses_of(&self, files: &BTreeSet<Digest>) -> [u8; 32] {
        let mut parts: Vec<String> = files.iter().map(Digest::hex).collect();
        if let Kept::Bucket { bucket, .. } = self.kept() {
            parts.push(format!("{bucket:?} {}", bucket.insecure_http));
            parts.extend(bucket.authorities.clone());
        }
        castoff_wire::sha256(&[parts.join("\n").as_bytes()])
    }

    /// Addresses of these files; none from a folder.
    ///
    /// # Errors
    /// There is nothing to sign them with now.
    pub async fn addresses(
        &self,
        files: &BTreeSet<Digest>,
        now: Time,
        life: Duration,
    ) -> io::Result<Option<PackageAddresses>> {
        let Kept::Bucket { bucket, signer } = self.kept() else {
            return Ok(None);
        };
        let mut made = PackageAddresses {
            expires_at_ms: now
                .after_ms(i64::try_from(life.as_millis()).map_err(io::Error::other)?)
                .ms(),
            insecure_http: bucket.insecure_http,
            ca_pem: bucket.authorities.clone(),
            files: Default::default(),
        };
        for file in files {
            let signed = signer.signed_url(Method::GET, &self.at(file), life).await;
            made.files.insert(file.hex(), signed.map_err(Failed::io)?.into());
        }
        Ok(Some(made))
    }
}
