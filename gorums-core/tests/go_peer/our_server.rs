//! Our server towards Go clients.

use std::net::SocketAddr;
use std::time::Duration;

use gorums_core::wire::Envelope;
use gorums_core::{Code, Server, ServerHandle};
use prost::Message;

use crate::client::GoClient;
use crate::common::{eventually, within};
use crate::storage::{READ_RPC, Storage, WRITE_UNICAST};
use crate::vectors::{ReadResponse, conversation, read, to_hex, write};
use crate::{FRAME, RECORDED_CALLS, bad_bytes, fields, framed, with_id};

/// A server of ours.
async fn serve(storage: Storage) -> (SocketAddr, ServerHandle) {
    let server = Server::builder().add_service(storage).bind("127.0.0.1:0").await.unwrap();
    let (address, handle) = (server.local_addr(), server.handle());
    tokio::spawn(server.serve());
    (address, handle)
}

/// A call of `ReadRPC`.
fn read_rpc(id: u64, key: &str) -> Vec<u8> {
    let payload = read(key).encode_to_vec().into();
    Envelope { message_seq_no: id, method: READ_RPC.name().into(), payload, ..Envelope::default() }
        .encode_to_vec()
}

#[tokio::test]
async fn our_server_replies_with_the_recorded_bytes() {
    for headers in [&[][..], &[("gorums-node-id", "0"), ("message", "hello")], &[("gorums-node-id", "2")]] {
        let storage = Storage::default();
        let (address, handle) = serve(storage.clone()).await;
        let mut peer = GoClient::open(address, headers).await;
        for request in conversation(&RECORDED_CALLS, "node1", true) {
            peer.send(&request.bytes).await;
        }
        let replies = conversation(&RECORDED_CALLS, "node1", false);
        let mut ids: Vec<_> = replies.iter().map(|reply| reply.seq).collect();
        ids.sort_unstable();
        for id in ids {
            let reply = peer.next().await.unwrap();
            let envelope = Envelope::from_message(reply.clone()).unwrap();
            assert_eq!(envelope.message_seq_no, id);
            if id == 14 {
                // Go says Unknown here, and its parser's words.
                let status = envelope.status.unwrap().to_status();
                assert_eq!((status.code(), envelope.payload.len()), (Code::InvalidArgument, 0));
                assert!(status.message().contains("proto.Storage.ReadRPC"), "{status}");
                assert_eq!(envelope.method, "proto.Storage.ReadRPC");
                continue;
            }
            let recorded = replies.iter().map(|reply| to_hex(&reply.bytes)).collect::<Vec<_>>();
            assert!(recorded.contains(&to_hex(&reply)), "{}", to_hex(&reply));
        }
        assert_eq!(*storage.writes.lock().unwrap(), ["v", "uni", "multi"]);
        assert_eq!(*storage.metadata.lock().unwrap(), ["abc", "def"]);
        // Nothing came for the one-way calls: what comes next is the reply to what is sent next.
        peer.send(&conversation(&[2], "node1", true)[1].bytes).await;
        assert_eq!(peer.receive().await.message_seq_no, 2);
        peer.close().await;
        within("shutdown", handle.shutdown()).await;
    }
}

#[tokio::test]
async fn updates_end_only_for_who_wants_to_know() {
    let (address, _handle) = serve(Storage::default()).await;
    let request = conversation(&[8], "node1", true).remove(0);
    let after = conversation(&[2], "node1", true).remove(1);
    let updates = conversation(&[8], "node1", false);
    for (features, ends) in
        [(None, false), (Some("cancel"), false), (Some("end"), true), (Some("x, end"), true)]
    {
        let headers: Vec<_> = features.iter().map(|list| ("gorums-features", *list)).collect();
        let mut peer = GoClient::open(address, &headers).await;
        peer.send(&request.bytes).await;
        for update in &updates {
            assert_eq!(peer.next().await.unwrap(), update.bytes);
        }
        if ends {
            let mut end = fields(&request.bytes);
            end.truncate(2);
            end.push((3, vec![0x1a, 0]));
            let end: Vec<_> = end.into_iter().flat_map(|(_, field)| field).collect();
            assert_eq!(to_hex(&peer.next().await.unwrap()), to_hex(&end));
        }
        peer.send(&after.bytes).await;
        assert_eq!(peer.receive().await.message_seq_no, after.seq, "{features:?}");
        peer.close().await;
    }
}

