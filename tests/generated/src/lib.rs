//! Code that the generators make of many kinds of files. That it compiles is a test; [the others](../tests) run it.
#![allow(missing_docs, clippy::pedantic, reason = "messages have the docs of their files")]

/// The files of this crate.
pub mod own {
    include!(concat!(env!("OUT_DIR"), "/own/all.rs"));
}

/// The files of Gorums for Go, of editions 2023 and 2024, as they are.
pub mod go {
    include!(concat!(env!("OUT_DIR"), "/go/all.rs"));
}

/// The one of them that cannot be with the others.
pub mod alone {
    include!(concat!(env!("OUT_DIR"), "/alone/all.rs"));
}

/// The same files as proto3.
pub mod classic {
    include!(concat!(env!("OUT_DIR"), "/classic/all.rs"));
}
