//! JSON in columns: written by this release, or by a later one that runs beside it or ran before it.
//!
//! From outside, a member that nobody knows is a mistake and is refused; here it is what a later release has added, and is
//! left out. The rule a newcomer would break: a column of JSON is read by [`read`], else a row of a later release is a 500.

use super::Error;
use castoff_wire::strict::{self, Step, Wrong};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// More members that nobody knows are no release's addition.
const MOST: usize = 100;

/// What a column says; `what` is for the error.
///
/// # Errors
/// [`Error::Unreadable`]: it says nothing that a release of ours would write.
pub(super) fn read<T: DeserializeOwned>(text: &str, what: &'static str) -> Result<T, Error> {
    match serde_json::from_str(text) {
        Ok(read) => Ok(read),
        Err(_) => without_additions(text).ok_or(Error::Unreadable(what)),
    }
}

fn without_additions<T: DeserializeOwned>(text: &str) -> Option<T> {
    let mut value: Value = serde_json::from_str(text).ok()?;
    for _ in 0..MOST {
        match strict::from_slice(value.to_string().as_bytes()) {
            Ok(read) => return Some(read),
            Err(wrong) => leave_out(&mut value, &wrong)?,
        }
    }
    None
}

/// Takes out the member that is said to be unknown, if it is this that is wrong.
fn leave_out(value: &mut Value, wrong: &Wrong) -> Option<()> {
    let said = wrong.error.to_string();
    let name = said.strip_prefix("unknown field `")?.split('`').next()?;
    // Where its kind decides what an object may have, serde reads all of it first: the place is then the object's.
    let inside = wrong.at.as_slice();
    let around = inside.split_last().map_or(inside, |(_, around)| around);
    let taken = [inside, around].iter().any(|place| {
        let object = place.iter().try_fold(&mut *value, |value, step| match step {
            Step::Name(name) => value.get_mut(name),
            Step::Item(item) => value.get_mut(item),
        });
        let members = object.and_then(Value::as_object_mut);
        members.is_some_and(|members| members.shift_remove(name).is_some())
    });
    taken.then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::kubernetes::Kubernetes;
    use crate::domain::{Route, Scale};
    use serde_json::json;

    fn same<T: DeserializeOwned + PartialEq + std::fmt::Debug>(later: &Value, known: &Value) {
        let read = |value: &Value| super::read::<T>(&value.to_string(), "a value").unwrap();
        assert_eq!(read(later), read(known), "{later}");
    }

    #[test]
    fn what_a_later_release_has_added_is_left_out() {
        same::<Scale>(
            &json!({"replicas": 3, "more": {"replicas": 4}}),
            &json!({"replicas": 3}),
        );
        same::<Scale>(
            &json!({"replicas": 3, "a": {"a": 1}, "b": [1]}),
            &json!({"replicas": 3}),
        );
        same::<Route>(
            &json!([{"version": "v1", "weight": 60}, {"version": "v2", "weight": 40, "more": true}]),
            &json!([{"version": "v1", "weight": 60}, {"version": "v2", "weight": 40}]),
        );
        let exposure = json!({"kind": "ingress", "host": "{deployment}.a"});
        let mut more = exposure.clone();
        more["exposure"] = json!({"deeper": 1});
        same::<Kubernetes>(
            &json!({"namespace": "m", "exposure": more, "resources": {"gpu": 1}, "mesh": null}),
            &json!({"namespace": "m", "exposure": exposure, "resources": {}}),
        );
    }

    #[test]
    fn what_no_release_writes_is_unreadable() {
        for text in ["", "{", "3", r#"{"replicas":"three"}"#, r#"{"replicas":-1,"more":1}"#] {
            let read = super::read::<Scale>(text, "a scale");
            assert!(matches!(read, Err(Error::Unreadable("a scale"))), "{text}");
        }
        let many: Vec<String> = (0..=MOST).map(|n| format!(r#""m{n}":1"#)).collect();
        assert!(super::read::<Scale>(&format!("{{{}}}", many.join(",")), "a scale").is_err());
    }
}
