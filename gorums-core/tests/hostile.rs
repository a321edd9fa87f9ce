//! Peers that mean harm, towards a server and towards a client: each is refused or ignored, nobody else is disturbed,
//! and nothing grows (G9, G2, G4).
//!
//! Each attack is made twice, the second time four times as large unless all of it is open at once, while others use
//! the same server: see [`scene`].
//! The long forms, with figures:
//!
//! `GORUMS_SOAK=1 cargo test --release -p gorums-core --test hostile -- --test-threads=1 --nocapture`
#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "hostile/calling.rs"]
mod calling;
mod common;
#[path = "hostile/connections.rs"]
mod connections;
#[path = "hostile/http2.rs"]
mod http2;
#[path = "hostile/memory.rs"]
mod memory;
#[path = "hostile/messages.rs"]
mod messages;
#[path = "hostile/node.rs"]
mod node;
#[path = "hostile/peer.rs"]
mod peer;
#[path = "hostile/raw.rs"]
mod raw;
#[path = "hostile/scene.rs"]
mod scene;
#[path = "hostile/streams.rs"]
mod streams;
#[path = "soak/tools.rs"]
#[allow(dead_code)]
mod tools;
