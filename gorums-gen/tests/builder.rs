//! The settings of the builder, and what it writes.

mod common;

use std::fs;

use common::Project;
use gorums_gen::{ErrorKind, configure};

const TWO_PACKAGES: &[(&str, &str)] = &[
    (
        "test.proto",
        "syntax = \"proto3\"; package acme.storage.v1; import \"ids/id.proto\"; import \"gorums.proto\";
         message Entry { ids.Id id = 1; bytes value = 2; map<string, bytes> tags = 3; State state = 4; }
         enum State { NEW = 0; }
         service Storage { rpc Put(Entry) returns (ids.Id) { option (gorums.quorumcall) = true; } }",
    ),
    ("ids/id.proto", "syntax = \"proto3\"; package ids; message Id { uint64 number = 1; }"),
];

#[test]
fn each_package_is_a_file() {
    let project = Project::new(TWO_PACKAGES);
    project.compile(configure()).unwrap();
    assert_eq!(project.outputs(), ["acme.storage.v1.rs", "ids.rs"]);
    let code = project.output("acme.storage.v1.rs");
    assert!(code.contains("trait Storage:"), "{code}");
    assert!(code.contains(
        "-> ::gorums::codegen::QuorumCall<\n        Entry,\n        super::super::super::ids::Id,"
    ));
}

#[test]
fn messages_are_as_the_settings_say() {
    let project = Project::new(TWO_PACKAGES);
    let builder = configure()
        .bytes("Entry.value")
        .bytes("Entry.tags")
        .btree_map(".")
        .extern_path(".ids", "::acme_ids")
        .type_attribute(".", "#[any]")
        .message_attribute("Entry", "#[message]")
        .enum_attribute("State", "#[member]")
        .field_attribute("Entry.value", "#[field]")
        .boxed("Entry.id")
        .prost_path("::my::prost")
        .include_file("all.rs");
    project.compile(builder).unwrap();
    assert_eq!(project.outputs(), ["acme.storage.v1.rs", "all.rs"]);
    let code = project.output("acme.storage.v1.rs");
    let parts = [
        "#[any]\n#[message]",
        "#[field]\n    pub value: ::my::prost::bytes::Bytes",
        "BTreeMap",
        "Box<::acme_ids::Id>",
        "#[any]\n#[member]",
        "::acme_ids::Id,\n        <Self as",
    ];
    for part in parts {
        assert!(code.contains(part), "{part} in\n{code}");
    }
    assert!(project.output("all.rs").contains("pub mod v1 {"));
}

#[test]
fn a_configuration_of_prost_is_a_base_in_any_order() {
    let project = Project::new(TWO_PACKAGES);
    let mut config = prost_build::Config::new();
    config.retain_enum_prefix().default_package_filename("root").include_file("base.rs");
    project.compile(configure().include_file("mine.rs").config(config)).unwrap();
    assert_eq!(project.outputs(), ["acme.storage.v1.rs", "ids.rs", "mine.rs"]);
}

#[test]
fn well_known_types_can_be_compiled() {
    let project = Project::with_methods("rpc A(M) returns (google.protobuf.Empty);");
    project.compile(configure().compile_well_known_types(true)).unwrap();
    assert_eq!(project.outputs(), ["google.protobuf.rs", "test.rs"]);
    assert!(project.output("test.rs").contains("Result<\n            super::google::protobuf::Empty,"));
}

#[test]
fn descriptor_sets_keep_the_call_types() {
    let project = Project::with_methods("rpc A(M) returns (M) { option (gorums.quorumcall) = true; }");
    let set = project.path().join("set.bin");
    project.compile(configure().file_descriptor_set_path(&set)).unwrap();
    let code = project.output("test.rs");

    let again = Project::new(&[]);
    configure().out_dir(again.out_dir()).compile_fds(&fs::read(set).unwrap()).unwrap();
    assert_eq!(again.output("test.rs"), code);
    assert!(code.contains("trait SClient"));
}

#[test]
fn bytes_that_are_no_descriptor_set() {
    let error = configure().compile_fds(b"\xff\xff").expect_err("not a descriptor set");
    assert_eq!(error.kind(), ErrorKind::Proto);
    assert!(error.to_string().starts_with("this is no descriptor set: "), "{error}");
}

#[test]
fn a_file_that_is_missing() {
    let project = Project::new(&[]);
    let error = project.compile(configure()).expect_err("there is no file");
    assert_eq!(error.kind(), ErrorKind::Proto);
    assert!(error.to_string().contains("test.proto' is not in any include path"), "{error}");
}

