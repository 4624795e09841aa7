//! What an infrastructure's admin gives to open a cluster. What is kept of it leads out of the file in no way, and a refusal
//! shows nothing of it.

#![no_main]

use castoff_control_plane::domain::kubernetes::{ClusterUser, Kubeconfig};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = str::from_utf8(bytes) else { return };
    match Kubeconfig::parse(text) {
        Ok(kept) => {
            assert!(kept.server.starts_with("https://") && kept.server.len() <= 2_048);
            assert!(kept.server.bytes().all(|byte| byte.is_ascii_graphic()));
            let pems = match &kept.user {
                ClusterUser::Token(token) => {
                    assert!(!token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()));
                    vec![]
                }
                ClusterUser::Certificate { chain, key } => vec![chain, key],
            };
            for pem in pems.into_iter().chain(&kept.authority) {
                assert!(pem.contains("-----BEGIN "));
            }
            let stored = serde_json::to_string(&kept).expect("it can be kept");
            let read: Kubeconfig = serde_json::from_str(&stored).expect("it can be read again");
            assert!(read == kept);
        }
        Err(invalid) => {
            // Each reason is a sentence of ours, and is read by people.
            assert!(
                invalid.pointer.is_empty() && invalid.reason.len() < 300,
                "{}",
                invalid.reason
            );
            assert!(!invalid.reason.chars().any(char::is_control), "{}", invalid.reason);
        }
    }
});
