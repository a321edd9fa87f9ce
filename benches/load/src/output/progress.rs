//! How far it has come: a bar on a terminal, and nothing elsewhere.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::setup::Setup;

/// The measurements that were made, and those that are still to come.
pub(crate) struct Progress {
    bar: ProgressBar,
}

const STYLE: &str = "{bar:24} {pos}/{len} {elapsed} (about {eta} left)  {wide_msg}";
/// Seldom, so that drawing is no noise.
const REDRAW: Duration = Duration::from_millis(500);

impl Progress {
    pub(crate) fn new(is_quiet: bool) -> Self {
        let target = if is_quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        if let Ok(style) = ProgressStyle::with_template(STYLE) {
            bar.set_style(style);
        }
        Self { bar }
    }

    /// So many more measurements are to be made.
    pub(crate) fn start(&self, measurements: usize) {
        self.bar.inc_length(measurements as u64);
        if !self.bar.is_hidden() {
            self.bar.enable_steady_tick(REDRAW);
        }
    }

    /// This is being measured.
    pub(crate) fn now(&self, setup: &Setup) {
        self.bar.set_message(setup.to_string());
    }

    pub(crate) fn step(&self) {
        self.bar.inc(1);
    }

    /// Says something that is not to be lost.
    pub(crate) fn note(&self, line: &str) {
        self.bar.suspend(|| super::notice(line));
    }

    /// Nothing is left to be done for now.
    pub(crate) fn finish(&self) {
        self.bar.disable_steady_tick();
        self.bar.finish_and_clear();
    }
}
