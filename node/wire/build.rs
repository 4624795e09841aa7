//! Generates the messages and the gRPC service from `proto/node.proto`, in pure Rust: no protoc is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto/node.proto");
    let files = protox::compile(["node.proto"], ["proto"])?;
    tonic_prost_build::configure()
        // These hold a hash or a token; `redacted.rs` writes their Debug by hand.
        .skip_debug([
            ".castoff.node.v1.Key",
            ".castoff.node.v1.NodeToken",
            ".castoff.node.v1.Opening",
        ])
        .compile_fds(files)?;
    Ok(())
}
