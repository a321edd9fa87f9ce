//! What a program around a [`Node`](crate::Node) needs besides: for this one, and for those of applications.

pub mod http;
pub mod output;
pub mod parse;
pub mod terminate;
mod tls;

pub use tls::Tls;
