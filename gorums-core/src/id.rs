//! Identities: of nodes, and of messages on a stream.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

/// Identifies a node among those that one process knows. Never 0.
///
/// Ids from 2^20 up are what a server numbers its clients with.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(NonZeroU32);

impl NodeId {
    /// The largest id.
    pub const MAX: Self = Self(NonZeroU32::MAX);

    /// The id with this number, or `None` for 0.
    pub const fn new(id: u32) -> Option<Self> {
        match NonZeroU32::new(id) {
            Some(id) => Some(Self(id)),
            None => None,
        }
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({})", self.0)
    }
}

impl From<NodeId> for u32 {
    fn from(id: NodeId) -> Self {
        id.get()
    }
}

impl TryFrom<u32> for NodeId {
    type Error = InvalidNodeId;

    fn try_from(id: u32) -> Result<Self, InvalidNodeId> {
        Self::new(id).ok_or(InvalidNodeId)
    }
}

impl FromStr for NodeId {
    type Err = InvalidNodeId;

    fn from_str(text: &str) -> Result<Self, InvalidNodeId> {
        text.parse().map(Self).map_err(|_| InvalidNodeId)
    }
}

impl PartialEq<u32> for NodeId {
    fn eq(&self, other: &u32) -> bool {
        self.get() == *other
    }
}

/// A node id that is not a number from 1 to 2^32 - 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a node id is a number from 1 to 4294967295")]
pub struct InvalidNodeId;

/// What names a node in a call of this crate: a [`NodeId`], or its plain number.
pub trait AsNodeId: sealed::Sealed {
    /// The number of the id; 0 names no node.
    fn number(&self) -> u32;
}

impl AsNodeId for NodeId {
    fn number(&self) -> u32 {
        self.get()
    }
}

impl AsNodeId for u32 {
    fn number(&self) -> u32 {
        *self
    }
}

impl<T: AsNodeId> AsNodeId for &T {
    fn number(&self) -> u32 {
        T::number(self)
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::NodeId {}
    impl Sealed for u32 {}
    impl<T: Sealed> Sealed for &T {}
}

/// Which end of a stream started a call: the end that dialled, or the one that accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Initiator {
    /// The end that dialled.
    Client,
    /// The end that accepted the connection: a call back to the client.
    Server,
}

/// The number of a call on a stream. A reply carries the number of its request.
///
/// The high bit tells who started the call, so that both ends count on their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(u64);

impl MessageId {
    const SERVER: u64 = 1 << 63;

    /// The call with this sequence number, of which the high bit is not used.
    pub const fn new(initiator: Initiator, sequence: u64) -> Self {
        match initiator {
            Initiator::Client => Self(sequence & !Self::SERVER),
            Initiator::Server => Self(sequence | Self::SERVER),
        }
    }

    /// The id that has this form on the wire.
    pub const fn from_wire(id: u64) -> Self {
        Self(id)
    }

    /// The form on the wire.
    pub const fn to_wire(self) -> u64 {
        self.0
    }

    /// Who started the call.
    pub const fn initiator(self) -> Initiator {
        if self.0 & Self::SERVER == 0 { Initiator::Client } else { Initiator::Server }
    }

    /// The number without the bit that tells the initiator.
    pub const fn sequence(self) -> u64 {
        self.0 & !Self::SERVER
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.initiator() {
            Initiator::Client => write!(f, "{}", self.sequence()),
            Initiator::Server => write!(f, "server:{}", self.sequence()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_ids_are_positive_numbers() {
        assert_eq!(NodeId::new(0), None);
        assert_eq!("0".parse::<NodeId>(), Err(InvalidNodeId));
        assert_eq!("-1".parse::<NodeId>(), Err(InvalidNodeId));
        assert_eq!("4294967296".parse::<NodeId>(), Err(InvalidNodeId));
        assert_eq!("7".parse::<NodeId>().map(NodeId::get), Ok(7));
        assert_eq!(NodeId::new(7).unwrap().to_string(), "7");
    }

    #[test]
    fn the_high_bit_tells_the_initiator() {
        let client = MessageId::new(Initiator::Client, 1);
        let server = MessageId::new(Initiator::Server, 1);
        assert_eq!(client.to_wire(), 1);
        assert_eq!(server.to_wire(), 0x8000_0000_0000_0001);
        assert_eq!(client.initiator(), Initiator::Client);
        assert_eq!(MessageId::from_wire(server.to_wire()).initiator(), Initiator::Server);
        assert_eq!(server.sequence(), 1);
        assert_eq!((client.to_string(), server.to_string()), ("1".into(), "server:1".into()));
    }
}
