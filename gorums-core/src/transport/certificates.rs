//! Who a peer is, by the certificate that it has shown.

use std::fmt;
use std::sync::Arc;

use crate::id::NodeId;

/// Before the id of a node, in the URI that a certificate carries for it.
const NODE_URI: &str = "gorums://node/";

/// The certificates that a peer has shown, and proved to be its own, when the connection was made.
///
/// They were verified against the CA. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct PeerCertificates(Arc<Shown>);

#[derive(Debug, PartialEq, Eq)]
struct Shown {
    chain: Vec<Vec<u8>>,
    dns_names: Vec<String>,
    uris: Vec<String>,
    node_ids: Vec<NodeId>,
}

impl PeerCertificates {
    #[cfg(feature = "tls")]
    pub(crate) fn new(chain: Vec<Vec<u8>>, dns_names: Vec<String>, uris: Vec<String>) -> Self {
        let node_ids = uris.iter().filter_map(|uri| named_node(uri)).collect();
        Self(Arc::new(Shown { chain, dns_names, uris, node_ids }))
    }

    /// The same, for a node that was found in another way than by the URIs.
    #[cfg(feature = "tls")]
    pub(crate) fn identified(&self, node: Option<NodeId>) -> Self {
        let Shown { chain, dns_names, uris, .. } = &*self.0;
        let (chain, dns_names, uris) = (chain.clone(), dns_names.clone(), uris.clone());
        Self(Arc::new(Shown { chain, dns_names, uris, node_ids: node.into_iter().collect() }))
    }

    /// The certificates in DER, the peer's own first.
    pub fn chain(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.0.chain.iter().map(Vec::as_slice)
    }

    /// The DNS names of the peer's own certificate (subject alternative names).
    pub fn dns_names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.dns_names.iter().map(String::as_str)
    }

    /// The URIs of the peer's own certificate (subject alternative names).
    pub fn uris(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.uris.iter().map(String::as_str)
    }

    /// The nodes that the peer may be: those that its certificate names by URIs `gorums://node/<id>`, unless
    #[cfg_attr(feature = "tls", doc = "[`ServerTls::identify`](crate::ServerTls::identify) says otherwise.")]
    #[cfg_attr(not(feature = "tls"), doc = "the server identifies peers in another way.")]
    pub fn node_ids(&self) -> &[NodeId] {
        &self.0.node_ids
    }

    /// Whether the certificate is one of a node, even of one with an id that is none.
    pub(crate) fn is_of_node(&self) -> bool {
        !self.0.node_ids.is_empty() || self.0.uris.iter().any(|uri| node_part(uri).is_some())
    }
}

/// What follows the prefix of a node's URI.
fn node_part(uri: &str) -> Option<&str> {
    let (prefix, rest) = uri.split_at_checked(NODE_URI.len())?;
    prefix.eq_ignore_ascii_case(NODE_URI).then_some(rest)
}

/// The node of a URI. There is one way to write it: in lower case, and the id without leading zeros.
#[cfg(feature = "tls")]
fn named_node(uri: &str) -> Option<NodeId> {
    let id: NodeId = uri.strip_prefix(NODE_URI)?.parse().ok()?;
    (uri.len() == NODE_URI.len() + id.to_string().len()).then_some(id)
}

impl fmt::Display for PeerCertificates {
    /// The names, for logs and errors.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.uris().chain(self.dns_names()).map(|name| name.escape_debug().to_string());
        let names = names.collect::<Vec<_>>().join(", ");
        f.write_str(if names.is_empty() { "no names" } else { &names })
    }
}

impl fmt::Debug for PeerCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shown { dns_names, uris, node_ids, .. } = &*self.0;
        f.debug_struct("PeerCertificates")
            .field("dns_names", dns_names)
            .field("uris", uris)
            .field("node_ids", node_ids)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, feature = "tls"))]
mod tests {
    use super::*;

    #[test]
    fn nodes_of_uris() {
        for (uri, node, of_node) in [
            ("gorums://node/1", Some(1), true),
            ("gorums://node/4294967295", Some(u32::MAX), true),
            ("gorums://node/0", None, true),
            ("gorums://node/01", None, true),
            ("gorums://node/+1", None, true),
            ("gorums://node/1/", None, true),
            ("gorums://node/", None, true),
            ("GORUMS://node/1", None, true),
            ("gorums://nodes/1", None, false),
            ("gorums://nöde/1", None, false),
            ("spiffe://node/1", None, false),
        ] {
            let shown = PeerCertificates::new(vec![], vec![], vec![uri.to_owned()]);
            assert_eq!(shown.node_ids(), node.and_then(NodeId::new).as_slice(), "{uri}");
            assert_eq!(shown.is_of_node(), of_node, "{uri}");
        }
    }
}
