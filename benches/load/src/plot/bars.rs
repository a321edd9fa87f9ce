//! Bars: contenders side by side.

use anyhow::Result;
use plotters::prelude::*;

use super::canvas::{INK, SIZE, TEXT, TITLE, colour_of, text};
use super::{label, scale};
use crate::contender::Kind;
use crate::plan::Row;

/// Groups of bars that go to the right, one below the other.
pub(crate) struct Bars {
    pub(crate) title: String,
    pub(crate) groups: Vec<Group>,
}

/// Bars that belong together.
pub(crate) struct Group {
    pub(crate) label: String,
    pub(crate) bars: Vec<Bar>,
}

/// One bar.
pub(crate) struct Bar {
    pub(crate) label: String,
    pub(crate) colour: RGBColor,
    pub(crate) value: f64,
    /// What is written at its end.
    pub(crate) text: String,
}

const BAR: i32 = 18;
const GAP: i32 = 3;
const BETWEEN_GROUPS: i32 = 16;
const TOP: i32 = 52;
const LEFT: i32 = 130;
/// For what is written at the ends.
const RIGHT: i32 = 120;

impl Bars {
    /// Draws them; the longest takes all the width there is.
    pub(crate) fn draw(&self) -> Result<String> {
        let bars = |group: &Group| group.bars.len() as i32 * (BAR + GAP);
        let heading = |group: &Group| if group.label.is_empty() { 0 } else { BAR + GAP };
        let height: i32 =
            self.groups.iter().map(|group| heading(group) + bars(group) + BETWEEN_GROUPS).sum::<i32>() + TOP;
        let longest =
            self.groups.iter().flat_map(|group| &group.bars).map(|bar| bar.value).fold(0.0, f64::max);
        let width = f64::from(SIZE.0 as i32 - LEFT - RIGHT);
        let mut svg = String::new();
        let area = SVGBackend::with_string(&mut svg, (SIZE.0, height as u32)).into_drawing_area();
        area.fill(&WHITE)?;
        area.draw(&Text::new(self.title.clone(), (16, 16), text(TITLE)))?;
        let mut y = TOP;
        for group in &self.groups {
            if !group.label.is_empty() {
                area.draw(&Text::new(group.label.clone(), (16, y), text(TEXT)))?;
                y += heading(group);
            }
            for bar in &group.bars {
                let len = (bar.value / longest.max(f64::MIN_POSITIVE) * width).max(1.0) as i32;
                let middle = y + (BAR - TEXT as i32) / 2;
                area.draw(&Text::new(bar.label.clone(), (24, middle), text(TEXT)))?;
                area.draw(&Rectangle::new([(LEFT, y), (LEFT + len, y + BAR)], bar.colour.filled()))?;
                area.draw(&Text::new(bar.text.clone(), (LEFT + len + 6, middle), text(TEXT)))?;
                y += BAR + GAP;
            }
            y += BETWEEN_GROUPS;
        }
        area.draw(&PathElement::new([(LEFT, TOP - 4), (LEFT, height - BETWEEN_GROUPS)], INK))?;
        area.present()?;
        drop(area);
        Ok(svg)
    }
}

/// The calls a second of all rows, and how they compare with the baseline.
pub(super) fn comparison(rows: &[Row], baseline: Kind) -> Result<String> {
    let bar = |(index, row): (usize, &Row)| {
        let base = rows
            .iter()
            .find(|other| other.setup.contender == baseline && other.setup.is_same_cell(&row.setup))
            .filter(|base| base.setup.contender != row.setup.contender && base.sample.calls_per_s > 0.0);
        let ratio = base
            .map(|base| format!(" ({:.2} x {baseline})", row.sample.calls_per_s / base.sample.calls_per_s));
        Bar {
            label: label(row, rows),
            colour: colour_of(row, rows, index),
            value: row.sample.calls_per_s,
            text: scale::count(row.sample.calls_per_s) + &ratio.unwrap_or_default(),
        }
    };
    let bars = rows.iter().enumerate().map(bar).collect();
    Bars { title: "Calls a second".to_owned(), groups: vec![Group { label: String::new(), bars }] }.draw()
}
