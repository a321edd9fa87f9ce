//! A state machine of an application, in the log of the node.
#![allow(clippy::unwrap_used)]

mod common;

use std::io;

use bytes::Bytes;
use common::SECOND;
use gorums::{ErrorClass, Server};
use raft::testing::{Cluster, Disk, Links};
use raft::{Application, ApplicationState, Consistency, Error, Node, Options, Storage};
use tokio::time::{sleep, timeout};

/// A mark that only grows, and of which each command says from which term it is: a fence.
struct Mark;

impl Application for Mark {
    fn apply(&self, state: &mut ApplicationState<'_, '_>, command: Bytes) -> io::Result<Bytes> {
        let Ok(text) = std::str::from_utf8(&command) else { return Ok("not a command".into()) };
        let Some((term, mark)) = text.split_once(' ') else { return Ok("not a command".into()) };
        let (term, mark): (u64, u64) = (term.parse().unwrap_or(0), mark.parse().unwrap_or(0));
        let known = |key: &[u8]| Ok::<_, io::Error>(number(state.get(key)?));
        if term < known(b"term")? || mark <= known(b"mark")? {
            return Ok("fenced".into());
        }
        state.put(b"term", term.to_string().as_bytes())?;
        state.put(b"mark", mark.to_string().as_bytes())?;
        state.put(b"scratch", b"x")?;
        state.remove(b"scratch")?;
        Ok("raised".into())
    }
}

fn number(value: Option<Bytes>) -> u64 {
    value.map_or(0, |value| std::str::from_utf8(&value).unwrap().parse().unwrap())
}

async fn start(links: &Links, disks: &(Disk, Disk), id: u32) -> (Node, tokio::task::JoinHandle<()>) {
    let mut options = Options::new(id, Links::address(id));
    options.compact_every = 20;
    options.keep_entries = 0;
    let from = links.from(id);
    let storage = Storage::on(disks.0.backend(), disks.1.backend()).unwrap();
    let connect = move |builder: gorums::ConfigurationBuilder| builder.connector(from.clone());
    let node = Node::start(options, storage, connect, Mark).await.unwrap();
    let server = node.add_services(Server::builder(), false).on(links.listen(id));
    let serving = tokio::spawn(async move { server.serve().await.unwrap() });
    (node, serving)
}

#[tokio::test(start_paused = true)]
async fn its_commands_are_applied_everywhere_and_survive() {
    let links = Links::new(2);
    let disks = [<(Disk, Disk)>::default(), <(Disk, Disk)>::default()];
    let (first, serving) = start(&links, &disks[0], 1).await;
    first.initialize([(1, Links::address(1))].into()).await.unwrap();
    let leading = first.leadership().wait_for(raft::Leadership::is_leading).await.unwrap().clone();
    let term = leading.term();
    for mark in 1..=50 {
        let answer = first.propose(format!("{term} {mark}").into(), None).await.unwrap();
        assert_eq!(answer, "raised");
    }
    for refused in [format!("{term} 50"), format!("{} 99", term - 1)] {
        assert_eq!(first.propose(refused.into(), None).await.unwrap(), "fenced");
    }
    first.linearize(Consistency::Linearizable, None).await.unwrap();
    assert_eq!(number(first.application_value(b"mark").unwrap()), 50);
    assert_eq!(first.application_value(b"scratch").unwrap(), None);

    // A node that joins by snapshot has it too.
    let (second, _serving) = start(&links, &disks[1], 2).await;
    timeout(10 * SECOND, first.add_learner(2, Links::address(2))).await.unwrap().unwrap();
    assert!(second.wait_applied(first.status().committed).await);
    assert_eq!(number(second.application_value(b"mark").unwrap()), 50);
    let error = second.propose("9 99".into(), None).await.unwrap_err();
    assert_eq!((error.class(), error.leader().map(|leader| leader.node)), (ErrorClass::SteppedDown, Some(1)));
    let error = second.linearize(Consistency::Linearizable, None).await.unwrap_err();
    assert!(matches!(error, Error::NotLeader { leader: Some(_) }), "{error:?}");

    // And it is there when power was lost.
    serving.abort();
    disks[0].0.lose_power();
    disks[0].1.lose_power();
    first.shutdown().await;
    let (first, _serving) = start(&links, &disks[0], 1).await;
    first.leadership().wait_for(raft::Leadership::is_leading).await.unwrap();
    first.linearize(Consistency::Linearizable, None).await.unwrap();
    assert_eq!(number(first.application_value(b"mark").unwrap()), 50);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_when_the_node_stops_is_told() {
    let cluster = Cluster::builder(3).start().await;
    let leader = cluster.leader().await;
    let node = cluster.node(leader).clone();
    for other in (1..=3).filter(|other| *other != leader) {
        cluster.links().set_around(other, gorums::testing::Traffic::Drop);
    }
    let reader = node.clone();
    let read = tokio::spawn(async move { reader.linearize(Consistency::Linearizable, None).await });
    sleep(SECOND / 10).await;
    node.shutdown().await;
    let read = timeout(SECOND, read).await.unwrap().unwrap();
    assert!(matches!(read, Err(Error::Stopped(_))), "{read:?}");
}
