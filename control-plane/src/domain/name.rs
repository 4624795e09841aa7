//! Names and other short texts, each with its own rule, parsed once.

use super::Invalid;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What the characters of a name may be.
enum Rule {
    /// RFC 1035: a lower-case letter, then letters, digits and hyphens, not ending in a hyphen.
    Label,
    /// Letters, digits, dot, underscore and hyphen.
    Token,
    /// A letter or digit first, then as a token; for accounts and groups.
    Account,
    /// Anything that prints, without leading or trailing blanks.
    Title,
    /// RFC 1123: as a label, but a digit may be first.
    Host,
    /// RFC 1123: labels with dots between them.
    Subdomain,
    /// ASCII that prints, without blanks.
    Reference,
    /// Text for people, maybe none: no control characters but new lines and tabs.
    Prose,
}

impl Rule {
    fn check(&self, text: &str, most: usize) -> Result<(), String> {
        let edge = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = text.as_bytes();
        let length = text.chars().count();
        let least = self.least();
        if length < least || length > most {
            return Err(format!("must have {least} to {most} characters"));
        }
        let fits = match self {
            Self::Label => {
                bytes.first().is_some_and(u8::is_ascii_lowercase)
                    && bytes.last().is_some_and(|&byte| edge(byte))
                    && bytes.iter().all(|&byte| edge(byte) || byte == b'-')
            }
            Self::Token => {
                bytes
                    .iter()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte))
                    && !matches!(text, "." | "..")
            }
            Self::Account => {
                bytes.first().is_some_and(u8::is_ascii_alphanumeric)
                    && bytes
                        .iter()
                        .all(|byte| byte.is_ascii_alphanumeric() || b"._-@".contains(byte))
            }
            Self::Title => !text.chars().any(char::is_control) && text.trim() == text,
            Self::Host => is_host(text),
            Self::Subdomain => text.split('.').all(is_host),
            Self::Reference => bytes.iter().all(u8::is_ascii_graphic),
            Self::Prose => !text
                .chars()
                .any(|letter| letter.is_control() && !matches!(letter, '\n' | '\t')),
        };
        if fits { Ok(()) } else { Err(self.reason().to_owned()) }
    }

    fn least(&self) -> usize {
        usize::from(!matches!(self, Self::Prose))
    }

    /// The same as a regular expression (ECMA 262), for the OpenAPI document.
    fn pattern(&self) -> &'static str {
        match self {
            Self::Label => "^[a-z]([a-z0-9-]*[a-z0-9])?$",
            Self::Token => r"^([A-Za-z0-9_-]|\.[A-Za-z0-9_-]|\.\.[A-Za-z0-9._-])[A-Za-z0-9._-]*$",
            Self::Account => "^[A-Za-z0-9][A-Za-z0-9._@-]*$",
            Self::Title => r"^[^\s\x00-\x1f\x7f-\x9f]([^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f])?$",
            Self::Host => "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$",
            Self::Subdomain => r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$",
            Self::Reference => "^[!-~]+$",
            Self::Prose => r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f]*$",
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Label => "must be lower-case letters, digits and hyphens, a letter first, no hyphen last (RFC 1035)",
            Self::Token => "must be letters, digits, dots, underscores and hyphens",
            Self::Account => "must be letters, digits, dots, underscores, hyphens and @, a letter or digit first",
            Self::Title => "must be printable, without blanks at either end",
            Self::Host => "must be lower-case letters, digits and hyphens, no hyphen at either end (RFC 1123)",
            Self::Subdomain => "must be lower-case letters, digits, hyphens and dots, as a host's name (RFC 1123)",
            Self::Reference => "must be ASCII without blanks",
            Self::Prose => "must have no control characters but new lines and tabs",
        }
    }
}

/// A label of RFC 1123.
fn is_host(text: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let bytes = text.as_bytes();
    let inner = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
    edge(bytes.first()) && edge(bytes.last()) && bytes.len() <= 63 && bytes.iter().all(inner)
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident: $rule:ident, $most:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Parses a name.
            ///
            /// # Errors
            /// What the name breaks; the pointer is empty, the caller knows the place.
            pub fn parse(text: &str) -> Result<Self, Invalid> {
                Rule::$rule.check(text, $most).map_err(|reason| Invalid::new("", reason))?;
                Ok(Self(text.to_owned()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = Invalid;
            fn try_from(text: String) -> Result<Self, Invalid> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                let rule = Rule::$rule;
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .min_length(Some(rule.least()))
                    .max_length(Some($most))
                    .pattern(Some(rule.pattern()))
                    .description(Some(rule.reason()))
                    .into()
            }
        }

        impl utoipa::ToSchema for $name {}

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

names! {
    /// A service: an RFC 1035 label of at most 29 characters, so that two of them and `-on-` make a deployment's name.
    ServiceName: Label, 29;
    /// An infrastructure: as a service.
    InfrastructureName: Label, 29;
    /// A deployment: an RFC 1035 label of at most 63 characters. 29 + 4 + 29 = 62.
    DeploymentName: Label, 63;
    /// An endpoint of a version: an RFC 1035 label of at most 63 characters.
    EndpointName: Label, 63;
    /// A version of a service, free-form.
    VersionName: Token, 64;
    /// A stage of the life cycle, such as dev, test or prod.
    Stage: Label, 29;
    /// A user, a service account or an admin key.
    AccountName: Account, 64;
    /// A group.
    GroupName: Account, 64;
    /// What a person calls a key or a token.
    Title: Title, 100;
    /// The name of an HTTP header in lower case.
    HeaderName: Token, 64;
    /// A namespace of Kubernetes.
    NamespaceName: Host, 63;
    /// Something in Kubernetes that is named as a host is.
    ObjectName: Subdomain, 253;
    /// Where an image is, such as `registry.example/castoff-node:1.0`.
    ImageName: Reference, 512;
    /// What a user is called beside the name.
    DisplayName: Prose, 200;
    /// What something is for, or why something was done.
    Description: Prose, 2_000;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels() {
        for (text, fits) in [
            ("iris", true),
            ("a", true),
            ("iris-2", true),
            ("a23456789012345678901234567-9", true),
            ("a234567890123456789012345678-0", false),
            ("", false),
            ("2iris", false),
            ("Iris", false),
            ("iris-", false),
            ("-iris", false),
            ("ir.is", false),
            ("ir/is", false),
            ("ïris", false),
            ("ir\u{0}is", false),
        ] {
            assert_eq!(ServiceName::parse(text).is_ok(), fits, "{text:?}");
        }
    }

    #[test]
    fn texts_for_people() {
        for (text, fits) in [
            ("", true),
            ("two\nlines\tand a tab", true),
            ("\u{7}", false),
            ("\u{85}", false),
        ] {
            assert_eq!(Description::parse(text).is_ok(), fits, "{text:?}");
        }
        assert!(DisplayName::parse(&"é".repeat(200)).is_ok());
        assert!(DisplayName::parse(&"é".repeat(201)).is_err());
    }

    #[test]
    fn versions_cannot_walk_paths() {
        for (text, fits) in [
            ("v4-new_features.1", true),
            (".", false),
            ("..", false),
            ("a/b", false),
            ("a b", false),
        ] {
            assert_eq!(VersionName::parse(text).is_ok(), fits, "{text:?}");
        }
    }
}
