//! The standard reflection service, by which tools such as grpcurl learn what a server offers.

use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto,
    ServiceDescriptorProto,
};
use tonic_reflection::server::{Builder, Error};

use super::GrpcServices;
use crate::error::ServerError;
use crate::server::ServerBuilder;

impl ServerBuilder {
    /// Offers the standard gRPC service for reflection, `grpc.reflection.v1` and `v1alpha`, so that tools such as grpcurl
    /// find what there is: the node stream, the [health](Self::health) service if it is offered, and the services in these
    /// encoded `FileDescriptorSet`s, with their messages. `gorums_gen` writes a set with `file_descriptor_set_path`, and
    /// so do protoc, prost and tonic.
    ///
    /// The services of gorums are shown, and not served as gRPC services: their methods are called over the node stream.
    ///
    /// # Errors
    ///
    /// If what was given is no `FileDescriptorSet`.
    ///
    /// ```
    /// # fn main() -> Result<(), gorums_core::ServerError> {
    /// use gorums_core::Server;
    ///
    /// # const STORAGE: &[u8] = &[];
    /// // const STORAGE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/storage.bin"));
    /// let server = Server::builder().reflection(&[STORAGE])?;
    /// # Ok(()) }
    /// ```
    pub fn reflection(mut self, file_descriptor_sets: &[&[u8]]) -> Result<Self, ServerError> {
        let shown = file_descriptor_sets
            .iter()
            .fold(Builder::configure(), |builder, set| builder.register_encoded_file_descriptor_set(set));
        shown.build_v1().map_err(|error| bad(&error))?;
        let sets = file_descriptor_sets.iter().map(|set| set.to_vec());
        self.grpc.descriptors.get_or_insert_default().extend(sets);
        Ok(self)
    }
}

fn bad(error: &Error) -> ServerError {
    let reason = match error {
        Error::DecodeError(source) => format!("{error}: {source}"),
        Error::InvalidFileDescriptorSet(_) => error.to_string(),
    };
    ServerError::BadDescriptors { reason }
}

impl GrpcServices {
    pub(super) fn add_reflection(&mut self) {
        let Some(mut sets) = self.descriptors.take() else { return };
        sets.push(node_stream().encode_to_vec());
        #[cfg(feature = "health")]
        if self.health.is_some() {
            sets.push(tonic_health::pb::FILE_DESCRIPTOR_SET.to_vec());
        }
        let builder = || {
            sets.iter()
                .fold(Builder::configure(), |builder, set| builder.register_encoded_file_descriptor_set(set))
        };
        // Each set was looked at when it was given.
        if let (Ok(v1), Ok(v1alpha)) = (builder().build_v1(), builder().build_v1alpha()) {
            self.add(v1);
            self.add(v1alpha);
        }
    }
}

/// The node stream, as it is on the wire: `Status` is that of `google.rpc`, without details.
fn node_stream() -> FileDescriptorSet {
    let status = message("Status", &[("code", 1, Type::Int32), ("message", 2, Type::String)]);
    let metadata = message("MetadataEntry", &[("key", 1, Type::String), ("value", 2, Type::String)]);
    let mut envelope = message(
        "Message",
        &[("message_seq_no", 1, Type::Uint64), ("method", 2, Type::String), ("payload", 5, Type::Bytes)],
    );
    let mut entry = field("entry", 4, Type::Message);
    entry.type_name = Some(".stream.MetadataEntry".into());
    entry.set_label(Label::Repeated);
    let mut error = field("status", 3, Type::Message);
    error.type_name = Some(".stream.Status".into());
    envelope.field.extend([error, entry]);
    let stream = MethodDescriptorProto {
        name: Some("NodeStream".into()),
        input_type: Some(".stream.Message".into()),
        output_type: Some(".stream.Message".into()),
        client_streaming: Some(true),
        server_streaming: Some(true),
        ..MethodDescriptorProto::default()
    };
    let service = ServiceDescriptorProto {
        name: Some("Gorums".into()),
        method: vec![stream],
        ..ServiceDescriptorProto::default()
    };
    let file = FileDescriptorProto {
        name: Some("gorums/node_stream.proto".into()),
        package: Some("stream".into()),
        message_type: vec![envelope, status, metadata],
        service: vec![service],
        syntax: Some("proto3".into()),
        ..FileDescriptorProto::default()
    };
    FileDescriptorSet { file: vec![file] }
}

fn message(name: &str, fields: &[(&str, i32, Type)]) -> DescriptorProto {
    let field = fields.iter().map(|(name, number, kind)| field(name, *number, *kind)).collect();
    DescriptorProto { name: Some(name.into()), field, ..DescriptorProto::default() }
}

fn field(name: &str, number: i32, kind: Type) -> FieldDescriptorProto {
    let mut field = FieldDescriptorProto {
        name: Some(name.into()),
        number: Some(number),
        ..FieldDescriptorProto::default()
    };
    field.set_type(kind);
    field.set_label(Label::Optional);
    field
}
