//! Steps that a later release has applied, which this one knows by name only.
//!
//! Apart from the steps, since it decides whether a release can be gone back to. The rule a newcomer would break: a step
//! that takes something away names the step since which nothing reads it, `m0021_contract_0015_notes`. A release that knows
//! step 15 runs on it; one that does not refuses to start, and breaks nothing.

/// Those among the applied steps that come behind all of ours.
pub(crate) fn later(ours: &[String], applied: impl IntoIterator<Item = String>) -> Vec<String> {
    let newest = ours.iter().max();
    let mut later: Vec<String> = applied.into_iter().filter(|step| Some(step) > newest).collect();
    later.sort();
    later
}

/// Those among later steps that took away what we need.
pub(crate) fn in_the_way<'a>(ours: &[String], later: &'a [String]) -> Vec<&'a str> {
    let fits = |step: &str| match step.split_once("_contract_") {
        None => true,
        Some((_, unread_since)) => {
            let number = unread_since.split('_').next().unwrap_or_default();
            let knows = |own: &String| own.strip_prefix('m').and_then(|own| own.split('_').next()) == Some(number);
            ours.iter().any(knows)
        }
    };
    later.iter().map(String::as_str).filter(|step| !fits(step)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: [&str; 3] = ["m0001_accounts", "m0002_services", "m0003_notes"];

    fn owned(steps: &[&str]) -> Vec<String> {
        steps.iter().map(|step| (*step).to_owned()).collect()
    }

    #[test]
    fn only_what_comes_behind_is_of_a_later_release() {
        for (applied, expected) in [
            (&OURS[..], &[][..]),
            (&OURS[..1], &[]),
            // One that was taken out of the middle is a mistake, not a later release.
            (&["m0001_accounts", "m0002_others"], &[]),
            (&["m0005_b", "m0001_accounts", "m0004_a"], &["m0004_a", "m0005_b"]),
        ] {
            assert_eq!(later(&owned(&OURS), owned(applied)), owned(expected), "{applied:?}");
        }
    }

    #[test]
    fn what_takes_away_something_that_we_need_is_in_the_way() {
        for (later, expected) in [
            (&["m0004_more", "m0005_more"][..], &[][..]),
            // Nobody who knows step 3 reads it.
            (&["m0004_contract_0003_notes"], &[]),
            (&["m0005_contract_0004_more"], &["m0005_contract_0004_more"]),
            (&["m0005_contract_notes"], &["m0005_contract_notes"]),
            (&["m0004_more", "m0006_contract_"], &["m0006_contract_"]),
        ] {
            assert_eq!(in_the_way(&owned(&OURS), &owned(later)), expected, "{later:?}");
        }
    }
}
