//! What the program says: results to stdout, all else to stderr.
//!
//! `println!` panics when nobody reads any more, as in `raft status | head -0`. These do not.

use std::io::{self, Write};

/// Writes a line to stdout. False if nobody reads any more.
pub fn result(line: &str) -> bool {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).is_ok()
}

/// Writes a line to stderr.
pub fn notice(line: &str) {
    // There is no other place to say that this failed.
    let _ = writeln!(io::stderr(), "{line}");
}
