//! Bars: contenders side by side.

use anyhow::Result;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::canvas::{INK, SIZE, TEXT, TITLE, colour_of_kind, text};
use super::{label, scale};
use crate::args::display_bytes;
use crate::contender::Kind;
use crate::plan::Row;
use crate::setup::{Scenario, Setup};

/// Groups of bars that go to the right, one below the other.
struct Bars {
    title: String,
    groups: Vec<Group>,
}

/// Bars that belong together.
struct Group {
    label: String,
    bars: Vec<Bar>,
}

/// One bar.
struct Bar {
    label: String,
    colour: RGBColor,
    value: f64,
    /// What is written at its end.
    text: String,
}

const BAR: i32 = 18;
const GAP: i32 = 3;
const BETWEEN_GROUPS: i32 = 14;
const TOP: i32 = 52;
const LEFT: i32 = 140;
/// For what is written at the ends.
const RIGHT: i32 = 120;

/// The calls a second of all rows: cell by cell, as multiples of the baseline where there is one.
pub(crate) fn comparison(rows: &[Row], baseline: Kind) -> Result<String> {
    let is_compared = rows.iter().any(|row| row.setup.contender != baseline)
        && rows.iter().all(|row| base(rows, row, baseline).is_some());
    let title = if is_compared {
        format!("Calls a second, as multiples of {baseline}")
    } else {
        "Calls a second".to_owned()
    };
    let mut groups: Vec<Group> = Vec::new();
    let mut first = None;
    for row in rows {
        let base = base(rows, row, baseline).filter(|_| is_compared);
        let rate = row.sample.calls_per_s;
        let text = scale::count(rate);
        let bar = match base {
            Some(base) => {
                let ratio = rate / base.sample.calls_per_s;
                let (label, text) = (row.setup.contender.to_string(), format!("{ratio:.2} ({text}/s)"));
                Bar { label, colour: colour_of_kind(row.setup.contender), value: ratio, text }
            }
            None => Bar {
                label: label(row, rows),
                colour: colour_of_kind(row.setup.contender),
                value: rate,
                text,
            },
        };
        let is_same = !is_compared || first.is_some_and(|first: &Row| first.setup.is_same_cell(&row.setup));
        match groups.last_mut() {
            Some(group) if is_same => group.bars.push(bar),
            _ => {
                let label = if is_compared { cell(row, rows) } else { String::new() };
                groups.push(Group { label, bars: vec![bar] });
            }
        }
        first = Some(row);
    }
    Bars { title, groups }.draw()
}

/// The row of the baseline in the same cell.
fn base<'a>(rows: &'a [Row], row: &Row, baseline: Kind) -> Option<&'a Row> {
    rows.iter()
        .find(|other| other.setup.contender == baseline && other.setup.is_same_cell(&row.setup))
        .filter(|base| base.sample.calls_per_s > 0.0)
}

/// What tells a cell apart from those of other rows.
fn cell(row: &Row, rows: &[Row]) -> String {
    let describe = |setup: &Setup| {
        let scenario = if setup.scenario == Scenario::BlackHole { "a node never reads" } else { "" };
        [
            scenario.to_owned(),
            setup.call.to_string(),
            format!("{} nodes", setup.nodes),
            display_bytes(setup.request_bytes),
            format!("{} in flight", setup.in_flight),
            format!("{} workers", setup.workers),
        ]
    };
    let own = describe(&row.setup);
    let all: Vec<_> = rows.iter().map(|row| describe(&row.setup)).collect();
    let varies = |index: usize| all.iter().any(|other| other[index] != own[index]);
    let parts = own.iter().enumerate().filter(|(index, part)| !part.is_empty() && varies(*index));
    parts.map(|(_, part)| part.as_str()).collect::<Vec<_>>().join(", ")
}

impl Bars {
    /// Draws them; the longest takes all the width there is.
    fn draw(&self) -> Result<String> {
        let heading = |group: &Group| if group.label.is_empty() { 0 } else { BAR + GAP };
        let height = |group: &Group| heading(group) + group.bars.len() as i32 * (BAR + GAP) + BETWEEN_GROUPS;
        let whole = TOP + self.groups.iter().map(height).sum::<i32>();
        let mut svg = String::new();
        let area = SVGBackend::with_string(&mut svg, (SIZE.0, whole as u32)).into_drawing_area();
        area.fill(&WHITE)?;
        area.draw(&Text::new(self.title.clone(), (16, 16), text(TITLE)))?;
        let mut y = TOP;
        for group in &self.groups {
            if !group.label.is_empty() {
                area.draw(&Text::new(group.label.clone(), (16, y), text(TEXT)))?;
            }
            let top = y + heading(group);
            for (index, bar) in group.bars.iter().enumerate() {
                self.bar(&area, bar, top + index as i32 * (BAR + GAP))?;
            }
            area.draw(&PathElement::new(
                [(LEFT, top - GAP), (LEFT, y + height(group) - BETWEEN_GROUPS)],
                INK,
            ))?;
            y += height(group);
        }
        area.present()?;
        drop(area);
        Ok(svg)
    }

    fn bar(&self, area: &DrawingArea<SVGBackend<'_>, Shift>, bar: &Bar, y: i32) -> Result<()> {
        let longest =
            self.groups.iter().flat_map(|group| &group.bars).map(|bar| bar.value).fold(0.0, f64::max);
        let width = f64::from(SIZE.0 as i32 - LEFT - RIGHT);
        let len = (bar.value / longest.max(f64::MIN_POSITIVE) * width).max(1.0) as i32;
        let middle = y + (BAR - TEXT as i32) / 2;
        let left = text(TEXT).pos(Pos::new(HPos::Right, VPos::Top));
        area.draw(&Text::new(bar.label.clone(), (LEFT - 8, middle), left))?;
        area.draw(&Rectangle::new([(LEFT, y), (LEFT + len, y + BAR)], bar.colour.filled()))?;
        area.draw(&Text::new(bar.text.clone(), (LEFT + len + 6, middle), text(TEXT)))?;
        Ok(())
    }
}
