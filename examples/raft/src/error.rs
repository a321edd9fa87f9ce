//! Why a call did not do what it was to do, on the wire and off it.

use std::io;

use gorums::{Code, ErrorClass, NodeError, Status};

use crate::details;
use crate::proto::{Failure, LeaderHint, Reason};

/// Why a call failed. Every variant has a [class](Self::class), which says what to do about it, and tells whether a write
/// [may have taken effect](Self::is_ambiguous) all the same.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The node does not lead.
    #[error("{}", not_leader(.leader.as_ref()))]
    NotLeader {
        /// Who does, as far as it knows.
        leader: Option<LeaderHint>,
    },
    /// Too many calls are in progress. Nothing was done.
    #[error("too many calls are in progress on this node")]
    Overloaded,
    /// No quorum has confirmed in time that the node leads. Nothing was done.
    #[error("no quorum has confirmed in time that this node leads")]
    Unconfirmed,
    /// The leader could not be reached. Nothing was done.
    #[error("{} cannot be reached", leader_text(.leader))]
    Unreachable {
        /// The leader that was tried.
        leader: LeaderHint,
    },
    /// The write was on its way when the time was over, or when leadership changed: it may take effect or not. Sent again
    /// in the same session, it takes effect once.
    #[error("it is not known whether the write takes effect")]
    OutcomeUnknown,
    /// The session of a write was forgotten, or has gone on: whether the write was executed is not known.
    #[error("the session has expired; it is not known whether the write was executed before")]
    SessionExpired,
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The node has stopped for good.
    #[error("the node has stopped: {0}")]
    Stopped(String),
    /// A watch fell behind and missed changes: read again, and watch again.
    #[error("the watch has missed changes")]
    Lagged,
    /// The call between the processes failed.
    #[error(transparent)]
    Call(#[from] NodeError),
}

fn leader_text(leader: &LeaderHint) -> String {
    format!("the leader, node {} ({}),", leader.node, leader.address)
}

fn not_leader(leader: Option<&LeaderHint>) -> String {
    match leader {
        Some(leader) => format!("this node does not lead: node {} ({}) does", leader.node, leader.address),
        None => "no leader is known".to_owned(),
    }
}

impl Error {
    /// What this means for the next attempt. This is the one place that says so.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::NotLeader { .. } => ErrorClass::SteppedDown,
            Self::Overloaded | Self::Unconfirmed | Self::Unreachable { .. } | Self::OutcomeUnknown => {
                ErrorClass::Transient
            }
            Self::SessionExpired | Self::Invalid(_) | Self::Stopped(_) | Self::Lagged => {
                ErrorClass::Permanent
            }
            Self::Call(error) => error.class(),
        }
    }

    /// Whether a write may have taken effect although it failed so.
    pub fn is_ambiguous(&self) -> bool {
        match self {
            Self::OutcomeUnknown | Self::SessionExpired | Self::Stopped(_) => true,
            Self::Call(error) => error.is_ambiguous(),
            _ => false,
        }
    }

    /// Who leads, if the error says so.
    pub fn leader(&self) -> Option<&LeaderHint> {
        match self {
            Self::NotLeader { leader } => leader.as_ref(),
            Self::Unreachable { leader } => Some(leader),
            _ => None,
        }
    }

    /// What a call between processes failed with: what the other one said, if it said something.
    pub(crate) fn of_call(error: NodeError) -> Self {
        error.status().and_then(Self::of_status).unwrap_or(Self::Call(error))
    }

    /// What a status says; `None` if it is not one of this service's.
    pub fn of_status(status: &Status) -> Option<Self> {
        let failure: Failure = details::find(status, TYPE_URL)?;
        let text = || status.message().to_owned();
        Some(match failure.reason() {
            Reason::NotLeader => Self::NotLeader { leader: failure.leader },
            Reason::Overloaded => Self::Overloaded,
            Reason::Unconfirmed => Self::Unconfirmed,
            Reason::Unreachable => Self::Unreachable { leader: failure.leader? },
            Reason::OutcomeUnknown => Self::OutcomeUnknown,
            Reason::SessionExpired => Self::SessionExpired,
            Reason::Invalid => Self::Invalid(text()),
            Reason::Stopped => Self::Stopped(text()),
            Reason::Lagged => Self::Lagged,
            Reason::Unknown => return None,
        })
    }

    fn wire(&self) -> (Code, Reason) {
        match self {
            Self::NotLeader { .. } => (Code::FailedPrecondition, Reason::NotLeader),
            Self::Overloaded => (Code::ResourceExhausted, Reason::Overloaded),
            Self::Unconfirmed => (Code::Unavailable, Reason::Unconfirmed),
            Self::Unreachable { .. } => (Code::Unavailable, Reason::Unreachable),
            Self::OutcomeUnknown => (Code::DeadlineExceeded, Reason::OutcomeUnknown),
            Self::SessionExpired => (Code::Unknown, Reason::SessionExpired),
            Self::Invalid(_) => (Code::InvalidArgument, Reason::Invalid),
            Self::Stopped(_) => (Code::Internal, Reason::Stopped),
            Self::Lagged => (Code::OutOfRange, Reason::Lagged),
            Self::Call(error) => (Status::from(error.clone()).code(), Reason::Unknown),
        }
    }
}

/// The name of [`Failure`] among the details of a status.
const TYPE_URL: &str = "type.googleapis.com/raft.Failure";

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let (code, reason) = error.wire();
        let message = match &error {
            Error::Stopped(text) => text.clone(),
            error => error.to_string(),
        };
        let failure = Failure { reason: reason.into(), leader: error.leader().cloned() };
        details::attach(code, message, TYPE_URL, &failure)
    }
}

impl From<io::Error> for Error {
    /// The state cannot be read.
    fn from(error: io::Error) -> Self {
        Self::Stopped(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_on_the_wire_is_what_is_heard() {
        use ErrorClass::{Permanent, SteppedDown, Transient};
        let leader = LeaderHint { node: 2, address: "b:1".into(), term: 7 };
        for (error, class, ambiguous) in [
            (Error::NotLeader { leader: Some(leader.clone()) }, SteppedDown, false),
            (Error::NotLeader { leader: None }, SteppedDown, false),
            (Error::Overloaded, Transient, false),
            (Error::Unconfirmed, Transient, false),
            (Error::Unreachable { leader }, Transient, false),
            (Error::OutcomeUnknown, Transient, true),
            (Error::SessionExpired, Permanent, true),
            (Error::Invalid("an empty key".into()), Permanent, false),
            (Error::Stopped("disk".into()), Permanent, true),
            (Error::Lagged, Permanent, false),
        ] {
            assert_eq!((error.class(), error.is_ambiguous()), (class, ambiguous), "{error}");
            let status = Status::from(error.clone());
            assert_eq!(
                ErrorClass::of(&status),
                class,
                "{error}: the code says the same to whoever knows no details"
            );
            let heard = Error::of_status(&status).unwrap();
            assert_eq!(format!("{heard:?}"), format!("{error:?}"));
        }
        assert!(Error::of_status(&Status::unavailable("of something else")).is_none());
    }
}
