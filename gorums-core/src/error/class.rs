//! What an error means for the next attempt. Every question of that kind is answered here.

use tonic::{Code, Status};

use crate::error::{NodeErrorKind, ambiguity};

/// What an error means for the next attempt.
///
/// Each class has a policy: *transient* errors are retried with a back-off, for as long as the caller has time;
/// after one that says *stepped down* the same node is not asked again before something has changed, but another
/// may be; *permanent* ones are reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The same call may succeed later, on the same nodes, with no change by the caller.
    Transient,
    /// The node is not, or no longer, in the role that this call needs: it is not the leader, was fenced, has lost
    /// its lease. It says so with the status `FAILED_PRECONDITION`.
    SteppedDown,
    /// Trying again does not help.
    Permanent,
}

impl ErrorClass {
    /// The class of a status, by its code.
    ///
    /// `UNAVAILABLE`, `ABORTED`, `RESOURCE_EXHAUSTED` and `DEADLINE_EXCEEDED` are transient, `FAILED_PRECONDITION`
    /// is stepped down, and all others are permanent; `UNKNOWN` and `INTERNAL` too, as nobody knows what they mean.
    pub fn of(status: &Status) -> Self {
        match status.code() {
            Code::Unavailable | Code::Aborted | Code::ResourceExhausted | Code::DeadlineExceeded => {
                Self::Transient
            }
            Code::FailedPrecondition => Self::SteppedDown,
            _ => Self::Permanent,
        }
    }
}

impl NodeErrorKind {
    /// What this means for the next attempt.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Status(status) => ErrorClass::of(status),
            Self::Unavailable | Self::ConnectionLost | Self::DeadlineExceeded | Self::QueueFull => {
                ErrorClass::Transient
            }
            Self::Cancelled
            | Self::Encode
            | Self::Decode
            | Self::Overrun
            | Self::Closed
            | Self::Skipped
            | Self::Filtered => ErrorClass::Permanent,
        }
    }

    /// Whether the same call may succeed later with no change by the caller.
    pub fn is_transient(&self) -> bool {
        self.class() == ErrorClass::Transient
    }

    /// Whether a request that failed so after it was sent may have taken effect.
    pub(crate) fn may_have_run(&self) -> bool {
        match self {
            Self::Status(status) => ambiguity::may_have_run(status),
            Self::Unavailable | Self::QueueFull | Self::Encode | Self::Skipped => false,
            Self::ConnectionLost
            | Self::DeadlineExceeded
            | Self::Cancelled
            | Self::Decode
            | Self::Overrun
            | Self::Closed
            | Self::Filtered => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_class() {
        use ErrorClass::{Permanent, SteppedDown, Transient};
        for (kind, class) in [
            (NodeErrorKind::Unavailable, Transient),
            (NodeErrorKind::ConnectionLost, Transient),
            (NodeErrorKind::QueueFull, Transient),
            (NodeErrorKind::DeadlineExceeded, Transient),
            (NodeErrorKind::Status(Status::unavailable("")), Transient),
            (NodeErrorKind::Status(Status::aborted("")), Transient),
            (NodeErrorKind::Status(Status::failed_precondition("")), SteppedDown),
            (NodeErrorKind::Status(Status::invalid_argument("")), Permanent),
            (NodeErrorKind::Status(Status::internal("")), Permanent),
            (NodeErrorKind::Encode, Permanent),
            (NodeErrorKind::Decode, Permanent),
            (NodeErrorKind::Closed, Permanent),
            (NodeErrorKind::Skipped, Permanent),
            (NodeErrorKind::Filtered, Permanent),
        ] {
            assert_eq!(kind.class(), class, "{kind}");
            assert_eq!(kind.is_transient(), class == Transient, "{kind}");
        }
    }
}
