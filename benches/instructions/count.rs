//! Counts the instructions of an operation.
//!
//! A process under Valgrind does the operation some number of times, and another one three times as often: the difference is
//! that of the operations, without all that a process does before and after.

use std::process::{Command, Output};

use crate::operations::Operation;

/// What tells this program to do an operation.
pub(crate) const COMMAND: &str = "operation";

/// The C library chooses how to copy memory by the processor, and is to choose alike everywhere.
const SAME_EVERYWHERE: &str =
    "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX2,-AVX2_Usable,-AVX_Fast_Unaligned_Load,-ERMS,-FSRM";

/// All that the figures depend on, besides the code.
pub(crate) fn tools() -> Result<Vec<String>, String> {
    let version = |program: &str| {
        let output = output(Command::new(program).arg("--version"))?;
        Ok::<_, String>(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let valgrind = version("valgrind").map_err(|error| format!("{error}; install valgrind"))?;
    Ok(vec![version("rustc")?, valgrind, std::env::consts::ARCH.to_owned()])
}

/// The instructions that an operation takes.
pub(crate) fn instructions(operation: &Operation) -> Result<u64, String> {
    let times = operation.times;
    let (some, more) = (total(operation.name, times)?, total(operation.name, 3 * times)?);
    Ok(more.saturating_sub(some).div_ceil(2 * times))
}

/// The instructions of a process that does an operation so often.
fn total(operation: &str, times: u64) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"])
        .arg(program)
        .args([COMMAND, operation, &times.to_string()])
        .env("GLIBC_TUNABLES", SAME_EVERYWHERE);
    let output = output(&mut valgrind)?;
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().find_map(|line| line.split_once('I')?.1.trim().strip_prefix("refs:"));
    let count = line.and_then(|count| count.trim().replace(',', "").parse().ok());
    count.ok_or_else(|| format!("valgrind does not say how many instructions there were:\n{text}"))
}

fn output(command: &mut Command) -> Result<Output, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("cannot run {program}: {error}"))?;
    if output.status.success() {
        return Ok(output);
    }
    Err(format!("{program} has failed:\n{}", String::from_utf8_lossy(&output.stderr)))
}
