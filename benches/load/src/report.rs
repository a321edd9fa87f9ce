//! Everything that `docs/performance.md` shows.
//!
//! Each section of the page is some commands of this program, whose figures become a table and plots. The page says which
//! commands they are, so that each can be repeated by itself.

mod page;
mod sections;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use serde::{Deserialize, Serialize};

use self::sections::{Drawing, SECTIONS, Section};
use crate::args::{Args, Measuring, ReportArgs};
use crate::contender::Kind;
use crate::machine::Machine;
use crate::output::{self, Progress, Style, table};
use crate::plan::Row;
use crate::plot;

/// What was measured for one section.
#[derive(Serialize, Deserialize)]
struct Measured {
    section: String,
    machine: Machine,
    rows: Vec<Row>,
}

/// The file of all figures.
const FIGURES: &str = "figures.json";
const BASELINE: Kind = Kind::RawTcp;

/// Measures, draws and writes.
pub(crate) fn report(args: &ReportArgs) -> Result<()> {
    let sections = chosen(&args.only)?;
    let old = read(&args.out)?;
    let new = if args.redraw { Vec::new() } else { measure(&sections, args)? };
    let figures = merge(old, new);
    let mut fragments = Vec::new();
    for section in sections {
        let Some(measured) = figures.iter().find(|measured| measured.section == section.name) else {
            bail!(
                "{} has no figures of `{}`: leave --redraw out",
                args.out.join(FIGURES).display(),
                section.name
            );
        };
        draw(section, &measured.rows, &args.out)?;
        fragments.push((section.name, fragment(section, measured, args)));
    }
    fs::write(args.out.join(FIGURES), serde_json::to_string(&figures)?)?;
    let written = fragments.len();
    let left = if args.page.exists() { page::replace(&args.page, fragments)? } else { fragments };
    for (name, text) in &left {
        let file = args.out.join(name).with_extension("md");
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    output::print(&format!("{written} sections are in {} and {}", args.out.display(), args.page.display()))
}

fn chosen(only: &[String]) -> Result<Vec<&'static Section>> {
    for name in only {
        let names: Vec<_> = SECTIONS.iter().map(|section| section.name).collect();
        ensure!(names.contains(&&**name), "there is no section `{name}`: they are {}", names.join(", "));
    }
    let is_chosen = |section: &&Section| only.is_empty() || only.iter().any(|name| name == section.name);
    Ok(SECTIONS.iter().filter(is_chosen).collect())
}

fn measure(sections: &[&'static Section], args: &ReportArgs) -> Result<Vec<Measured>> {
    let mut plans = Vec::new();
    for section in sections {
        let commands = section.commands(args.quick);
        let commands: Vec<_> = commands.iter().map(|command| parse(command)).collect::<Result<_>>()?;
        plans.push((section, commands));
    }
    let progress = Progress::new(args.quiet);
    progress.start(
        plans.iter().flat_map(|(_, commands)| commands).map(|command| command.plan.measurements()).sum(),
    );
    let mut figures = Vec::new();
    for (section, commands) in plans {
        let mut rows = Vec::new();
        for command in commands {
            rows.extend(command.plan.run(&progress)?);
        }
        // The distributions are long, and few of them are drawn.
        if !section.drawings.iter().any(|drawing| matches!(drawing, Drawing::Distribution(_))) {
            for row in &mut rows {
                row.sample.latency.quantiles.clear();
            }
        }
        figures.push(Measured { section: section.name.to_owned(), machine: Machine::this(), rows });
    }
    progress.finish();
    Ok(figures)
}

fn parse(command: &str) -> Result<Measuring> {
    let args = Args::try_parse_from(["gorums-bench"].into_iter().chain(command.split_whitespace()))?;
    args.command.measuring().with_context(|| format!("`{command}` measures nothing"))?
}

fn draw(section: &Section, rows: &[Row], directory: &Path) -> Result<()> {
    for drawing in section.drawings {
        let svg = match *drawing {
            Drawing::Sweep(figure, axis) => plot::sweep(figure, axis, rows),
            Drawing::Comparison => plot::comparison(rows, BASELINE),
            Drawing::Distribution(title) => plot::distribution(title, rows),
        };
        plot::save(directory, &drawing.file(section), &svg?)?;
    }
    Ok(())
}

/// What the page shows of a section.
fn fragment(section: &Section, measured: &Measured, args: &ReportArgs) -> String {
    let directory =
        args.page.parent().and_then(|parent| args.out.strip_prefix(parent).ok()).unwrap_or(&args.out);
    let picture = |drawing: &Drawing| {
        let file = directory.join(drawing.file(section)).with_extension("svg");
        format!("\n![{}]({})\n", drawing.title(), file.display())
    };
    let table = table(&measured.rows, BASELINE, Style::Markdown);
    let pictures: String = section.drawings.iter().map(picture).collect();
    let commands = section.commands(args.quick).join("\n");
    format!("{table}\n{pictures}\n```text\n{commands}\n```\n\nOn {}.\n", measured.machine)
}

fn read(directory: &Path) -> Result<Vec<Measured>> {
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let file = directory.join(FIGURES);
    if !file.exists() {
        return Ok(Vec::new());
    }
    let text = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_slice(&text)
        .with_context(|| format!("{} is of another version: remove it", file.display()))
}

/// The new figures, and the old ones of other sections, in the order of the page.
fn merge(old: Vec<Measured>, new: Vec<Measured>) -> Vec<Measured> {
    let is_old = |measured: &Measured| new.iter().all(|newer| newer.section != measured.section);
    let mut all: Vec<_> = old.into_iter().filter(is_old).collect();
    all.extend(new);
    let place = |measured: &Measured| SECTIONS.iter().position(|section| section.name == measured.section);
    all.retain(|measured| place(measured).is_some());
    all.sort_by_key(place);
    all
}
