//! A package: a zip or a gzipped tar. Gzip's checksum stops nearly every change, so half of the tars come unpacked.

#![no_main]

use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(&[0x1f, 0x8b]) {
        castoff_fuzz::upload(bytes);
    } else if bytes.get(257..262) == Some(b"ustar") {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(bytes).expect("memory takes it");
        castoff_fuzz::upload(&gzip.finish().expect("memory takes it"));
    }
});