#[test]
fn a_folder_that_is_missing() {
    let project = Project::with_methods("");
    fs::remove_dir(project.out_dir()).unwrap();
    let error = project.compile(configure()).expect_err("there is no folder");
    assert_eq!(error.kind(), ErrorKind::Output);
    assert!(error.to_string().starts_with("cannot write the code: "), "{error}");
}

#[test]
fn one_proto_with_the_defaults() {
    // `compile_protos` writes to cargo's OUT_DIR, which only a build script has.
    let project = Project::with_methods("");
    let error = gorums_gen::compile_protos(project.path().join("test.proto")).expect_err("no OUT_DIR");
    assert_eq!(error.to_string(), "cannot write the code: OUT_DIR environment variable is not set");
}

/// The files of Gorums for Go are of an edition.
#[test]
fn files_of_an_edition_without_presence() {
    let source = "// A comment.
edition = \"2024\";
package test;
option features.field_presence = IMPLICIT;
option features.enforce_naming_style = STYLE_LEGACY;
import \"google/protobuf/timestamp.proto\";
import \"gorums.proto\";
service S { rpc A(M) returns (M) { option (gorums.quorumcall) = true; } }
message M {
  string plain = 1;
  string maybe = 2 [features.field_presence = EXPLICIT];
  google.protobuf.Timestamp time = 3;
  repeated int32 packed = 4;
  repeated int32 expanded = 5 [features.repeated_field_encoding = EXPANDED];
  oneof choice { string left = 6; int32 right = 7; }
}";
    // Go's own copy of the options, which is found but not taken.
    let options = "edition = \"2023\"; package gorums; import \"google/protobuf/descriptor.proto\";
        option features.field_presence = IMPLICIT;
        extend google.protobuf.MethodOptions { bool quorumcall = 50004; }";
    let project = Project::new(&[("test.proto", source), ("gorums.proto", options)]);
    project.compile(configure()).unwrap();
    let code = project.output("test.rs");
    let parts = [
        "    #[prost(string, tag = \"1\")]\n    pub plain: ::prost::alloc::string::String",
        "    #[prost(string, optional, tag = \"2\")]",
        "    #[prost(message, optional, tag = \"3\")]",
        "    #[prost(int32, repeated, tag = \"4\")]",
        "    #[prost(int32, repeated, packed = \"false\", tag = \"5\")]",
        "    #[prost(oneof = \"m::Choice\", tags = \"6, 7\")]",
        "trait SClient",
    ];
    for part in parts {
        assert!(code.contains(part), "{part} in\n{code}");
    }
}

#[test]
fn files_of_an_edition_with_presence() {
    let source = "edition = \"2023\"; package test;
message M {
  string maybe = 1;
  string must = 2 [features.field_presence = LEGACY_REQUIRED];
  Inner inner = 3;
  repeated int32 packed = 4;
  message Inner { int32 deep = 1; }
}";
    let project = Project::new(&[("test.proto", source)]);
    project.compile(configure()).unwrap();
    let code = project.output("test.rs");
    let parts = [
        "    #[prost(string, optional, tag = \"1\")]",
        "    #[prost(string, required, tag = \"2\")]",
        "    #[prost(message, optional, tag = \"3\")]",
        "    #[prost(int32, repeated, tag = \"4\")]",
        "    #[prost(int32, optional, tag = \"1\")]",
    ];
    for part in parts {
        assert!(code.contains(part), "{part} in\n{code}");
    }
}

#[test]
fn presence_that_cannot_be_mixed() {
    let source = "edition = \"2023\"; message M { string a = 1 [features.field_presence = IMPLICIT]; }";
    assert_eq!(
        Project::new(&[("test.proto", source)]).mistakes(),
        ["test.proto: the feature `field_presence = IMPLICIT` of field `a` cannot be mixed with the \
          file's `EXPLICIT`; move the message to a file of its own"]
    );
    let source = "edition = \"2023\"; message M { string a = 1 [features.field_presence = MAYBE]; }";
    assert_eq!(
        Project::new(&[("test.proto", source)]).mistakes(),
        ["a: the feature `field_presence = MAYBE` is not supported"]
    );
}

#[test]
fn groups_of_editions_need_protoc() {
    let source = "edition = \"2023\"; message M { M m = 1 [features.message_encoding = DELIMITED]; }";
    assert_eq!(
        Project::new(&[("test.proto", source)]).mistakes(),
        ["test.proto: the feature `message_encoding = DELIMITED` of field `m` is only read from \
          descriptors that protoc wrote; use `compile_fds` or the plugin"]
    );
}
