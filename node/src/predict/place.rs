//! What a path means: every inference route of every dialect, in one table.
//!
//! Pure, and not the router of the web framework, because the judge of keys must know the dialect and the endpoint
//! before anything else happens. The rule a newcomer would break: a new route is a [`Place`], so that it cannot be
//! reached around the judge; only [`Place::is_open`] lists what needs no key.

use http::Method;

/// How a caller speaks, hence how it is answered and refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Open Inference Protocol V2.
    V2,
    /// Rows of named features.
    Records,
    /// A JSON object in, a JSON object out.
    Simple,
}

impl Dialect {
    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::Records => "records",
            Self::Simple => "simple",
        }
    }
}

/// What is asked of a V2 model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Of {
    Metadata,
    Ready,
    Infer,
}

/// How records are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Records {
    One,
    Multi,
    Simple,
}

/// What a path means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// `/v2/health/live`
    Live,
    /// `/v2/health/ready`
    Ready,
    /// `/v2`
    Server,
    /// `/v2/models/{model}[/versions/{version}][/ready|/infer]`
    Model {
        /// An endpoint's name.
        model: String,
        /// A version's name.
        version: Option<String>,
        /// What is asked of it.
        of: Of,
    },
    /// `/public/api/v1/{service}/{endpoint}/predict|predict-multi|predict-simple`
    Records {
        /// The service's name.
        service: String,
        /// An endpoint's name.
        endpoint: String,
        /// How.
        how: Records,
    },
    /// `/{endpoint}/predict`, or `/predict` when there is one endpoint.
    Simple {
        /// An endpoint's name; `None`: the only one.
        endpoint: Option<String>,
    },
    /// Nothing. The dialect says how to answer that.
    Nowhere(Dialect),
}

impl Place {
    /// What a path means. Segments are decoded here and nowhere else.
    pub fn of(path: &str) -> Self {
        let Some(segments) = path
            .strip_prefix('/')
            .unwrap_or(path)
            .split('/')
            .map(decode)
            .collect::<Option<Vec<_>>>()
        else {
            return Self::Nowhere(Dialect::Simple);
        };
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match segments.as_slice() {
            ["v2"] => Self::Server,
            ["v2", "health", "live"] => Self::Live,
            ["v2", "health", "ready"] => Self::Ready,
            ["v2", "models", model, "versions", version, of @ ..] => Self::model(model, Some(version), of),
            ["v2", "models", model, of @ ..] => Self::model(model, None, of),
            ["v2", ..] => Self::Nowhere(Dialect::V2),
            ["public", "api", "v1", service, endpoint, how] => {
                let how = match *how {
                    "predict" => Records::One,
                    "predict-multi" => Records::Multi,
                    "predict-simple" => Records::Simple,
                    _ => return Self::Nowhere(Dialect::Records),
                };
                Self::Records {
                    service: (*service).to_owned(),
                    endpoint: (*endpoint).to_owned(),
                    how,
                }
            }
            ["public", "api", ..] => Self::Nowhere(Dialect::Records),
            ["predict"] => Self::Simple { endpoint: None },
            [endpoint, "predict"] => Self::Simple {
                endpoint: Some((*endpoint).to_owned()),
            },
            _ => Self::Nowhere(Dialect::Simple),
        }
    }

    fn model(model: &str, version: Option<&str>, of: &[&str]) -> Self {
        let of = match of {
            [] => Of::Metadata,
            ["ready"] => Of::Ready,
            ["infer"] => Of::Infer,
            _ => return Self::Nowhere(Dialect::V2),
        };
        Self::Model {
            model: model.to_owned(),
            version: version.map(str::to_owned),
            of,
        }
    }

    /// The dialect that is spoken here.
    pub fn dialect(&self) -> Dialect {
        match self {
            Self::Live | Self::Ready | Self::Server | Self::Model { .. } => Dialect::V2,
            Self::Records { .. } => Dialect::Records,
            Self::Simple { .. } => Dialect::Simple,
            Self::Nowhere(dialect) => *dialect,
        }
    }

    /// The allow-list: what anybody may ask without a key.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Live | Self::Ready)
    }

    /// The endpoint that is named.
    pub fn endpoint(&self) -> Option<&str> {
        match self {
            Self::Model { model, .. } => Some(model),
            Self::Records { endpoint, .. } => Some(endpoint),
            Self::Simple { endpoint } => endpoint.as_deref(),
            _ => None,
        }
    }

    /// The method that it is called by; `None` where there is nothing to call.
    pub fn method(&self) -> Option<Method> {
        match self {
            Self::Model { of: Of::Infer, .. }
            | Self::Simple { .. }
            | Self::Records {
                how: Records::One | Records::Multi,
                ..
            } => Some(Method::POST),
            Self::Live | Self::Ready | Self::Server | Self::Model { .. } | Self::Records { .. } => Some(Method::GET),
            Self::Nowhere(_) => None,
        }
    }
}

/// Undoes `%41`; `None` when what comes out is no text, or the escape is cut short.
fn decode(segment: &str) -> Option<String> {
    if !segment.contains('%') {
        return Some(segment.to_owned());
    }
    let mut decoded = Vec::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            decoded.push((high * 16 + low) as u8);
        } else {
            decoded.push(byte);
        }
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_means_what_it_says() {
        let model = |version: Option<&str>, of| Place::Model {
            model: "iris".to_owned(),
            version: version.map(str::to_owned),
            of,
        };
        let records = |how| Place::Records {
            service: "fraud".to_owned(),
            endpoint: "iris".to_owned(),
            how,
        };
        for (path, place) in [
            ("/v2", Place::Server),
            ("/v2/health/live", Place::Live),
            ("/v2/health/ready", Place::Ready),
            ("/v2/models/iris", model(None, Of::Metadata)),
            ("/v2/models/%69ris/ready", model(None, Of::Ready)),
            ("/v2/models/iris/infer", model(None, Of::Infer)),
            ("/v2/models/iris/versions/v1.2", model(Some("v1.2"), Of::Metadata)),
            ("/v2/models/iris/versions/v1.2/infer", model(Some("v1.2"), Of::Infer)),
            ("/v2/models/iris/stats", Place::Nowhere(Dialect::V2)),
            ("/v2/predict", Place::Nowhere(Dialect::V2)),
            ("/v2/health/live/", Place::Nowhere(Dialect::V2)),
            ("/public/api/v1/fraud/iris/predict", records(Records::One)),
            ("/public/api/v1/fraud/iris/predict-multi", records(Records::Multi)),
            ("/public/api/v1/fraud/iris/predict-simple", records(Records::Simple)),
            ("/public/api/v1/fraud", Place::Nowhere(Dialect::Records)),
            ("/predict", Place::Simple { endpoint: None }),
            (
                "/iris/predict",
                Place::Simple {
                    endpoint: Some("iris".to_owned()),
                },
            ),
            ("/", Place::Nowhere(Dialect::Simple)),
            ("/metrics", Place::Nowhere(Dialect::Simple)),
            ("/%zz/predict", Place::Nowhere(Dialect::Simple)),
            ("/%ff/predict", Place::Nowhere(Dialect::Simple)),
        ] {
            assert_eq!(Place::of(path), place, "{path}");
            assert_eq!(
                place.is_open(),
                path.starts_with("/v2/health/") && !path.ends_with('/'),
                "{path}"
            );
        }
    }
}