#[tokio::test]
async fn a_bad_one_way_message_is_answered_as_go_does() {
    let (address, _handle) = serve(Storage::default()).await;
    let mut peer = GoClient::open(address, &[]).await;
    let mut envelope =
        Envelope { message_seq_no: 7, method: WRITE_UNICAST.name().into(), ..Envelope::default() };
    envelope.payload = conversation(&[13], "node1", true)[0].bytes.slice(27..);
    peer.send(&envelope.encode_to_vec()).await;
    let reply = peer.receive().await;
    assert_eq!(reply.message_seq_no, 7);
    assert_eq!(reply.status.unwrap().to_status().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn our_response_headers_are_those_of_grpc() {
    let (address, _handle) = serve(Storage::default()).await;
    let mut peer = GoClient::open(address, &[]).await;
    let headers = peer.headers().await;
    assert!(headers.get("grpc-status").is_none());
    let mut lost = GoClient::open_path(address, "/stream.Gorums/Other", &[]).await;
    assert_eq!(lost.headers().await["grpc-status"], "12");
}

#[tokio::test]
async fn a_long_reply_is_cut_into_frames() {
    let (address, _handle) = serve(Storage::default()).await;
    let mut peer = GoClient::open(address, &[]).await;
    peer.send(&read_rpc(1, "large")).await;
    let reply = peer.receive().await;
    assert_eq!(ReadResponse::decode(reply.payload).unwrap().value.len(), 200_000);
    assert!(peer.frames.iter().all(|&len| len <= FRAME), "{:?}", peer.frames);
}

#[tokio::test]
async fn long_requests_come_in_frames() {
    let storage = Storage::default();
    let (address, _handle) = serve(storage.clone()).await;
    let mut peer = GoClient::open(address, &[]).await;
    peer.send(&conversation(&[23], "node1/3", true)[0].bytes).await;
    // More than our window, unless it is given back.
    for id in 2..5 {
        let payload = write(&"z".repeat(3 << 20)).encode_to_vec().into();
        let method = WRITE_UNICAST.name().into();
        let request = Envelope { message_seq_no: id, method, payload, ..Envelope::default() };
        peer.send(&request.encode_to_vec()).await;
    }
    let lengths = || storage.writes.lock().unwrap().iter().map(String::len).collect::<Vec<_>>();
    eventually("all have come", || lengths() == [40_000, 3 << 20, 3 << 20, 3 << 20]).await;
}

/// Go sends each message as a frame of its own. h2 closes a connection on which many small frames wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_small_frames_at_a_busy_handler_do_not_lose_the_connection() {
    const FRAMES: u64 = 120_000;
    let (storage, gate) = Storage::with_gate();
    let (address, _handle) = serve(storage).await;
    let mut peer = GoClient::open(address, &[]).await;
    peer.send(&read_rpc(1, "gate")).await;
    let small = read_rpc(2, "");
    // As in section 3 of the recording.
    assert_eq!(framed(&small).len(), 30);
    for id in 2..=FRAMES {
        peer.send(&with_id(&small, id)).await;
    }
    within("all is on its way", peer.flushed()).await;
    gate.add_permits(1);
    for id in 1..=FRAMES {
        let reply = peer.receive().await;
        assert_eq!((reply.message_seq_no, reply.status), (id, None));
    }
    peer.close().await;
}

#[tokio::test]
async fn a_client_that_closes_ends_its_handlers() {
    let storage = Storage::default();
    let (address, handle) = serve(storage.clone()).await;
    let mut peer = GoClient::open(address, &[]).await;
    peer.send(&read_rpc(1, "hang")).await;
    peer.headers().await;
    eventually("started", || !storage.started.lock().unwrap().is_empty()).await;
    peer.close().await;
    eventually("told", || storage.cancelled.lock().unwrap().len() == 1).await;
    // Nothing is left that would need the drain timeout of 1 s.
    let before = std::time::Instant::now();
    within("shutdown", handle.shutdown()).await;
    assert!(before.elapsed() < Duration::from_millis(500), "{:?}", before.elapsed());
}

#[tokio::test]
async fn a_server_that_shuts_down_ends_the_stream_with_a_status() {
    let (address, handle) = serve(Storage::default()).await;
    let mut peer = GoClient::open(address, &[]).await;
    peer.send(&conversation(&[2], "node1", true)[1].bytes).await;
    assert_eq!(peer.receive().await.message_seq_no, 2);
    let (trailers, ()) = tokio::join!(peer.trailers(), within("shutdown", handle.shutdown()));
    assert_eq!(trailers["grpc-status"], "0");
}

#[tokio::test]
async fn a_client_that_talks_nonsense_loses_only_its_stream() {
    let storage = Storage::default();
    let (address, _handle) = serve(storage.clone()).await;
    let mut good = GoClient::open(address, &[]).await;
    for (number, (what, bytes)) in bad_bytes().into_iter().enumerate() {
        let mut peer = GoClient::open(address, &[]).await;
        peer.send(&read_rpc(1, "hang")).await;
        peer.headers().await;
        peer.send_bytes(bytes).await;
        peer.ended().await;
        eventually(what, || storage.cancelled.lock().unwrap().len() == number + 1).await;
        good.send(&read_rpc(7, "k")).await;
        assert_eq!(good.receive().await.status, None, "{what}");
    }
}
