//! A file of an edition behaves as its proto3 or proto2 form: the same presence, the same bytes, both ways.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::HashMap;
use std::fmt::Debug;

use generated::own::forms;
use generated::{classic, go};
use gorums::testing::Cluster;
use gorums::{Server, ServerContext, Status};
use prost::Message;

/// Both are the same on the wire, and each understands the other.
fn same<A, B>(a: &A, b: &B)
where
    A: Message + Default + PartialEq + Debug,
    B: Message + Default + PartialEq + Debug,
{
    let bytes = a.encode_to_vec();
    assert_eq!(bytes, b.encode_to_vec(), "{a:?}\n{b:?}");
    assert_eq!(&B::decode(bytes.as_slice()).unwrap(), b);
    assert_eq!(&A::decode(bytes.as_slice()).unwrap(), a);
}

/// The same message of both forms, from one text.
macro_rules! both {
    ($form:ident, $all:ident, $n:expr) => {{
        use forms::$form::{Color, all, $all};
        let inner = |deep| all::Inner { deep };
        match $n {
            0 => $all::default(),
            // What is there although it is the default.
            1 => $all {
                maybe: Some(0),
                maybe_text: Some(String::new()),
                maybe_color: Some(0),
                inner: Some(inner(0)),
                choice: Some(all::Choice::Right(0)),
                ..$all::default()
            },
            _ => $all {
                plain: -1,
                maybe: Some(300),
                text: "t".to_owned(),
                maybe_text: Some("m".to_owned()),
                data: vec![0, 255],
                inner: Some(inner(-5)),
                packed: vec![1, 2, 300],
                expanded: vec![1, 2, 300],
                colors: vec![1, 0, 9],
                texts: vec![String::new(), "x".to_owned()],
                color: Color::Blue as i32,
                maybe_color: Some(Color::Blue as i32),
                map: HashMap::from([("k".to_owned(), inner(1))]),
                choice: Some(all::Choice::Left("l".to_owned())),
                inners: vec![inner(1), inner(2)],
                number: 0.5,
                floats: vec![1.0, 2.0],
            },
        }
    }};
}

#[test]
fn an_edition_without_presence_is_as_proto3() {
    for n in 0..3 {
        same(&both!(modern, All, n), &both!(classic, All, n));
    }
    assert_eq!(both!(modern, All, 0).encode_to_vec(), [0; 0]);
    // Two varints, a string and an enum of no length or value, a message and a choice.
    let there = [0x10, 0, 0x22, 0, 0x32, 0, 0x60, 0, 0x78, 0];
    assert_eq!(both!(modern, All, 1).encode_to_vec(), there);
    let whole = both!(modern, All, 2).encode_to_vec();
    let has = |part: &[u8]| whole.windows(part.len()).any(|window| window == part);
    assert!(has(&[0x3a, 4, 1, 2, 0xac, 2]), "packed");
    assert!(has(&[0x40, 1, 0x40, 2, 0x40, 0xac, 2]), "expanded");
}

#[test]
fn an_edition_with_presence_is_as_proto2() {
    let (explicit, proto2) = (forms::explicit::All::default(), forms::proto2::All::default());
    same(&explicit, &proto2);
    assert_eq!(explicit.encode_to_vec(), [0x12, 0], "what is required is there");
    let explicit = forms::explicit::All {
        maybe: Some(0),
        must: "m".to_owned(),
        inner: Some(forms::explicit::all::Inner { deep: Some(0) }),
        packed: vec![1, 2],
        expanded: vec![1, 2],
    };
    let proto2 = forms::proto2::All {
        maybe: Some(0),
        must: "m".to_owned(),
        inner: Some(forms::proto2::all::Inner { deep: Some(0) }),
        packed: vec![1, 2],
        expanded: vec![1, 2],
    };
    same(&explicit, &proto2);
    assert_eq!(explicit.encode_to_vec()[..2], [8, 0]);
}

#[test]
fn the_messages_of_gorums_for_go_are_as_in_proto3() {
    let (seconds, nanos) = (7, 9);
    let time = Some(prost_types::Timestamp { seconds, nanos });
    macro_rules! pairs {
        ($($package:ident::$message:ident { $($field:ident: $value:expr),* $(,)? });* $(;)?) => {$(
            same(&go::$package::$message::default(), &classic::$package::$message::default());
            same(
                &go::$package::$message { $($field: $value),* },
                &classic::$package::$message { $($field: $value),* },
            );
        )*};
    }
    pairs! {
        proto::ReadRequest { key: "k".to_owned() };
        proto::ReadResponse { ok: true, value: "v".to_owned(), time: time };
        proto::WriteRequest { key: "k".to_owned(), value: "v".to_owned(), time: time };
        proto::WriteResponse { new: true };
        benchmark::Echo { payload: vec![1, 2] };
        benchmark::TimedMsg { send_time: -1, payload: vec![0] };
        benchmark::MemoryStat { allocs: 1, memory: 2 };
        config::Response { name: "n".to_owned(), num: 3 };
    }
    let result = |n| go::benchmark::Result {
        latency_avg: 0.5,
        server_stats: vec![go::benchmark::MemoryStat { allocs: n, memory: 0 }],
        ..go::benchmark::Result::default()
    };
    let as_proto3 = |n| classic::benchmark::Result {
        latency_avg: 0.5,
        server_stats: vec![classic::benchmark::MemoryStat { allocs: n, memory: 0 }],
        ..classic::benchmark::Result::default()
    };
    same(&result(0), &as_proto3(0));
    same(&result(1), &as_proto3(1));
}

struct Classic;

impl forms::classic::Forms for Classic {
    async fn echo(&self, _: &ServerContext, all: forms::classic::All) -> Result<forms::classic::All, Status> {
        Ok(all)
    }
}

struct GoAsProto3;

impl classic::config::ConfigTest for GoAsProto3 {
    async fn config(
        &self,
        _: &ServerContext,
        request: classic::config::Request,
    ) -> Result<classic::config::Response, Status> {
        Ok(classic::config::Response { name: "proto3".to_owned(), num: request.num + 1 })
    }
}

/// Client and server of the two forms, which have one name on the wire.
#[tokio::test(start_paused = true)]
async fn the_forms_call_each_other() {
    use go::config::ConfigTestClient;

    static ECHO: gorums::Method<forms::modern::All, forms::modern::All> =
        gorums::Method::prost("forms.classic.Forms.Echo", gorums::CallType::QuorumCall);

    let server = |_| Server::builder().add_service(classic::config::ConfigTestServer::new(GoAsProto3));
    let mut cluster = Cluster::in_memory(3, server).await;
    let configuration = cluster.configuration();
    let reply = configuration.config(go::config::Request { num: 4 }).all().await.unwrap();
    assert_eq!(reply, go::config::Response { name: "proto3".to_owned(), num: 5 });
    drop(configuration);
    cluster.finish().await;

    // The package is another one here: the method is given by hand.
    let server = |_| Server::builder().add_service(forms::classic::FormsServer::new(Classic));
    let mut cluster = Cluster::in_memory(3, server).await;
    let configuration = cluster.configuration();
    for n in 0..3 {
        let call = <gorums::Configuration as gorums::QuorumTarget>::quorum_call(
            &configuration,
            &ECHO,
            both!(modern, All, n),
        );
        assert_eq!(call.all().await.unwrap(), both!(modern, All, n));
    }
    drop(configuration);
    cluster.finish().await;
}
