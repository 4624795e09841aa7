//! Where packages are kept when not in a folder.

use crate::domain::{BucketPlace, Invalid, StoreEndpoint};
use clap::Args;
use std::path::PathBuf;

/// A bucket of an object store that speaks S3.
#[derive(Args, Clone, Debug)]
pub struct PackagesPlace {
    /// Keep packages in a bucket of an object store that speaks S3, s3://BUCKET or s3://BUCKET/PREFIX; credentials are those of the AWS tools (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, roles) [default: a folder]
    #[arg(long, env = "CASTOFF_PACKAGES_URL", value_name = "URL", value_parser = bucket)]
    pub packages_url: Option<BucketPlace>,

    /// Where that object store answers, such as `https://s3.example:9000` [default: AWS]
    #[arg(long, env = "CASTOFF_PACKAGES_ENDPOINT", value_name = "URL", requires = "packages_url", value_parser = endpoint)]
    pub packages_endpoint: Option<StoreEndpoint>,

    /// The region of the bucket [default: AWS_REGION, or us-east-1]
    #[arg(
        long,
        env = "CASTOFF_PACKAGES_REGION",
        value_name = "NAME",
        requires = "packages_url"
    )]
    pub packages_region: Option<String>,

    /// The bucket is a part of the host's name, in --packages-endpoint too, and not of the path
    #[arg(long, env = "CASTOFF_PACKAGES_VIRTUAL_HOSTED", requires = "packages_url")]
    pub packages_virtual_hosted: bool,

    /// A file with what opens the bucket, as ~/.aws/credentials [default: what the environment says]
    #[arg(
        long,
        env = "CASTOFF_PACKAGES_CREDENTIALS_FILE",
        value_name = "FILE",
        requires = "packages_url"
    )]
    pub packages_credentials_file: Option<PathBuf>,

    /// Authorities to trust when speaking to the object store, besides the system's, in PEM
    #[arg(long, env = "CASTOFF_PACKAGES_CA", value_name = "FILE", requires = "packages_url")]
    pub packages_ca: Option<PathBuf>,

    /// Seconds for which a node can fetch its packages from the object store without a control plane; made anew after half of them
    #[arg(long, env = "CASTOFF_PACKAGES_ADDRESS_LIFE", value_name = "SECONDS", requires = "packages_url", default_value_t = 86_400, value_parser = clap::value_parser!(u64).range(10..=604_800))]
    pub packages_address_life: u64,

    /// Speak to the object store without TLS beyond this machine: models can be read on their way
    #[arg(long, env = "CASTOFF_PACKAGES_INSECURE_HTTP", requires = "packages_url")]
    pub packages_insecure_http: bool,
}

fn reason(invalid: Invalid) -> String {
    invalid.reason
}

fn bucket(text: &str) -> Result<BucketPlace, String> {
    text.parse().map_err(reason)
}

fn endpoint(text: &str) -> Result<StoreEndpoint, String> {
    text.parse().map_err(reason)
}
