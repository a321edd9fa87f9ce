//! What `build.rs` generated from the files in `proto/`.

gorums::include_proto!("raft");
