//! The reader of everybody's JSON: what it takes, serde_json takes as the same; what it refuses beyond that has a name
//! twice, and it says where.

#![no_main]

use castoff_wire::strict;
use serde_json::Value;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let lenient = serde_json::from_slice::<Value>(bytes);
    match (strict::from_slice::<Value>(bytes), lenient) {
        (Ok(strict), Ok(lenient)) => assert_eq!(strict, lenient),
        (Ok(strict), Err(error)) => panic!("took what is no JSON ({error}): {strict}"),
        (Err(wrong), Ok(_)) => {
            assert!(wrong.error.to_string().contains("is there twice"), "{}", wrong.error);
            assert!(wrong.pointer().starts_with('/'));
        }
        (Err(_), Err(_)) => {}
    }
});
