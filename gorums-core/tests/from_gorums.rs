//! What the tests of Go Gorums ask of its channel, router and stream, asked over the public API.
//!
//! The originals of the tests of streams and of delivery look into the channel and are played through once; here the
//! same moments are met by chance, many times, and unit tests in the modules that hold the mechanism meet them for sure.
#![allow(clippy::unwrap_used)]

mod common;

#[path = "from_gorums/contention.rs"]
mod contention;
#[path = "from_gorums/delivery.rs"]
mod delivery;
#[path = "from_gorums/streams.rs"]
mod streams;
