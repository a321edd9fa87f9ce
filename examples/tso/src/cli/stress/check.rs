//! Whether what clients got is what an oracle may grant.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::cli::stress::load::{History, Seen};

/// What all clients got.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub(crate) calls: u64,
    pub(crate) failed: u64,
    pub(crate) timestamps: u64,
    pub(crate) terms: usize,
    pub(crate) longest_gap: Duration,
}

/// Checks that no timestamp was granted twice, that each client's only grow, and that those of a call are above all that were
/// there before it began, whoever got them: so that those after a failover are above those before.
///
/// Gaps count from when the load began to when it ended: service that does not come back is the longest.
pub(crate) fn check(histories: Vec<History>, begun: Instant, ended_at: Instant) -> Result<Summary, String> {
    let failed = histories.iter().map(|history| history.failed).sum();
    for (client, history) in histories.iter().enumerate() {
        if let Some(pair) = history.seen.windows(2).find(|pair| last(&pair[0]) >= pair[1].first) {
            return Err(format!("client {client} got {} after {}", pair[1].first, last(&pair[0])));
        }
    }
    let mut all: Vec<Seen> = histories.into_iter().flat_map(|history| history.seen).collect();

    all.sort_unstable_by_key(|seen| seen.first);
    if let Some(pair) = all.windows(2).find(|pair| last(&pair[0]) >= pair[1].first) {
        return Err(format!("{} was granted twice", pair[1].first));
    }

    let mut by_end: Vec<&Seen> = all.iter().collect();
    by_end.sort_unstable_by_key(|seen| seen.ended);
    let mut by_begin = by_end.clone();
    by_begin.sort_unstable_by_key(|seen| seen.begun);
    let (mut ended, mut highest) = (0, 0);
    for seen in by_begin {
        while let Some(before) = by_end.get(ended).filter(|before| before.ended < seen.begun) {
            highest = highest.max(last(before));
            ended += 1;
        }
        if seen.first <= highest && ended > 0 {
            return Err(format!(
                "{} of term {} was granted although {highest} was there before it was asked for",
                seen.first, seen.epoch
            ));
        }
    }
    let answers = by_end.iter().map(|seen| seen.ended.clamp(begun, ended_at));
    let ends = std::iter::once(begun).chain(answers.clone());
    let gaps = ends.zip(answers.chain([ended_at])).map(|(from, to)| to.saturating_duration_since(from));
    Ok(Summary {
        calls: all.len() as u64,
        failed,
        timestamps: all.iter().map(|seen| u64::from(seen.count)).sum(),
        terms: all.iter().map(|seen| seen.epoch).collect::<BTreeSet<_>>().len(),
        longest_gap: gaps.max().unwrap_or_default(),
    })
}

fn last(seen: &Seen) -> u64 {
    seen.first + u64::from(seen.count) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls of clients: when each began and ended, in milliseconds, and what it got.
    fn histories(clients: &[&[(u64, u64, u64)]]) -> (Vec<History>, Instant, Instant) {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let seen = |&(begun, ended, first): &(u64, u64, u64)| Seen {
            begun: at(begun),
            ended: at(ended),
            first,
            count: 4,
            epoch: 1,
        };
        let history = |calls: &&[_]| History { seen: calls.iter().map(seen).collect(), failed: 0 };
        (clients.iter().map(history).collect(), start, at(40))
    }

    #[test]
    fn what_is_right_is_taken() {
        let (seen, begun, ended) =
            histories(&[&[(0, 10, 100), (20, 25, 112)], &[(1, 9, 104), (10, 30, 108)]]);
        let seen = check(seen, begun, ended).unwrap();
        assert_eq!((seen.calls, seen.timestamps, seen.longest_gap), (4, 16, Duration::from_millis(15)));
        let nothing = check(Vec::new(), begun, ended).unwrap();
        assert_eq!(nothing.longest_gap, ended - begun, "service that never comes back");
    }

    #[test]
    fn what_is_wrong_is_found() {
        for ((wrong, begun, ended), what) in [
            (histories(&[&[(0, 10, 100)], &[(0, 10, 103)]]), "twice"),
            (histories(&[&[(0, 10, 100), (11, 12, 96)]]), "after"),
            (histories(&[&[(0, 10, 100)], &[(11, 12, 96)]]), "was there before"),
        ] {
            let found = check(wrong, begun, ended).unwrap_err();
            assert!(found.contains(what), "{found}");
        }
    }
}
