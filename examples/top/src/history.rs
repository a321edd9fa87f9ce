//! The latest latencies of a node, as bars.

use std::collections::VecDeque;
use std::time::Duration;

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// So many of the latest values; a gap where the node was not connected.
#[derive(Debug)]
pub(crate) struct History {
    values: VecDeque<Option<Duration>>,
    length: usize,
}

impl History {
    pub(crate) fn new(length: usize) -> Self {
        Self { values: VecDeque::new(), length }
    }

    pub(crate) fn push(&mut self, value: Option<Duration>) {
        if self.values.len() == self.length {
            self.values.pop_front();
        }
        self.values.push_back(value);
    }

    pub(crate) fn longest(&self) -> Duration {
        self.values.iter().flatten().max().copied().unwrap_or_default()
    }

    /// The newest `width` values from left to right, the oldest first. A full bar is `longest`; a gap is a space.
    pub(crate) fn bars(&self, width: usize, longest: Duration) -> String {
        let hidden = self.values.len().saturating_sub(width);
        let bar = |value: &Option<Duration>| {
            let Some(value) = value else { return ' ' };
            let part = value.as_secs_f64() / longest.as_secs_f64().max(f64::MIN_POSITIVE);
            let level = (1..8_u8).take_while(|&level| part * 8.0 > f64::from(level)).count();
            BARS[level]
        };
        self.values.iter().skip(hidden).map(bar).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_for_each_value_and_a_gap_for_none() {
        let mut history = History::new(4);
        for value in [Some(99), Some(1), Some(8), None, Some(4)] {
            history.push(value.map(Duration::from_millis));
        }
        assert_eq!(history.longest(), Duration::from_millis(8));
        assert_eq!(history.bars(10, history.longest()), "▁█ ▄");
        assert_eq!(history.bars(2, history.longest()), " ▄");
    }

    #[test]
    fn nothing_is_shown_before_the_first_value() {
        let mut history = History::new(4);
        assert_eq!(history.bars(4, history.longest()), "");
        history.push(Some(Duration::ZERO));
        assert_eq!(history.bars(4, history.longest()), "▁");
    }
}
