//! A bucket of an object store that speaks S3: how it is opened, looked at once, and what its errors mean.
//!
//! Apart from the store, which is the same for a folder. The rule a newcomer would break: whoever can read what is secret
//! here can replace models; it comes from a file or from the environment, and is never printed.

use crate::causes::with_causes;
use crate::domain::{BucketPlace, StoreEndpoint};
use futures::TryStreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::HttpError;
use object_store::path::Path as Place;
use object_store::{Certificate, ClientOptions, ObjectStoreExt, RetryConfig};
use std::fmt;
use std::io;
use std::time::Duration;
use uuid::Uuid;

/// To dial and shake hands.
const CONNECT: Duration = Duration::from_secs(5);
/// Without a byte: a part of 8 MiB is received and kept in far less.
const SILENCE: Duration = Duration::from_secs(30);
/// A store that stumbles is asked again for this long; an upload waits so long for one that is away.
const AGAIN: Duration = Duration::from_secs(10);
const TRIES: usize = 4;

/// A bucket, and how to come in.
#[derive(Clone)]
pub struct Bucket {
    /// Which, and what comes before the names in it.
    pub place: BucketPlace,
    /// Where the store answers; none for AWS.
    pub endpoint: Option<StoreEndpoint>,
    /// Where the bucket is; none for what the environment says, or us-east-1.
    pub region: Option<String>,
    /// The bucket is a part of the host's name, and not the first part of the path.
    pub virtual_hosted: bool,
    /// None for what the environment says (AWS_ACCESS_KEY_ID and its like).
    pub credentials: Option<Credentials>,
    /// Authorities to trust beside the system's, in PEM.
    pub authorities: Option<String>,
    /// Nodes, too, may speak to it without TLS beyond their machine.
    pub insecure_http: bool,
}

/// What opens a bucket.
#[derive(Clone)]
pub struct Credentials {
    id: String,
    secret: String,
    token: Option<String>,
}

impl Credentials {
    /// From a file as the AWS tools have it: the section `[default]`, or a file without sections.
    ///
    /// # Errors
    /// What is missing, without a word of what is there.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (mut id, mut secret, mut token) = (None, None, None);
        let mut is_ours = true;
        for line in text.lines().map(str::trim) {
            if let Some(section) = line.strip_prefix('[') {
                is_ours = section.trim_end_matches(']').trim() == "default";
                continue;
            }
            let Some((name, value)) = line.split_once('=').filter(|_| is_ours && !line.starts_with('#')) else {
                continue;
            };
            let value = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
            match name.trim() {
                "aws_access_key_id" => id = value,
                "aws_secret_access_key" => secret = value,
                "aws_session_token" => token = value,
                _ => {}
            }
        }
        let missing = |name: &str| format!("has no {name} = … in the section [default]");
        Ok(Self {
            id: id.ok_or_else(|| missing("aws_access_key_id"))?,
            secret: secret.ok_or_else(|| missing("aws_secret_access_key"))?,
            token,
        })
    }
}

impl Bucket {
    /// The bucket as a store. Nothing is asked yet.
    pub(super) fn open(&self) -> io::Result<AmazonS3> {
        let mut client = ClientOptions::new()
            .with_connect_timeout(CONNECT)
            .with_read_timeout(SILENCE)
            // A file of gigabytes takes what it takes; silence ends it.
            .with_timeout_disabled();
        if let Some(pem) = &self.authorities {
            for certificate in Certificate::from_pem_bundle(pem.as_bytes()).map_err(io::Error::other)? {
                client = client.with_root_certificate(certificate);
            }
        }
        let mut builder = match &self.credentials {
            None => AmazonS3Builder::from_env(),
            Some(own) => {
                let builder = AmazonS3Builder::new()
                    .with_access_key_id(&own.id)
                    .with_secret_access_key(&own.secret);
                match &own.token {
                    Some(token) => builder.with_token(token),
                    None => builder,
                }
            }
        };
        if let Some(endpoint) = &self.endpoint {
            client = client.with_allow_http(endpoint.is_plain());
            builder = builder.with_endpoint(endpoint.as_str());
        }
        if let Some(region) = &self.region {
            builder = builder.with_region(region);
        }
        let retry = RetryConfig {
            max_retries: TRIES,
            retry_timeout: AGAIN,
            ..RetryConfig::default()
        };
        builder
            .with_bucket_name(&self.place.bucket)
            .with_virtual_hosted_style_request(self.virtual_hosted)
            .with_client_options(client)
            .with_retry(retry)
            .build()
            .map_err(|error| io::Error::other(with_causes(&error)))
    }

