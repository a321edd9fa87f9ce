//! G3: a call does not wait for a reply over a connection that is known to be broken.

use std::collections::BTreeMap;

use gorums_core::NodeErrorKind;

use super::{Case, Verdict};
use crate::plan::Kind;
use crate::record::{CallId, Told};

/// A request that was handled over one connection, and is waited for up to its deadline although another one of the
/// same client has been used meanwhile, was forgotten when its connection broke.
pub fn judge(cases: &BTreeMap<CallId, Case<'_>>, verdict: &mut Verdict) {
    let mut used: BTreeMap<(u32, u32), Vec<(usize, u16)>> = BTreeMap::new();
    for case in cases.values() {
        for (place, run) in &case.runs {
            used.entry((case.id.client, run.node)).or_default().push((*place, run.connection));
        }
    }
    for case in cases.values().filter(|case| !case.repeats()) {
        let (Some((end, told)), false) = (case.end, matches!(case.call.kind, Kind::Multicast { .. })) else {
            continue;
        };
        for (_, run) in &case.runs {
            let late = matches!(
                told.nodes.get(&run.node),
                Some(Told::Failed(error)) if matches!(error.kind(), NodeErrorKind::DeadlineExceeded)
            );
            let newer = used[&(case.id.client, run.node)]
                .iter()
                .any(|(place, connection)| *place < end && *connection > run.connection);
            if late && newer {
                let what = format!("{:?} waits for node {} over a connection that broke", case.id, run.node);
                verdict.add("G3", what);
            }
        }
    }
}
