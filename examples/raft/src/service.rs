//! The services that a node offers to clients and administrators.

mod admin;
mod kv;

pub(crate) use self::admin::AdminService;
pub(crate) use self::kv::KvService;
