//! Commands that nobody types.

use std::future::pending;
use std::io::{self, BufRead};

use tokio::runtime::Runtime;

use crate::client::run::Next;
use crate::client::session::{Session, Source};

/// Runs the commands of `-e`.
pub(crate) fn run_options(runtime: &Runtime, session: &mut Session, commands: &[String]) {
    for line in commands.iter().flat_map(|commands| commands.lines()) {
        if run_line(runtime, session, line, Source::Option) == Next::Exit {
            return;
        }
    }
}

/// Runs the lines of stdin, each as it comes.
pub(crate) fn run_stdin(runtime: &Runtime, session: &mut Session) {
    let mut stdin = io::stdin().lock();
    let mut bytes = Vec::new();
    for number in 1.. {
        bytes.clear();
        match stdin.read_until(b'\n', &mut bytes) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => return session.fail(Source::Script(number), "", &format!("cannot read: {error}")),
        }
        let source = Source::Script(number);
        let Ok(line) = std::str::from_utf8(&bytes) else {
            session.fail(source, &String::from_utf8_lossy(bytes.trim_ascii()), "this is not UTF-8");
            continue;
        };
        if run_line(runtime, session, line, source) == Next::Exit {
            return;
        }
    }
}

fn run_line(runtime: &Runtime, session: &mut Session, line: &str, source: Source) -> Next {
    if line.trim_start().starts_with('#') {
        return Next::Continue;
    }
    // Ctrl-C ends the process.
    runtime.block_on(session.line(line, source, pending))
}
