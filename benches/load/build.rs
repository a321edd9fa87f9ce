//! Generates the client and the server of the contender tonic, and tells the program which compiler it is built with.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-env=COMPILER={}", compiler());

    let echo = tonic_build::manual::Method::builder()
        .name("echo")
        .route_name("Echo")
        .input_type("crate::message::Request")
        .output_type("crate::message::Reply")
        .codec_path("tonic_prost::ProstCodec")
        .build();
    let service = tonic_build::manual::Service::builder().name("Peer").package("bench").method(echo).build();
    tonic_build::manual::Builder::new().compile(&[service]);
}

/// The version of the compiler, as it says.
fn compiler() -> String {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output().map(|output| output.stdout);
    let version = output.ok().and_then(|version| String::from_utf8(version).ok());
    version.map_or_else(|| "an unknown compiler".to_owned(), |version| version.trim().to_owned())
}
