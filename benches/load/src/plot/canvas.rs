//! What all plots have in common: size, fonts and colours.

use plotters::prelude::*;

use crate::contender::Kind;
use crate::plan::Row;

/// Width and height.
pub(super) const SIZE: (u32, u32) = (760, 420);
pub(super) const FONT: &str = "Helvetica, Arial, sans-serif";
pub(super) const TITLE: u32 = 19;
pub(super) const TEXT: u32 = 13;
pub(super) const INK: RGBColor = RGBColor(0x24, 0x29, 0x2f);
pub(super) const GRID: RGBColor = RGBColor(0xe1, 0xe4, 0xe8);

/// Colours that are told apart by people who see few of them (Okabe and Ito, "Color universal design", 2008).
const COLOURS: [RGBColor; 7] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0x56, 0x5a, 0x60),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
];

/// The colour of the n-th of some rows: that of its contender, unless that is the same for all.
pub(super) fn colour_of(row: &Row, rows: &[Row], index: usize) -> RGBColor {
    let kind = row.setup.contender;
    let is_only = rows.iter().all(|other| other.setup.contender == kind);
    if is_only { COLOURS[index % COLOURS.len()] } else { colour_of_kind(kind) }
}

/// The colour of a contender, the same in all plots.
pub(super) fn colour_of_kind(kind: Kind) -> RGBColor {
    match kind {
        Kind::Gorums => COLOURS[0],
        Kind::Tonic => COLOURS[1],
        Kind::Tarpc => COLOURS[2],
        Kind::RawTcp => COLOURS[3],
    }
}

/// Text of a size.
pub(super) fn text(size: u32) -> TextStyle<'static> {
    (FONT, size).into_font().color(&INK)
}
