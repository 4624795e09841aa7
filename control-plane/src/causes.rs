//! Why something failed, all the way down: libraries say at the top that it did, and further down what it was.

use std::error::Error;

/// An error with its causes, in one line. For logs and operators: what callers are told is decided where they are answered.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut said = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        // Several layers say the same.
        if !said.ends_with(&text) {
            said = format!("{said}: {text}");
        }
        next = cause.source();
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt;

    #[derive(Debug)]
    struct Layer(&'static str, Option<Box<Layer>>);

    impl fmt::Display for Layer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Layer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|cause| cause as &(dyn Error + 'static))
        }
    }

    #[test]
    fn each_cause_is_said_once() {
        let last = Layer("no authorities", None);
        let same = Layer("TLS: no authorities", Some(Box::new(last)));
        let first = Layer("builder error", Some(Box::new(same)));
        assert_eq!(with_causes(&first), "builder error: TLS: no authorities");
        assert_eq!(with_causes(&Layer("alone", None)), "alone");
    }
}
