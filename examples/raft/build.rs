//! Generates the messages and the services from the proto files. No `protoc` is needed.

fn main() -> Result<(), gorums_gen::Error> {
    let files = ["log", "peer", "kv", "admin"].map(|name| format!("proto/{name}.proto"));
    // Values are shared, not copied, on their way from the network to the log and to the peers.
    gorums_gen::configure().bytes(".").compile_protos(&files, &["proto"])
}
