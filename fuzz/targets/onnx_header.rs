//! A lone `.onnx` file: any bytes that are not taken for an archive.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if !bytes.starts_with(b"PK\x03\x04") && !bytes.starts_with(&[0x1f, 0x8b]) {
        castoff_fuzz::upload(bytes);
    }
});
