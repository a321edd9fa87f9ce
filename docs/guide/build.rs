//! Generates the service of the page on `.proto` files.

fn main() -> Result<(), gorums_gen::Error> {
    gorums_gen::compile_protos("proto/storage.proto")
}
