//! How a status tells that the request may have taken effect, where its code does not.
//!
//! A handler that passes the error of a nested call on keeps the code, as it says what to do next. That the nested
//! call may have taken effect is told beside it: in the details, as the `google.rpc.ErrorInfo` of
//! "API Improvement Proposal 193". Peers that do not look for it see the same status as ever.

use bytes::Bytes;
use prost::Message;
use tonic::{Code, Status};

use crate::wire::RpcStatus;

const TYPE: &str = "type.googleapis.com/google.rpc.ErrorInfo";
const REASON: &str = "MAY_HAVE_TAKEN_EFFECT";
const DOMAIN: &str = "gorums";

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, prost::Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

/// `google.rpc.ErrorInfo`, without its metadata.
#[derive(Clone, PartialEq, prost::Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
}

/// Whether a request that was answered so may have taken effect.
pub(super) fn may_have_run(status: &Status) -> bool {
    is_told_by(status.code()) || (!status.details().is_empty() && is_told_beside(status))
}

/// The status of a handler whose nested call failed.
pub(super) fn of_nested_call(code: Code, text: String, may_have_run: bool) -> Status {
    if !may_have_run || is_told_by(code) {
        return Status::new(code, text);
    }
    let info = ErrorInfo { reason: REASON.to_owned(), domain: DOMAIN.to_owned() };
    let detail = Any { type_url: TYPE.to_owned(), value: info.encode_to_vec().into() };
    let whole = RpcStatus {
        code: code as i32,
        message: Bytes::copy_from_slice(text.as_bytes()),
        details: vec![detail.encode_to_vec().into()],
    };
    Status::with_details(code, text, whole.encode_to_vec().into())
}

/// Codes that leave it open whether the handler has done its work.
fn is_told_by(code: Code) -> bool {
    matches!(code, Code::Unknown | Code::Internal | Code::DeadlineExceeded | Code::Cancelled | Code::DataLoss)
}

fn is_told_beside(status: &Status) -> bool {
    let says_so = |detail: &Bytes| {
        Any::decode(detail.clone())
            .ok()
            .filter(|any| any.type_url == TYPE)
            .and_then(|any| ErrorInfo::decode(any.value).ok())
            .is_some_and(|info| info.reason == REASON && info.domain == DOMAIN)
    };
    RpcStatus::decode(status.details()).is_ok_and(|whole| whole.details.iter().any(says_so))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_kept_and_the_doubt_is_told_beside_it() {
        let certain = of_nested_call(Code::Unavailable, "down".to_owned(), false);
        assert!(!may_have_run(&certain) && certain.details().is_empty());
        let doubtful = of_nested_call(Code::Unavailable, "lost".to_owned(), true);
        assert_eq!((doubtful.code(), doubtful.message()), (Code::Unavailable, "lost"));
        assert!(may_have_run(&doubtful));
        // On the wire and back.
        assert!(may_have_run(&RpcStatus::from_status(&doubtful).to_status()));
    }

    #[test]
    fn details_of_others_say_nothing_of_it() {
        let info = ErrorInfo { reason: REASON.to_owned(), domain: "example.com".to_owned() };
        let foreign = Any { type_url: TYPE.to_owned(), value: info.encode_to_vec().into() };
        for details in [foreign.encode_to_vec(), b"\xff\xff".to_vec()] {
            let whole = RpcStatus { code: 14, message: Bytes::new(), details: vec![details.into()] };
            assert!(!may_have_run(&whole.to_status()));
        }
        assert!(!may_have_run(&Status::with_details(Code::Unavailable, "", Bytes::from_static(b"\xff"))));
    }
}
