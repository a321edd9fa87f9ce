//! Whether a client is the node that it says it is.

use tonic::Status;

use crate::id::NodeId;
use crate::server::registry::Claim;
use crate::transport::PeerCertificates;

/// Refuses a client that says it is a node which its certificate does not name. Without mutual TLS there is no
/// certificate, and members are believed; with it, a claim to be a member needs one that names it, and no claim may be
/// another than that of the certificate.
pub(crate) fn check(
    claim: Claim,
    certificates: Option<&PeerCertificates>,
    is_member: impl Fn(NodeId) -> bool,
) -> Result<(), Status> {
    let (Claim::Peer(id), Some(certificates)) = (claim, certificates) else { return Ok(()) };
    let named = certificates.node_ids().contains(&id);
    if named || !(is_member(id) || certificates.is_of_node()) {
        return Ok(());
    }
    Err(Status::permission_denied(format!(
        "the client says that it is node {id}, and its certificate does not name that by gorums://node/{id}, but has: \
         {certificates}"
    )))
}

#[cfg(all(test, feature = "tls"))]
mod tests {
    use super::*;

    #[test]
    fn who_is_believed() {
        let node = |id| NodeId::new(id).unwrap();
        let shown = |uri: &str| {
            let uris = if uri.is_empty() { vec![] } else { vec![uri.to_owned()] };
            PeerCertificates::new(vec![], vec!["host".into()], uris)
        };
        let members = |id: NodeId| id.get() <= 3;
        for (claim, uri, ok) in [
            (Claim::Peer(node(2)), "gorums://node/2", true),
            (Claim::Peer(node(2)), "gorums://node/3", false),
            (Claim::Peer(node(2)), "gorums://node/02", false),
            (Claim::Peer(node(2)), "spiffe://node/2", false),
            (Claim::Peer(node(2)), "", false),
            // Who is no member is not believed anyway, but must not lie.
            (Claim::Peer(node(9)), "", true),
            (Claim::Peer(node(9)), "gorums://node/9", true),
            (Claim::Peer(node(9)), "gorums://node/2", false),
            (Claim::Anonymous, "gorums://node/2", true),
            (Claim::Plain, "", true),
        ] {
            assert_eq!(check(claim, Some(&shown(uri)), members).is_ok(), ok, "{claim:?} {uri}");
            assert!(check(claim, None, members).is_ok(), "without certificates, as before");
        }
        let found = shown("").identified(Some(node(2)));
        assert!(check(Claim::Peer(node(2)), Some(&found), members).is_ok());
        let found = shown("gorums://node/2").identified(None);
        assert!(check(Claim::Peer(node(2)), Some(&found), members).is_err(), "the function decides");
    }
}
