//! The machine that figures are of.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::allocator;

/// What matters for figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    pub(crate) compiler: String,
    pub(crate) allocator: String,
}

impl Machine {
    /// The machine that this runs on, as far as `/proc` tells.
    pub(crate) fn this() -> Self {
        let read = |file| std::fs::read_to_string(file).unwrap_or_default();
        let info = read("/proc/cpuinfo");
        let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        Self {
            cpu: model.map_or(std::env::consts::ARCH, |(_, model)| model.trim()).to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: format!("{} {}", std::env::consts::OS, read("/proc/sys/kernel/osrelease").trim()),
            compiler: env!("COMPILER").to_owned(),
            allocator: allocator::NAME.to_owned(),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu, cores, kernel, compiler, allocator } = self;
        write!(f, "{cpu}, {cores} cores, {kernel}, {compiler}, allocator: {allocator}")
    }
}
