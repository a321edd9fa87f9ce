//! The terminal: draws the view at each interval, and listens to keys.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use gorums::Configuration;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};

use crate::view::View;

/// Shows the nodes until somebody has enough of it. The terminal is as before when this returns, or panics.
pub(crate) fn run(configuration: &Configuration, every: Duration) -> std::io::Result<ExitCode> {
    let mut terminal = ratatui::try_init()?;
    let shown = show(&mut terminal, configuration, every);
    ratatui::restore();
    shown.map(|()| ExitCode::SUCCESS)
}

fn show(
    terminal: &mut DefaultTerminal,
    configuration: &Configuration,
    every: Duration,
) -> std::io::Result<()> {
    let mut view = View::new(configuration.len());
    loop {
        view.look(&configuration.stats());
        let next = Instant::now() + every;
        loop {
            terminal.draw(|frame| view.draw(frame, frame.area()))?;
            let left = next.saturating_duration_since(Instant::now());
            if left.is_zero() || !event::poll(left)? {
                break;
            }
            if is_end(&event::read()?) {
                return Ok(());
            }
        }
    }
}

fn is_end(event: &Event) -> bool {
    let Event::Key(key) = event else { return false };
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind == KeyEventKind::Press
        && (matches!(key.code, KeyCode::Char('q') | KeyCode::Esc)
            || control && key.code == KeyCode::Char('c'))
}