    /// The object of this name, behind the prefix.
    pub(super) fn within(&self, name: &str) -> Place {
        Place::from(format!("{}/{name}", self.place.prefix))
    }

    /// Writes a few bytes, reads them, and takes them away: all that is needed later.
    pub(super) async fn look(&self, store: &AmazonS3) -> Looked {
        let place = self.within(&format!("check/{}", Uuid::new_v4()));
        let written = b"written at the start, to see whether it can be".as_slice();
        let all = async {
            store.put(&place, written.into()).await?;
            let bytes: Vec<bytes::Bytes> = store.get(&place).await?.into_stream().try_collect().await?;
            store.delete(&place).await?;
            Ok(bytes.concat() == written)
        };
        match all.await {
            Ok(true) => Looked::Open,
            Ok(false) => Looked::Wrong(format!("{}: what is written there is not what is read", self.place)),
            Err(error) => self.judge(&error),
        }
    }

    fn judge(&self, error: &object_store::Error) -> Looked {
        use object_store::Error;
        let (place, at) = (&self.place, self.endpoint.as_ref().map_or("AWS", StoreEndpoint::as_str));
        match error {
            Error::NotFound { .. } => Looked::Wrong(format!(
                "{place}: the object store at {at} has no such bucket: make it, or give another --packages-url"
            )),
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => Looked::Wrong(format!(
                "{place}: the object store at {at} refuses these credentials: they must allow to put, get, list and delete objects there"
            )),
            error => {
                let why = chain(error);
                let advice = match why.contains("invalid peer certificate") {
                    true => ": name the authority of its certificate with --packages-ca",
                    false => "",
                };
                Looked::Away(format!(
                    "{place}: the object store at {at} does not answer as it should: {why}{advice}"
                ))
            }
        }
    }
}

/// How a bucket was found.
pub(super) enum Looked {
    /// It can be worked with.
    Open,
    /// Somebody must change something, for this reason.
    Wrong(String),
    /// It may come by itself.
    Away(String),
}

/// What an object store failed with.
#[derive(Debug)]
pub struct Failed(object_store::Error);

impl Failed {
    pub(super) fn io(error: object_store::Error) -> io::Error {
        io::Error::other(Self(error))
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the object store failed: {}", chain(&self.0))
    }
}

impl std::error::Error for Failed {}

/// An error with what caused it, but for causes that it has told already.
fn chain(error: &object_store::Error) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        if cause.is::<HttpError>() || !text.contains(&cause.to_string()) {
            text = format!("{text}: {cause}");
        }
        next = cause.source();
    }
    text
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket")
            .field("place", &self.place)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_read_as_the_aws_tools_write_them() {
        let read = |text: &str| Credentials::parse(text).map(|found| (found.id, found.secret, found.token));
        let whole = "[other]\naws_access_key_id = x\n[default]\n# ours\naws_access_key_id = id\naws_secret_access_key=se=cret\naws_session_token = t\n";
        let expected = ("id".to_owned(), "se=cret".to_owned(), Some("t".to_owned()));
        assert_eq!(read(whole), Ok(expected));
        let plain = read("aws_access_key_id=id\naws_secret_access_key=s").unwrap();
        assert_eq!(plain.2, None);
        let error = read("[default]\naws_secret_access_key = very-secret").unwrap_err();
        assert!(
            error.contains("aws_access_key_id") && !error.contains("very-secret"),
            "{error}"
        );
    }

    #[test]
    fn a_secret_is_not_printed() {
        let credentials = Credentials::parse("aws_access_key_id=ident\naws_secret_access_key=very-secret").unwrap();
        let bucket = Bucket {
            place: "s3://models".parse().unwrap(),
            endpoint: None,
            region: None,
            virtual_hosted: false,
            credentials: Some(credentials),
            authorities: None,
            insecure_http: false,
        };
        let shown = format!("{bucket:?} {:?}", bucket.credentials);
        assert!(!shown.contains("very-secret") && !shown.contains("ident"), "{shown}");
    }
}
