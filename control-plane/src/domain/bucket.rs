//! Where packages are kept when not in a folder: a bucket of an object store that speaks S3.

use super::Invalid;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// `s3://bucket` or `s3://bucket/prefix`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketPlace {
    /// Its name.
    pub bucket: String,
    /// What comes before the names of all that is kept there; empty for nothing.
    pub prefix: String,
}

/// Where an object store answers: `https://host:port`, without a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreEndpoint {
    url: String,
    /// What is sent there can be read on its way, and the way leaves this machine.
    pub exposed: bool,
}

const POINTER: &str = "/packages_url";
/// Bytes of a prefix: far below what an object's name may have.
const MOST_PREFIX: usize = 255;
const MOST_ENDPOINT: usize = 255;

impl FromStr for BucketPlace {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let invalid = |reason: &str| Invalid::new(POINTER, reason.to_owned());
        let rest = text
            .strip_prefix("s3://")
            .ok_or_else(|| invalid("must begin with s3://, such as s3://bucket/prefix"))?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
        let ends = |text: &str| text.starts_with(['-', '.']) || text.ends_with(['-', '.']);
        if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(letters) || ends(bucket) {
            return Err(invalid(
                "must name a bucket: 3 to 63 lower case letters, digits, hyphens and dots",
            ));
        }
        let prefix = prefix.trim_end_matches('/');
        let part = |part: &str| {
            let letters = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
            !part.is_empty() && part != "." && part != ".." && part.bytes().all(letters)
        };
        if prefix.len() > MOST_PREFIX || !(prefix.is_empty() || prefix.split('/').all(part)) {
            return Err(invalid(
                "must have a prefix of letters, digits, hyphens, dots and underscores between slashes",
            ));
        }
        Ok(Self {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
        })
    }
}

impl fmt::Display for BucketPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}", self.bucket)?;
        match self.prefix.as_str() {
            "" => Ok(()),
            prefix => write!(f, "/{prefix}"),
        }
    }
}

impl FromStr for StoreEndpoint {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let invalid = || {
            Invalid::new(
                "/packages_endpoint",
                "must be an address without a path, such as https://s3.example:9000",
            )
        };
        let text = text.strip_suffix('/').unwrap_or(text);
        let (scheme, authority) = text.split_once("://").ok_or_else(invalid)?;
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b':' | b'[' | b']');
        if authority.is_empty() || text.len() > MOST_ENDPOINT || !authority.bytes().all(letters) {
            return Err(invalid());
        }
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                port.parse::<u16>().map_err(|_| invalid())?;
                host
            }
            _ => authority,
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let is_here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        match scheme {
            "https" | "http" if !host.is_empty() => Ok(Self {
                url: text.to_owned(),
                exposed: scheme == "http" && !is_here,
            }),
            _ => Err(invalid()),
        }
    }
}

impl StoreEndpoint {
    /// As it is dialled.
    pub fn as_str(&self) -> &str {
        &self.url
    }

    /// Whether it is spoken to without TLS.
    pub fn is_plain(&self) -> bool {
        self.url.starts_with("http://")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_buckets() {
        for (text, place) in [
            ("s3://models", Some("s3://models")),
            ("s3://models/", Some("s3://models")),
            ("s3://my.models-2/castoff/prod/", Some("s3://my.models-2/castoff/prod")),
            ("s3://m", None),
            ("s3://Models", None),
            ("s3://models/../other", None),
            ("s3://models//a", None),
            ("s3://key:secret@models", None),
            ("https://models", None),
            ("/var/packages", None),
        ] {
            let parsed = text.parse::<BucketPlace>().ok().map(|place| place.to_string());
            assert_eq!(parsed.as_deref(), place, "{text}");
        }
    }

    #[test]
    fn where_a_store_answers() {
        for (text, exposed) in [
            ("https://s3.example", Some(false)),
            ("https://s3.example:9000/", Some(false)),
            ("http://127.0.0.1:9000", Some(false)),
            ("http://[::1]:9000", Some(false)),
            ("http://localhost:9000", Some(false)),
            ("http://10.0.0.1:9000", Some(true)),
            ("http://minio.models.svc", Some(true)),
            ("https://s3.example/bucket", None),
            ("https://user:secret@s3.example", None),
            ("https://s3.example:port", None),
            ("ftp://s3.example", None),
            ("https://", None),
            ("s3.example", None),
        ] {
            let parsed = text.parse::<StoreEndpoint>().ok().map(|endpoint| endpoint.exposed);
            assert_eq!(parsed, exposed, "{text}");
        }
    }
}
