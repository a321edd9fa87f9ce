//! What a status says beyond its code and its text: a message among its details, as gRPC has them.

use gorums::{Code, Status};
use prost::Message;
use prost_types::Any;

use crate::proto::RpcStatus;

/// A status with a message among its details.
pub fn attach(code: Code, text: String, type_url: &str, detail: &impl Message) -> Status {
    let any = Any { type_url: type_url.to_owned(), value: detail.encode_to_vec() };
    let details = RpcStatus { code: code as i32, message: text.clone(), details: vec![any] };
    Status::with_details(code, text, details.encode_to_vec().into())
}

/// The message of this type among the details of a status, if there is one that can be read.
pub fn find<T: Message + Default>(status: &Status, type_url: &str) -> Option<T> {
    let details = RpcStatus::decode(status.details()).ok()?.details;
    let detail = details.iter().find(|any| any.type_url == type_url)?;
    T::decode(detail.value.as_slice()).ok()
}
