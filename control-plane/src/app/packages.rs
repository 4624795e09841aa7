//! Where packages are kept, opened.

use crate::artifacts::{Bucket, Credentials, Limits, Packages};
use crate::config::{Serve, read_secret};

/// What opens a bucket has a few hundred bytes, and an authority a few thousand.
const MOST: u64 = 1 << 20;

/// Opens the bucket that is named, or else the folder.
///
/// # Errors
/// In plain words, with what to do.
pub(super) async fn open(config: &Serve, limits: Limits) -> Result<Packages, String> {
    let told = &config.packages;
    let Some(place) = told.packages_url.clone() else {
        let folder = config.shared_dir().join("packages");
        return Packages::open(&folder, limits).map_err(|error| format!("{}: {error}", folder.display()));
    };
    if let Some(endpoint) = &told.packages_endpoint
        && endpoint.exposed
        && !told.packages_insecure_http
    {
        return Err(format!(
            "--packages-endpoint {}: models would travel in the clear: use https://, or say --packages-insecure-http",
            endpoint.as_str()
        ));
    }
    let credentials = match &told.packages_credentials_file {
        None => None,
        Some(file) => {
            let parsed = Credentials::parse(&read_secret(file, MOST)?);
            Some(parsed.map_err(|reason| format!("--packages-credentials-file {}: {reason}", file.display()))?)
        }
    };
    let authorities = told.packages_ca.as_deref().map(|file| read_secret(file, MOST));
    let bucket = Bucket {
        place,
        endpoint: told.packages_endpoint.clone(),
        region: told.packages_region.clone(),
        virtual_hosted: told.packages_virtual_hosted,
        credentials,
        authorities: authorities.transpose()?,
        insecure_http: told.packages_insecure_http,
    };
    // A replica's own: nothing of it outlives an upload.
    Packages::open_bucket(bucket, &config.place.data_dir.join("packages"), limits).await
}
