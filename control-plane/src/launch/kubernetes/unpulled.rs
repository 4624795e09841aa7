//! Why a container does not get its image, in plain words: pure.
//!
//! Whoever may see a deployment reads it, and which registry its image comes from is for those to know who administer its
//! infrastructure. The rule a newcomer would break: of what the cluster says, which names both, nothing is handed on.

/// From the reason for which a container waits and what is said about it; none when that is not its image.
pub(super) fn of(reason: &str, message: &str) -> Option<&'static str> {
    let why = match reason {
        "ErrImagePull" | "ImagePullBackOff" | "RegistryUnavailable" | "ImageInspectError" => said(message),
        "InvalidImageName" => "no image can have such a name",
        "ErrImageNeverPull" => "it is not on the machine and may not be fetched",
        "SignatureValidationFailed" => "its signature does not hold",
        _ => return None,
    };
    Some(why)
}

fn said(message: &str) -> &'static str {
    // Names of images and addresses of registries stand in quotes: they say nothing of what is wrong, whatever they are.
    let words: String = message.split('"').step_by(2).collect();
    let words = words.to_ascii_lowercase();
    let says = |any: &[&str]| any.iter().any(|each| words.contains(each));
    if says(&["x509", "certificate"]) {
        "its registry's certificate is not trusted there"
    } else if says(&["too many requests", "toomanyrequests"]) {
        "its registry gives no more for now"
    } else if says(&[
        "unauthorized",
        "forbidden",
        "denied",
        "authorization failed",
        "authentication required",
    ]) {
        "its registry wants a credential, or has no such image"
    } else if says(&["no match for platform", "no matching manifest"]) {
        "it is not made for machines like this one"
    } else if says(&["not found", "manifest unknown"]) {
        "its registry has no such image"
    } else if says(&["no space left"]) {
        "the machine has no room for it"
    } else if says(&[
        "no such host",
        "dial tcp",
        "refused",
        "timeout",
        "deadline exceeded",
        "eof",
    ]) {
        "its registry is not reached from the machine"
    } else {
        "`kubectl describe pod` says why"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_learns_why_and_not_from_where() {
        let unpack = "failed to pull and unpack image \"registry.example/denied/node:1\": failed to resolve reference";
        for (reason, message, says) in [
            (
                "ErrImagePull",
                format!("{unpack} \"registry.example/denied/node:1\": not found"),
                "has no such image",
            ),
            (
                "ImagePullBackOff",
                format!("Back-off pulling image \"x509:1\": ErrImagePull: {unpack}: 401 Unauthorized"),
                "wants a credential",
            ),
            (
                "ErrImagePull",
                format!("{unpack}: failed to do request: Head \"https://r/v2\": dial tcp: lookup r: no such host"),
                "is not reached",
            ),
            (
                "ErrImagePull",
                format!("{unpack}: x509: unknown authority"),
                "is not trusted",
            ),
            (
                "ErrImagePull",
                "no match for platform in manifest: not found".to_owned(),
                "machines like this",
            ),
            (
                "ImagePullBackOff",
                "Back-off pulling image \"not found\"".to_owned(),
                "kubectl describe pod",
            ),
            (
                "InvalidImageName",
                "Failed to apply default image tag \"A\"".to_owned(),
                "such a name",
            ),
            ("ErrImageNeverPull", String::new(), "may not be fetched"),
        ] {
            let why = of(reason, &message).unwrap();
            assert!(why.contains(says) && !why.contains("example"), "{message}: {why}");
        }
        assert_eq!(of("CreateContainerConfigError", "secret not found"), None);
        assert_eq!(of("", ""), None);
    }
}
