//! The last entries of the log, in memory: all that are not on disk yet, and some that are.

use std::collections::VecDeque;
use std::ops::Range;

use prost::Message;

use crate::proto;
use crate::types::{Entry, LogId};

/// Synced entries that are kept for peers that are not far behind.
const KEPT_ENTRIES: usize = 1024;
/// Their size, at most, unless they are not synced.
const KEPT_BYTES: usize = 8 << 20;

/// The end of the log. Its entries are consecutive.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    entries: VecDeque<Kept>,
    bytes: usize,
    /// The number of the last append of which all is on disk.
    synced: u64,
    /// The number of the last append.
    appends: u64,
    pub(crate) last: Option<LogId>,
    pub(crate) purged: Option<LogId>,
}

#[derive(Debug)]
struct Kept {
    entry: Entry,
    bytes: usize,
    append: u64,
}

impl Tail {
    pub(crate) fn new(last: Option<LogId>, purged: Option<LogId>) -> Self {
        Self { last, purged, ..Self::default() }
    }

    /// Takes the entries of one append, and gives its number and what is to be written.
    pub(crate) fn append(&mut self, entries: impl IntoIterator<Item = Entry>) -> (u64, Vec<(u64, Vec<u8>)>) {
        self.appends += 1;
        let mut encoded = Vec::new();
        for entry in entries {
            let bytes = proto::Entry::from(&entry).encode_to_vec();
            self.last = Some(entry.log_id);
            self.bytes += bytes.len();
            self.entries.push_back(Kept { bytes: bytes.len(), append: self.appends, entry });
            encoded.push((self.last.map_or(0, |id| id.index()), bytes));
        }
        (self.appends, encoded)
    }

    /// An append is on disk, and all before it.
    pub(crate) fn synced(&mut self, append: u64) {
        self.synced = self.synced.max(append);
        while let Some(first) = self.entries.front() {
            let too_many = self.entries.len() > KEPT_ENTRIES || self.bytes > KEPT_BYTES;
            if first.append > self.synced || !too_many {
                return;
            }
            self.drop_first();
        }
    }

    /// Drops the entries after one, or all.
    pub(crate) fn truncate_after(&mut self, last: Option<LogId>) {
        while self
            .entries
            .back()
            .is_some_and(|kept| Some(kept.entry.log_id.index()) > last.map(|id| id.index()))
        {
            self.bytes -= self.entries.pop_back().map_or(0, |kept| kept.bytes);
        }
        self.last = last;
    }

    /// Drops the entries up to one, which may be after the last.
    pub(crate) fn purge(&mut self, upto: LogId) {
        while self.entries.front().is_some_and(|kept| kept.entry.log_id.index() <= upto.index()) {
            self.drop_first();
        }
        self.purged = Some(upto);
        if self.last.is_none_or(|last| last.index() < upto.index()) {
            self.last = Some(upto);
        }
    }

    fn drop_first(&mut self) {
        self.bytes -= self.entries.pop_front().map_or(0, |kept| kept.bytes);
    }

    /// The entries with these indices, as far as there are any, and the part of the range before them, which is only on
    /// disk.
    pub(crate) fn entries(&self, range: Range<u64>) -> (Range<u64>, Vec<Entry>) {
        let next = self.last.map_or(0, |id| id.index() + 1);
        let (start, end) = (range.start.max(self.purged.map_or(0, |id| id.index() + 1)), range.end.min(next));
        let first = self.entries.front().map_or(next, |kept| kept.entry.log_id.index());
        let in_memory = start.max(first)..end.max(start.max(first));
        let skip = (in_memory.start - first) as usize;
        let take = (in_memory.end - in_memory.start) as usize;
        let entries = self.entries.iter().skip(skip).take(take).map(|kept| kept.entry.clone()).collect();
        (start..end.min(first).max(start), entries)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::{Payload, log_id};

    fn entry(term: u64, index: u64) -> Entry {
        Entry { log_id: log_id(term, index), payload: Payload::Blank }
    }

    fn ids(entries: &[Entry]) -> Vec<(u64, u64)> {
        entries.iter().map(|entry| (**entry.log_id.committed_leader_id(), entry.log_id.index())).collect()
    }

    #[test]
    fn what_is_not_synced_stays() {
        let mut tail = Tail::new(None, None);
        let count = 3 * KEPT_ENTRIES as u64;
        let (first, encoded) = tail.append((0..count).map(|index| entry(1, index)));
        assert_eq!((first, encoded.len()), (1, count as usize));
        let (second, _) = tail.append([entry(1, count)]);
        assert_eq!(tail.entries(0..count + 1).1.len(), count as usize + 1);
        tail.synced(first);
        let (on_disk, in_memory) = tail.entries(0..count + 5);
        assert_eq!(on_disk, 0..count + 1 - KEPT_ENTRIES as u64);
        assert_eq!(in_memory.len(), KEPT_ENTRIES);
        assert_eq!(second, 2);
    }

    #[test]
    fn an_old_append_that_is_synced_says_nothing_of_what_replaced_it() {
        let mut tail = Tail::new(None, None);
        let (old, _) = tail.append((0..5_000).map(|index| entry(1, index)));
        tail.truncate_after(Some(log_id(1, 9)));
        tail.append((10..5_000).map(|index| entry(2, index)));
        tail.synced(old);
        let (on_disk, in_memory) = tail.entries(0..5_000);
        assert_eq!(on_disk, 0..10);
        assert_eq!(in_memory.len(), 4_990);
    }

    proptest! {
        /// Whatever happens, disk and memory together are the log.
        #[test]
        fn disk_and_memory_are_the_log(steps in prop::collection::vec((0u8..4, 0u64..40), 1..60)) {
            let mut tail = Tail::new(None, None);
            let mut log: Vec<(u64, u64)> = Vec::new();
            let mut disk: std::collections::BTreeMap<u64, (u64, u64)> = std::collections::BTreeMap::new();
            let (mut purged, mut term, mut number) = (0, 1, 0);
            for (step, argument) in steps {
                let next = log.last().map_or(purged, |(_, index)| index + 1);
                match step {
                    0 => {
                        let new: Vec<_> = (next..next + argument).map(|index| entry(term, index)).collect();
                        log.extend(ids(&new));
                        disk.extend(new.iter().map(|entry| (entry.log_id.index(), ids(std::slice::from_ref(entry))[0])));
                        number = tail.append(new).0;
                    }
                    1 => tail.synced(number.saturating_sub(argument % 3)),
                    2 => {
                        log.truncate(log.len().saturating_sub((argument % 5) as usize));
                        let last = log.last().map(|&(term, index)| log_id(term, index));
                        let last = last.or(purged.checked_sub(1).map(|index| log_id(0, index)));
                        tail.truncate_after(last);
                        term += 1;
                    }
                    _ if !log.is_empty() => {
                        let upto = log[(argument as usize) % log.len()];
                        log.retain(|&(_, index)| index > upto.1);
                        purged = upto.1 + 1;
                        tail.purge(log_id(upto.0, upto.1));
                    }
                    _ => {}
                }
                let (on_disk, in_memory) = tail.entries(0..10_000);
                let mut whole: Vec<_> = on_disk.map(|index| disk[&index]).collect();
                whole.extend(ids(&in_memory));
                prop_assert_eq!(&whole, &log);
            }
        }
    }
}
