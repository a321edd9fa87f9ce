//! The hot paths, each to be done so many times.

use std::hint::black_box;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use gorums::Configuration;
use gorums::bench::{Calls, RequestQueue, encode, parse, tally};
use gorums::wire::Messages;

use crate::common::{EchoClient, EchoNodeClient, Payload, current_thread, in_memory, local};

/// One hot path.
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    /// How often it is done at least, so that what happens seldom counts.
    pub(crate) times: u64,
    run: fn(u64),
}

const METHOD: &str = "bench.Echo.Echo";
const TIMEOUT: Option<Duration> = Some(Duration::from_secs(5));
const PREFIX: usize = 5;
const PAYLOAD: [u8; 16] = [7; 16];
const BATCH: u64 = 64;

pub(crate) const OPERATIONS: &[Operation] = &[
    Operation { name: "encode a request of 16 B", times: 2_000, run: encode_request },
    Operation { name: "encode a reply of 16 B", times: 2_000, run: encode_reply },
    Operation { name: "parse a request of 16 B", times: 2_000, run: parse_request },
    Operation { name: "cut 64 messages out of a stream", times: 100, run: cut },
    Operation { name: "push 64 requests and take them as a batch", times: 100, run: queue },
    Operation { name: "register, send, deliver and remove a call to 3", times: 1_000, run: pending },
    Operation { name: "100 tallies of 9", times: 200, run: tallies },
    Operation { name: "call in process", times: 500, run: local_call },
    Operation { name: "rpc in memory", times: 500, run: rpc },
    Operation { name: "quorum call of 3 in memory", times: 300, run: quorum_call },
    Operation { name: "64 quorum calls of 3 in memory at once", times: 20, run: quorum_calls },
    Operation { name: "64 multicasts to 3 in memory at once", times: 20, run: multicasts },
];

/// Does an operation so often.
pub(crate) fn run(name: &str, times: u64) {
    let operation = OPERATIONS.iter().find(|operation| operation.name == name).expect("an operation");
    (operation.run)(times);
}

fn message() -> Bytes {
    let mut buf = BytesMut::new();
    encode(&mut buf, 1 << 30, METHOD, TIMEOUT, &PAYLOAD);
    buf.freeze()
}

fn encode_request(times: u64) {
    let mut buf = BytesMut::new();
    for _ in 0..times {
        buf.clear();
        encode(&mut buf, black_box(1 << 30), METHOD, TIMEOUT, black_box(&PAYLOAD));
    }
}

fn encode_reply(times: u64) {
    let mut buf = BytesMut::new();
    for _ in 0..times {
        buf.clear();
        encode(&mut buf, black_box(1 << 30), METHOD, None, black_box(&PAYLOAD));
    }
}

fn parse_request(times: u64) {
    let message = message().slice(PREFIX..);
    for _ in 0..times {
        black_box(parse(message.clone())).expect("a message");
    }
}

fn cut(times: u64) {
    let data: Bytes = (0..BATCH).flat_map(|_| message()).collect();
    let mut messages = Messages::new(4 << 20);
    for _ in 0..times {
        messages.add(data.clone());
        while let Some(message) = messages.next_message().expect("messages") {
            black_box(message);
        }
    }
}

fn queue(times: u64) {
    let (mut queue, message) = (RequestQueue::default(), message());
    for _ in 0..times {
        for sequence in 0..BATCH {
            assert!(queue.push(sequence, &message));
        }
        black_box(queue.take());
    }
}

fn pending(times: u64) {
    let calls = Calls::new(3);
    for _ in 0..times {
        assert!(calls.run() > 0);
    }
}

fn tallies(times: u64) {
    for _ in 0..100 * times {
        black_box(tally(black_box(9)));
    }
}

fn local_call(times: u64) {
    current_thread().block_on(async {
        let configuration = local();
        for _ in 0..times {
            configuration.echo(Payload::of(16)).all().await.expect("the own node");
        }
    });
}

fn rpc(times: u64) {
    current_thread().block_on(async {
        let configuration = in_memory(1).await;
        let node = &configuration.nodes()[0];
        for _ in 0..times {
            node.repeat(Payload::of(16)).await.expect("a live node");
        }
    });
}

fn quorum_call(times: u64) {
    current_thread().block_on(async {
        let configuration = in_memory(3).await;
        for _ in 0..times {
            // All, so that nothing of one call is left for the next.
            configuration.echo(Payload::of(16)).all().await.expect("three live nodes");
        }
    });
}

fn quorum_calls(times: u64) {
    current_thread().block_on(async {
        let configuration = in_memory(3).await;
        for _ in 0..times {
            let calls = (0..BATCH).map(|_| configuration.echo(Payload::of(16)).send());
            for replies in calls.collect::<Vec<_>>() {
                replies.all().await.expect("three live nodes");
            }
        }
    });
}

fn multicasts(times: u64) {
    current_thread().block_on(async {
        let configuration = in_memory(3).await;
        for _ in 0..times {
            for _ in 0..BATCH {
                configuration.note(Payload::of(16)).send().expect("room in the queue");
            }
            arrived(&configuration).await;
        }
    });
}

/// All messages that were sent before have been handled.
async fn arrived(configuration: &Configuration) {
    configuration.echo(Payload::of(0)).all().await.expect("three live nodes");
}
