//! Tells in the log of connections and streams that were refused, without letting them flood it.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::sync::Mutex;

/// So many lines at the most in each window.
const LINES: u32 = 20;
const WINDOW: Duration = Duration::from_secs(10);

/// The log of what a server refuses.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    start: Option<Instant>,
    lines: u32,
    /// Not told, since the last line.
    suppressed: u64,
}

impl Refusals {
    /// Tells of a refusal, or counts it for the next line.
    pub(crate) fn log(&self, peer: Option<SocketAddr>, reason: impl fmt::Display) {
        let suppressed = self.0.lock().admit(Instant::now());
        if let Some(suppressed) = suppressed {
            let peer = peer.map_or_else(|| "unknown".to_owned(), |peer| peer.to_string());
            tracing::warn!(peer, %reason, suppressed, "refused a connection");
        }
    }
}

impl Window {
    /// How many were suppressed before, if this one is to be told.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.start.is_none_or(|start| now - start >= WINDOW) {
            (self.start, self.lines) = (Some(now), 0);
        }
        if self.lines == LINES {
            self.suppressed += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_not_told() {
        let (start, mut window) = (Instant::now(), Window::default());
        let mut told =
            |count, at| -> Vec<u64> { (0..count).filter_map(|_| window.admit(start + at)).collect() };
        assert_eq!(told(100, Duration::ZERO), [0; LINES as usize]);
        assert_eq!(told(3, WINDOW / 2), []);
        assert_eq!(told(3, WINDOW), [83, 0, 0]);
        assert_eq!(told(2, 3 * WINDOW), [0, 0]);
    }
}
