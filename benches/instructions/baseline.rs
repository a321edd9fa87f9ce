//! Figures in a file, and how others compare with them.

use std::fmt;
use std::fs;
use std::path::PathBuf;

/// Figures, and what they were counted with.
pub(crate) struct Baseline {
    pub(crate) tools: Vec<String>,
    pub(crate) counted: Vec<(String, u64)>,
}

/// How far an operation may be from the baseline, in percent.
const TOLERANCE: u64 = 5;

impl Baseline {
    fn file() -> PathBuf {
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions/baseline.txt"))
    }

    pub(crate) fn read() -> Result<Self, String> {
        let file = Self::file();
        let text = fs::read_to_string(&file);
        Self::parse(&text.map_err(|error| format!("cannot read {}: {error}", file.display()))?)
    }

    pub(crate) fn write(&self) -> Result<(), String> {
        let file = Self::file();
        fs::write(&file, self.to_string())
            .map_err(|error| format!("cannot write {}: {error}", file.display()))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let (mut tools, mut counted) = (Vec::new(), Vec::new());
        for line in text.lines().filter(|line| !line.is_empty()) {
            match line.split_once(':') {
                _ if line.starts_with('#') => tools.push(line.trim_start_matches(['#', ' ']).to_owned()),
                Some((operation, count)) => {
                    let count = count.trim().parse();
                    counted.push((operation.to_owned(), count.map_err(|_| format!("not a number: {line}"))?));
                }
                None => return Err(format!("neither a tool nor a figure: {line}")),
            }
        }
        Ok(Self { tools, counted })
    }

    fn of(&self, operation: &str) -> Option<u64> {
        self.counted.iter().find(|(name, _)| name == operation).map(|&(_, count)| count)
    }

    /// How these figures compare with those of a baseline.
    pub(crate) fn against(&self, baseline: &Self) -> Vec<Verdict> {
        let verdict = |(operation, now): &(String, u64)| Verdict {
            operation: operation.clone(),
            now: *now,
            then: baseline.of(operation),
        };
        self.counted.iter().map(verdict).collect()
    }
}

impl fmt::Display for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tools.iter().try_for_each(|tool| writeln!(f, "# {tool}"))?;
        self.counted.iter().try_for_each(|(operation, count)| writeln!(f, "{operation}: {count}"))
    }
}

/// What is to be said of one operation.
pub(crate) struct Verdict {
    operation: String,
    now: u64,
    then: Option<u64>,
}

impl Verdict {
    /// How many percent more instructions it takes.
    fn change(&self) -> Option<f64> {
        self.then.map(|then| (self.now as f64 / then.max(1) as f64 - 1.0) * 100.0)
    }

    pub(crate) fn is_good(&self) -> bool {
        self.then.is_some_and(|then| 100 * self.now.abs_diff(then) <= TOLERANCE * then)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operation, now, .. } = self;
        let Some((change, then)) = self.change().zip(self.then) else {
            return write!(f, "{operation:52} {now:>9}  IS NOT IN THE BASELINE");
        };
        // Not -0.0.
        let shown = (change * 10.0).round() / 10.0 + 0.0;
        write!(f, "{operation:52} {now:>9}  {shown:>+6.1} % of {then}")?;
        match self.now > then {
            _ if self.is_good() => Ok(()),
            true => write!(f, "  TAKES MORE THAN IT DID"),
            false => write!(f, "  takes less than it did: the baseline is to keep that"),
        }
    }
}
