//! Generates the messages and the service from the proto file. No `protoc` is needed.

fn main() -> Result<(), gorums_gen::Error> {
    gorums_gen::configure().compile_protos(&["proto/tso.proto"], &["proto"])
}
