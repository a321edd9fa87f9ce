//! What is logged, and where it goes.
//!
//! Log lines must not tear the prompt apart: while there is one, they are printed above it. A thread does
//! that, because printing there waits for the terminal, and what logs must not.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustyline::ExternalPrinter;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::prelude::*;
use tracing_subscriber::{Registry, fmt, reload};

/// What is logged from now on: each read and write of a server.
const ON: LevelFilter = LevelFilter::INFO;
/// Only what goes wrong.
const OFF: LevelFilter = LevelFilter::WARN;

/// The log of this process.
#[derive(Clone, Debug)]
pub(crate) struct Logs {
    level: reload::Handle<LevelFilter, Registry>,
    target: Target,
}

impl Logs {
    /// Starts to log to stderr.
    pub(crate) fn start(level: LevelFilter) -> Self {
        let target = Target::default();
        let (filter, handle) = reload::Layer::new(level);
        let stderr = io::stderr();
        let colours =
            stderr.is_terminal() && anstream::AutoStream::choice(&stderr) != anstream::ColorChoice::Never;
        let writer = target.clone();
        let lines = fmt::layer()
            .without_time()
            .with_target(false)
            .with_ansi(colours)
            .with_writer(move || writer.clone());
        // Only fails if there is a subscriber, and nobody else sets one.
        let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
        Self { level: handle, target }
    }

    /// Whether reads and writes are to be logged.
    pub(crate) fn set(&self, on: bool) {
        let _ = self.level.modify(|level| *level = if on { ON } else { OFF });
    }

    /// Prints above a prompt from now on.
    pub(crate) fn print_above_prompt(&self, mut printer: impl ExternalPrinter + Send + 'static) {
        let (lines, to_print) = mpsc::channel::<String>();
        let printing = thread::Builder::new().name("log".to_owned()).spawn(move || {
            for line in to_print {
                if printer.print(line).is_err() {
                    break;
                }
            }
        });
        if printing.is_ok() {
            *self.target.prompt.lock().unwrap_or_else(PoisonError::into_inner) = Some(lines);
        }
    }
}

/// Where log lines go: above the prompt if there is one, else to stderr.
#[derive(Clone, Debug, Default)]
struct Target {
    prompt: Arc<Mutex<Option<Sender<String>>>>,
}

/// Each line comes in one piece.
impl Write for Target {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let prompt = self.prompt.lock().unwrap_or_else(PoisonError::into_inner);
        match &*prompt {
            Some(lines) if lines.send(String::from_utf8_lossy(line).into_owned()).is_ok() => Ok(line.len()),
            _ => io::stderr().write(line),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
