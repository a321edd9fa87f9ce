//! Why there is no timestamp, on the wire and off it.

use std::time::Duration;

use gorums::{Code, ErrorClass, NodeError, Status};
use raft::details;

use crate::proto::{Failure, LeaderHint, Reason};

/// Why a call failed. Nothing is lost by that, but timestamps that nobody gets.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The node does not serve: it does not lead, or is not ready to.
    #[error("{}", not_serving(.leader.as_ref()))]
    NotServing {
        /// Who leads, as far as the node knows.
        leader: Option<LeaderHint>,
    },
    /// What the log has granted to the leader is used up; more is on its way.
    #[error("the leader has no timestamps to grant at this moment")]
    Exhausted,
    /// The clock of the leader is so far behind what was granted that timestamps would lie about the time.
    #[error("timestamps are {ahead:?} ahead of the leader's clock: has it been set back?")]
    ClockBehind {
        /// How far.
        ahead: Duration,
    },
    /// The node has stopped serving for good, until it is restarted.
    #[error("the node has stopped serving: {0}")]
    Poisoned(String),
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The time of the caller was over first.
    #[error("no timestamp in time")]
    TimedOut,
    /// The call between the processes failed.
    #[error(transparent)]
    Call(#[from] NodeError),
}

fn not_serving(leader: Option<&LeaderHint>) -> String {
    match leader {
        Some(leader) => format!("this node does not serve: node {} ({}) leads", leader.node, leader.address),
        None => "this node does not serve, and knows no leader".to_owned(),
    }
}

impl Error {
    /// What this means for the next attempt.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::NotServing { .. } => ErrorClass::SteppedDown,
            Self::Exhausted | Self::TimedOut => ErrorClass::Transient,
            Self::ClockBehind { .. } | Self::Poisoned(_) | Self::Invalid(_) => ErrorClass::Permanent,
            Self::Call(error) => error.class(),
        }
    }

    /// What a call failed with: what the node said, if it said something.
    pub(crate) fn of_call(error: NodeError) -> Self {
        error.status().and_then(Self::of_status).unwrap_or(Self::Call(error))
    }

    /// What a status says; `None` if it is none of this service's.
    pub fn of_status(status: &Status) -> Option<Self> {
        let failure: Failure = details::find(status, TYPE_URL)?;
        Some(match failure.reason() {
            Reason::NotServing => Self::NotServing { leader: failure.leader },
            Reason::Exhausted => Self::Exhausted,
            Reason::ClockBehind => Self::ClockBehind { ahead: Duration::from_millis(failure.ahead_ms) },
            Reason::Poisoned => Self::Poisoned(status.message().to_owned()),
            Reason::Invalid => Self::Invalid(status.message().to_owned()),
            Reason::Unknown => return None,
        })
    }
}

/// The name of [`Failure`] among the details of a status.
const TYPE_URL: &str = "type.googleapis.com/tso.Failure";

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let mut failure = Failure::default();
        let (code, reason) = match &error {
            Error::NotServing { leader } => {
                failure.leader.clone_from(leader);
                (Code::FailedPrecondition, Reason::NotServing)
            }
            Error::Exhausted | Error::TimedOut => (Code::Unavailable, Reason::Exhausted),
            Error::ClockBehind { ahead } => {
                failure.ahead_ms = ahead.as_millis() as u64;
                (Code::OutOfRange, Reason::ClockBehind)
            }
            Error::Poisoned(_) => (Code::Internal, Reason::Poisoned),
            Error::Invalid(_) => (Code::InvalidArgument, Reason::Invalid),
            Error::Call(error) => return error.clone().into(),
        };
        failure.reason = reason.into();
        let message = match &error {
            Error::Poisoned(text) => text.clone(),
            error => error.to_string(),
        };
        details::attach(code, message, TYPE_URL, &failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_on_the_wire_is_what_is_heard() {
        let leader = Some(LeaderHint { node: 2, address: "b:1".into(), epoch: 7 });
        for error in [
            Error::NotServing { leader },
            Error::NotServing { leader: None },
            Error::Exhausted,
            Error::ClockBehind { ahead: Duration::from_millis(61_001) },
            Error::Poisoned("the mark went back".into()),
            Error::Invalid("a batch of 0".into()),
        ] {
            let heard = Error::of_status(&Status::from(error.clone())).expect("it is one of ours");
            assert_eq!(format!("{heard:?}"), format!("{error:?}"));
        }
        assert!(Error::of_status(&Status::unavailable("of something else")).is_none());
    }
}
