//! What the tests of DRPC ask of many streams on one connection, asked of many calls in flight on one connection.
//!
//! The tests named here are those of the fork of DRPC by Cockroach Labs, in `internal/integration`: upstream DRPC has
//! one stream at a time. A bidirectional stream is a [talk](common::talk) here.
#![allow(clippy::unwrap_used)]

mod common;

#[path = "from_drpc/cancel.rs"]
mod cancel;
#[path = "from_drpc/load.rs"]
mod load;
#[path = "from_drpc/shutdown.rs"]
mod shutdown;
