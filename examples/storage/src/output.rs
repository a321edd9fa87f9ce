//! What the program says: results to stdout, all else to stderr, coloured on a terminal only.
//!
//! `println!` panics when nobody reads any more, as in `storage -e nodes | head -0`. These do not.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Nobody reads the results any more.
static CLOSED: AtomicBool = AtomicBool::new(false);

/// Writes a line to stdout. Without colours if it is not a terminal, or `NO_COLOR` is set.
pub(crate) fn result(line: &str) {
    let mut out = anstream::stdout();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        CLOSED.store(true, Relaxed);
    }
}

/// Writes a line to stderr, with or without colours in the same way.
pub(crate) fn notice(line: &str) {
    // There is no other place to say that this failed.
    let _ = writeln!(anstream::stderr(), "{line}");
}

/// Whether stdout takes no more.
pub(crate) fn is_closed() -> bool {
    CLOSED.load(Relaxed)
}

/// Whether a person looks at the results, rather than a program.
pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}
