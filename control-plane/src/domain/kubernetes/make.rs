//! Of what make pods are: the image that they run, and the template by which they are made.
//!
//! Apart from the settings of an infrastructure, which take effect at once: a deployment keeps its make until its
//! infrastructure is upgraded. The rule a newcomer would break: what was released of a template is never changed, since
//! pods are replaced when theirs differs by a byte. A change is a template of its own, and those before it stay.

use crate::domain::ImageName;

/// By which pods are made, the oldest first. Deployments keep theirs through upgrades of Castoff.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Template {
    /// As 0.1.0 makes them, whatever it is told.
    First,
    /// They say that nothing of worth lies on their machine, which of their containers is ours, and by what they are made.
    Second,
}

impl Template {
    /// All that this release makes pods by.
    pub const ALL: [Self; 2] = [Self::First, Self::Second];
    /// Of new deployments, and of those that are moved.
    pub const NEWEST: Self = Self::Second;

    /// As it is stored and shown.
    pub fn number(self) -> u32 {
        match self {
            Self::First => 1,
            Self::Second => 2,
        }
    }

    /// The template of a number; none when this release does not make it: not yet, or no more.
    pub fn of(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|template| template.number() == number)
    }
}

/// Of what make the pods of a deployment are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Make {
    /// What they run.
    pub image: String,
    /// The number of their template, maybe one that this release does not know.
    pub template: u32,
}

impl Make {
    /// Of new pods: the image that their infrastructure names, else the one that the control plane was started with.
    pub fn newest(named: Option<&ImageName>, own: &str) -> Self {
        Self {
            image: named.map_or_else(|| own.to_owned(), ToString::to_string),
            template: Template::NEWEST.number(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A deployment that was not moved for a release goes on with the next one.
    #[test]
    fn templates_are_numbered_and_the_one_before_is_still_made() {
        let numbers = Template::ALL.map(Template::number);
        let newest = Template::NEWEST.number();
        assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{numbers:?}");
        assert_eq!(numbers.last(), Some(&newest));
        assert!(numbers.contains(&(newest - 1)), "two at the least: {numbers:?}");
        for template in Template::ALL {
            assert_eq!(Template::of(template.number()), Some(template));
        }
        for unknown in [0, newest + 1, u32::MAX] {
            assert_eq!(Template::of(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn new_pods_run_what_their_infrastructure_names() {
        let named = ImageName::parse("registry.example/node:2").unwrap();
        for (named, image) in [(Some(&named), "registry.example/node:2"), (None, "castoff-node:1")] {
            let make = Make::newest(named, "castoff-node:1");
            assert_eq!((make.image.as_str(), make.template), (image, Template::NEWEST.number()));
        }
    }
}
