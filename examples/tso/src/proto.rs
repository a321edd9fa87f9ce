//! What `build.rs` generated from `proto/tso.proto`.

gorums::include_proto!("tso");
