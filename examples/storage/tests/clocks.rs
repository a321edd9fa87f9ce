//! Values from the future: what a writer with a slow clock is told.
#![allow(clippy::unwrap_used)]

mod common;
#[allow(missing_docs, unreachable_pub, clippy::pedantic)]
mod proto {
    gorums::include_proto!("proto");
}

use common::{Server, on};
use gorums::Configuration;
use prost_types::Timestamp;
use proto::{StorageNodeClient, WriteRequest};

#[tokio::test]
async fn a_write_with_an_old_time_is_refused_by_name() {
    let servers = Server::cluster(3);
    let addresses: Vec<_> = servers.iter().map(|server| server.address.as_str()).collect();
    let configuration = Configuration::builder().nodes(addresses.clone()).connect_lazy().unwrap();
    let far_future = Some(Timestamp { seconds: 253_402_300_799, nanos: 0 });
    for node in &configuration.nodes()[1..] {
        let request = WriteRequest { key: "k".into(), value: "later".into(), time: far_future };
        assert!(node.write_rpc(request).await.unwrap().new);
    }
    let run = on(
        &addresses,
        "rpc 0 write k now; rpc 1 write k now; qc write k now; qc read k; cfg 0,1 write other v",
    );
    assert_eq!((run.out.as_str(), run.code), ("Write OK\nk = later\nWrite OK\n", Some(1)));
    assert_eq!(
        run.err,
        "error: `rpc 1 write k now`: k was not updated: the node has a newer value, timestamp too old\n\
         error: `qc write k now`: k was not updated on a majority: timestamp too old, newer values on node 1, node 2\n"
    );
}
