//! A frame with a scale to the right and a logarithmic one upwards, and lines in it.

use anyhow::Result;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::canvas::{FONT, GRID, INK, SIZE, TEXT, TITLE, text};
use super::scale;

const LEFT: i32 = 78;
/// For the names of the lines.
const RIGHT: i32 = SIZE.0 as i32 - 150;
const TOP: i32 = 52;
const BOTTOM: i32 = SIZE.1 as i32 - 58;

/// One axis.
pub(super) struct Scale {
    pub(super) from: f64,
    pub(super) to: f64,
    /// Where something is written, and what.
    pub(super) ticks: Vec<(f64, String)>,
}

impl Scale {
    /// A logarithmic scale that has all values.
    pub(super) fn logarithmic(values: impl Iterator<Item = f64>, display: impl Fn(f64) -> String) -> Self {
        let (from, to) = scale::decades(values);
        Self {
            from,
            to,
            ticks: scale::ticks(from, to).into_iter().map(|tick| (tick, display(tick))).collect(),
        }
    }
}

/// One line, with the points from left to right.
pub(super) struct Line {
    pub(super) label: String,
    pub(super) colour: RGBColor,
    pub(super) points: Vec<(f64, f64)>,
    pub(super) has_dots: bool,
}

/// A frame and its lines.
pub(super) struct Chart<'a> {
    pub(super) title: &'a str,
    pub(super) x_title: &'a str,
    pub(super) x: Scale,
    pub(super) y: Scale,
    pub(super) lines: Vec<Line>,
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

impl Chart<'_> {
    pub(super) fn svg(&self) -> Result<String> {
        let mut svg = String::new();
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        self.frame(&area)?;
        for line in &self.lines {
            let points: Vec<_> = line.points.iter().map(|&(x, y)| (self.right(x), self.up(y))).collect();
            area.draw(&PathElement::new(points.clone(), line.colour.stroke_width(2)))?;
            for &point in points.iter().filter(|_| line.has_dots) {
                area.draw(&Circle::new(point, 3, line.colour.filled()))?;
            }
        }
        self.names(&area)?;
        area.present()?;
        drop(area);
        Ok(svg)
    }

    fn frame(&self, area: &Area<'_>) -> Result<()> {
        area.draw(&Text::new(self.title.to_owned(), (16, 16), text(TITLE)))?;
        let anchored = |horizontal, vertical| text(TEXT).pos(Pos::new(horizontal, vertical));
        for (at, label) in &self.x.ticks {
            let x = self.right(*at);
            area.draw(&PathElement::new([(x, TOP), (x, BOTTOM)], GRID))?;
            area.draw(&Text::new(label.clone(), (x, BOTTOM + 8), anchored(HPos::Center, VPos::Top)))?;
        }
        for (at, label) in &self.y.ticks {
            let y = self.up(*at);
            area.draw(&PathElement::new([(LEFT, y), (RIGHT, y)], GRID))?;
            area.draw(&Text::new(label.clone(), (LEFT - 8, y), anchored(HPos::Right, VPos::Center)))?;
        }
        let middle = i32::midpoint(LEFT, RIGHT);
        let title =
            Text::new(self.x_title.to_owned(), (middle, BOTTOM + 30), anchored(HPos::Center, VPos::Top));
        area.draw(&title)?;
        area.draw(&PathElement::new([(LEFT, TOP), (LEFT, BOTTOM), (RIGHT, BOTTOM)], INK))?;
        Ok(())
    }

    /// Each line has its name at its end, and names keep clear of each other.
    fn names(&self, area: &Area<'_>) -> Result<()> {
        let end = |line: &&Line| line.points.last().map_or(BOTTOM, |&(_, y)| self.up(y));
        let mut lines: Vec<_> = self.lines.iter().filter(|line| !line.points.is_empty()).collect();
        lines.sort_by_key(end);
        let mut free = i32::MIN;
        for line in lines {
            let y = end(&line).max(free);
            free = y + TEXT as i32 + 4;
            let style = (FONT, TEXT).into_font().color(&line.colour).pos(Pos::new(HPos::Left, VPos::Center));
            area.draw(&Text::new(line.label.clone(), (RIGHT + 10, y), style))?;
        }
        Ok(())
    }

    fn right(&self, x: f64) -> i32 {
        let part = (x - self.x.from) / (self.x.to - self.x.from).max(f64::MIN_POSITIVE);
        LEFT + (part * f64::from(RIGHT - LEFT)).round() as i32
    }

    fn up(&self, y: f64) -> i32 {
        let part = (y / self.y.from).ln() / (self.y.to / self.y.from).ln();
        BOTTOM - (part * f64::from(BOTTOM - TOP)).round() as i32
    }
}
