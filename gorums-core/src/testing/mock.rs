//! Fake nodes: what generated mocks are made of.
//!
//! A mock has a field for each method of its service: a [`MockMethod`], [`MockOneWay`] or [`MockStream`], which answers
//! as it is told, and remembers what it was asked. [`MockNodes`] serves some of them on a network in memory.

mod method;
mod nodes;
mod one_way;
mod script;
mod stream;

pub use self::method::{Held, MockMethod};
pub use self::nodes::MockNodes;
pub use self::one_way::MockOneWay;
pub use self::stream::{HeldStream, MockStream};
