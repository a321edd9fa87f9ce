//! How many instructions the hot paths take, as Valgrind counts them, against a baseline that is checked in.
//!
//! `cargo bench --bench instructions` fails when one of them takes 5 % more than it did, or 5 % less: then the baseline is
//! to keep the gain. `BLESS=1 cargo bench --bench instructions` writes the baseline anew. Unlike time, instructions do not
//! depend on what else the machine does.
#![allow(clippy::print_stdout, clippy::cast_precision_loss)]

mod baseline;
#[path = "../common/mod.rs"]
mod common;
mod count;
mod operations;

use std::process::ExitCode;

use baseline::{Baseline, Verdict};
use operations::OPERATIONS;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [count::COMMAND, operation, times] = arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        operations::run(operation, times.parse().expect("a number"));
        return ExitCode::SUCCESS;
    }
    match compare() {
        Ok(code) => code,
        Err(reason) => {
            eprintln!("error: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// Counts, and compares with the baseline or writes it.
fn compare() -> Result<ExitCode, String> {
    let tools = count::tools()?;
    let mut counted = Vec::new();
    for operation in OPERATIONS {
        counted.push((operation.name.to_owned(), count::instructions(operation)?));
    }
    let new = Baseline { tools, counted };
    if std::env::var_os("BLESS").is_some() {
        new.write()?;
        print!("{new}");
        return Ok(ExitCode::SUCCESS);
    }
    let old = Baseline::read()?;
    if old.tools != new.tools {
        print!("{new}");
        println!(
            "\nNOT COMPARED: the baseline was counted with other tools, and says nothing about these figures."
        );
        println!("  baseline: {}\n  here:     {}", old.tools.join(", "), new.tools.join(", "));
        println!(
            "Write it anew with BLESS=1 cargo bench --bench instructions, of the code before the change."
        );
        return Ok(ExitCode::SUCCESS);
    }
    let verdicts = new.against(&old);
    for verdict in &verdicts {
        println!("{verdict}");
    }
    if verdicts.iter().all(Verdict::is_good) {
        return Ok(ExitCode::SUCCESS);
    }
    println!("\nIf this is meant to be: BLESS=1 cargo bench --bench instructions");
    Ok(ExitCode::FAILURE)
}
