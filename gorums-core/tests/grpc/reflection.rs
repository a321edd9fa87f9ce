//! The standard reflection service, in both of its versions.

use futures_util::stream;
use gorums_core::{Code, Health, Server, ServerError};
use prost::Message;
use prost_types::{FileDescriptorProto, FileDescriptorSet};
use tonic::Status;
use tonic::transport::Channel;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

use crate::scene::Scene;

/// A set that describes a service without methods.
fn described(package: &str) -> Vec<u8> {
    let service = prost_types::ServiceDescriptorProto { name: Some("Storage".into()), ..Default::default() };
    let file = FileDescriptorProto {
        name: Some(format!("{package}.proto")),
        package: Some(package.into()),
        service: vec![service],
        ..Default::default()
    };
    FileDescriptorSet { file: vec![file] }.encode_to_vec()
}

async fn ask(channel: &Channel, what: MessageRequest) -> Result<MessageResponse, Status> {
    let request = ServerReflectionRequest { message_request: Some(what), ..Default::default() };
    let mut client = ServerReflectionClient::new(channel.clone());
    let mut answers = client.server_reflection_info(stream::iter([request])).await?.into_inner();
    let ServerReflectionResponse { message_response, .. } = answers.message().await?.unwrap();
    Ok(message_response.unwrap())
}

async fn names(channel: &Channel) -> Vec<String> {
    let MessageResponse::ListServicesResponse(list) =
        ask(channel, MessageRequest::ListServices(String::new())).await.unwrap()
    else {
        panic!("no list")
    };
    let mut names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    names.sort();
    names
}

#[tokio::test(start_paused = true)]
async fn what_a_node_offers_is_listed_and_described() {
    let (one, other) = (described("one"), described("other"));
    let both: [&[u8]; 2] = [&one, &other];
    let scene = Scene::new(|builder| builder.reflection(&both).unwrap().health(&Health::new()));
    let channel = scene.channel();
    let asked = async {
        let listed = names(&channel).await;
        let expected = [
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
            "one.Storage",
            "other.Storage",
            "stream.Gorums",
        ];
        assert_eq!(listed, expected);
        for symbol in ["stream.Gorums", "stream.Gorums.NodeStream", "stream.Message.payload", "one.Storage"] {
            let found = ask(&channel, MessageRequest::FileContainingSymbol(symbol.into())).await.unwrap();
            let MessageResponse::FileDescriptorResponse(found) = found else { panic!("{symbol}: {found:?}") };
            let file = FileDescriptorProto::decode(&*found.file_descriptor_proto[0]).unwrap();
            assert_eq!(file.package(), symbol.split('.').next().unwrap());
        }
        let missing = ask(&channel, MessageRequest::FileContainingSymbol("no.Symbol".into())).await;
        assert_eq!(missing.unwrap_err().code(), Code::NotFound);
    };
    scene.undisturbed(asked).await;
    drop(channel);
    scene.finish().await;
}

#[tokio::test(start_paused = true)]
async fn the_older_version_too() {
    use tonic_reflection::pb::v1alpha::ServerReflectionRequest;
    use tonic_reflection::pb::v1alpha::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1alpha::server_reflection_request::MessageRequest;
    let scene = Scene::new(|builder| builder.reflection(&[]).unwrap());
    let channel = scene.channel();
    let what = MessageRequest::FileContainingSymbol("stream.Gorums".into());
    let request = ServerReflectionRequest { message_request: Some(what), ..Default::default() };
    let mut client = ServerReflectionClient::new(channel.clone());
    let answers = client.server_reflection_info(stream::iter([request])).await.unwrap();
    assert!(answers.into_inner().message().await.unwrap().is_some());
    drop((client, channel));
    scene.finish().await;
}

#[test]
fn what_is_no_set_is_an_error() {
    let error = Server::builder().reflection(&[&described("one"), b"\x0a\xffnot a set"]).unwrap_err();
    assert!(matches!(error, ServerError::BadDescriptors { .. }));
    assert!(
        error.to_string().starts_with("the file descriptor set for reflection cannot be read: "),
        "{error}"
    );
}
