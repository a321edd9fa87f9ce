//! Every mistake in a `.proto` file, and what is said about it.

mod common;

use common::Project;
use gorums_gen::{ErrorKind, configure};

/// The one mistake of a service `S`, whose methods start on line 6.
fn mistake(methods: &str) -> String {
    only(Project::with_methods(methods).mistakes())
}

fn only(mistakes: Vec<String>) -> String {
    let [mistake] = <[String; 1]>::try_from(mistakes).expect("one mistake");
    mistake
}

#[test]
fn two_call_types() {
    assert_eq!(
        mistake(
            "rpc A(M) returns (M) { option (gorums.multicast) = true; option (gorums.quorumcall) = true; }"
        ),
        "test.proto:6:1: test.S.A: a method has one call type, but this has multicast and quorum call; \
         keep one of these options"
    );
}

#[test]
fn an_option_that_is_false_is_none() {
    let project = Project::with_methods(
        "rpc A(M) returns (M) { option (gorums.rpc) = false; option (gorums.quorumcall) = true; }",
    );
    project.compile(configure()).unwrap();
    assert!(project.output("test.rs").contains("trait SClient"));
}

#[test]
fn client_streaming() {
    assert_eq!(
        mistake("\n  rpc A(stream M) returns (M) { option (gorums.quorumcall) = true; }"),
        "test.proto:7:3: test.S.A: a stream of requests is not supported; \
         take one message, and call the method once for each"
    );
}

/// As Gorums for Go has it: each multicast is a message of a stream.
#[test]
fn a_multicast_may_be_written_as_a_stream_of_requests() {
    let plain = "rpc A(M) returns (google.protobuf.Empty) { option (gorums.multicast) = true; }";
    let code = [plain.to_owned(), plain.replace("A(M)", "A(stream M)")].map(|methods| {
        let project = Project::with_methods(&methods);
        project.compile(configure()).unwrap();
        project.output("test.rs")
    });
    assert!(code[0].contains("codegen::Multicast<M>"));
    assert_eq!(code[0], code[1]);
    assert!(
        mistake(&plain.replace("multicast", "unicast").replace("A(M)", "A(stream M)"))
            .contains("not supported")
    );
}

#[test]
fn server_streaming_without_quorumcall() {
    assert_eq!(
        mistake("rpc A(M) returns (stream M);"),
        "test.proto:6:1: test.S.A: an rpc cannot reply with a stream; \
         add `option (gorums.quorumcall) = true;`, or remove `stream`"
    );
    assert_eq!(
        mistake("rpc A(M) returns (stream M) { option (gorums.unicast) = true; }"),
        "test.proto:6:1: test.S.A: a unicast cannot reply with a stream; \
         add `option (gorums.quorumcall) = true;`, or remove `stream`"
    );
}

#[test]
fn a_method_of_the_configuration() {
    assert_eq!(
        mistake("rpc Majority(M) returns (M) { option (gorums.quorumcall) = true; }"),
        "test.proto:6:1: test.S.Majority: `majority` would clash with the method \
         `Configuration::majority`; rename it, or set `method_name` of `test.S.Majority` to give it another name in Rust only"
    );
    assert_eq!(
        mistake("rpc node_ids(M) returns (M) { option (gorums.quorumcall) = true; }"),
        "test.proto:6:1: test.S.node_ids: `node_ids` would clash with the method \
         `Configuration::node_ids`; rename it, or set `method_name` of `test.S.node_ids` to give it another name in Rust only"
    );
}

#[test]
fn a_method_of_the_node() {
    assert_eq!(
        mistake("rpc Latency(M) returns (M);"),
        "test.proto:6:1: test.S.Latency: `latency` would clash with the method `Node::latency`; \
         rename it, or set `method_name` of `test.S.Latency` to give it another name in Rust only"
    );
}

#[test]
fn a_method_of_the_prelude() {
    assert_eq!(
        mistake("rpc Clone(M) returns (M);"),
        "test.proto:6:1: test.S.Clone: `clone` would clash with the method `Node::clone`; \
         rename it, or set `method_name` of `test.S.Clone` to give it another name in Rust only"
    );
}

#[test]
fn names_are_only_reserved_where_they_are_called() {
    let project = Project::with_methods(
        "rpc Majority(M) returns (M); \
         rpc Latency(M) returns (M) { option (gorums.quorumcall) = true; }",
    );
    project.compile(configure()).unwrap();
}

#[test]
fn another_name_in_rust_is_a_way_out() {
    let project = Project::with_methods(
        "rpc All(M) returns (M) { option (gorums.quorumcall) = true; } rpc _(M) returns (M);",
    );
    let builder = configure().method_name("test.S.All", "every").method_name("test.S._", "r#match");
    project.compile(builder).unwrap();
    let code = project.output("test.rs");
    assert!(code.contains("fn every(") && code.contains("EVERY: ") && code.contains("\"test.S.All\""));
    assert!(code.contains("fn r#match(") && code.contains("MATCH: ") && code.contains("\"test.S._\""));
}

#[test]
fn another_name_for_no_method() {
    let error = Project::with_methods("rpc A(M) returns (M);")
        .compile(configure().method_name("S.A", "a").method_name("test.S.A", "a b"))
        .expect_err("the setting is wrong");
    assert_eq!(error.messages(), ["method_name: there is no method `S.A`"]);
}

#[test]
fn another_name_that_is_none() {
    let error = Project::with_methods("rpc A(M) returns (M);")
        .compile(configure().method_name("test.S.A", "fn"))
        .expect_err("the setting is wrong");
    assert_eq!(
        error.to_string(),
        "test.proto:6:1: test.S.A: its name in Rust would be `fn`, which is not a name; rename it"
    );
}

#[test]
fn two_methods_with_one_name_in_rust() {
    assert_eq!(
        mistake("rpc ReadQC(M) returns (M);\nrpc read_qc(M) returns (M);"),
        "test.proto:7:1: test.S.read_qc: `ReadQC` and `read_qc` would both become `READ_QC` in Rust; \
         rename it, or set `method_name` of `test.S.read_qc` to give it another name in Rust only"
    );
}

#[test]
fn a_method_without_a_name_in_rust() {
    assert_eq!(
        mistake("rpc __(M) returns (M);"),
        "test.proto:6:1: test.S.__: its name in Rust would be ``, which is not a name; rename it"
    );
}

#[test]
fn a_service_without_a_name_in_rust() {
    assert_eq!(
        only(Project::with_items("service _ {}").mistakes()),
        "test.proto:5:1: test._: its name in Rust would be ``, which is not a name; rename it"
    );
}

#[test]
fn a_message_with_the_name_of_a_generated_item() {
    let project = Project::with_items(
        "service Storage { rpc Read(M) returns (M); }
         message M {}
         message StorageServer {}
         message StorageClient {}
         message StorageNodeClient {}
         enum StorageMethods { ZERO = 0; }",
    );
    let clash = |item: &str, kind: &str| {
        format!(
            "test.proto:5:1: test.Storage: the generated item `{item}` would clash with the {kind} \
             `test.{item}`; rename one of the two"
        )
    };
    // There is no quorum call, so nothing generated is called `StorageClient`.
    assert_eq!(
        project.mistakes(),
        [
            clash("StorageMethods", "enum"),
            clash("StorageNodeClient", "message"),
            clash("StorageServer", "message"),
        ]
    );
}

#[test]
fn a_message_with_the_name_of_a_mock() {
    let project = Project::with_items("service S { rpc A(M) returns (M); } message M {} message SMock {}");
    project.compile(configure()).unwrap();
    let error = project.compile(configure().mocks(true)).expect_err("they clash");
    assert_eq!(
        error.to_string(),
        "test.proto:5:1: test.S: the generated item `SMock` would clash with the message `test.SMock`; rename one \
         of the two"
    );
}

#[test]
fn a_message_with_the_name_of_the_service() {
    let project = Project::new(&[
        ("test.proto", "syntax = \"proto3\"; package p; import \"other.proto\"; service storage {}"),
        ("other.proto", "syntax = \"proto3\"; package p; message Storage {}"),
    ]);
    assert_eq!(
        only(project.mistakes()),
        "test.proto:1:53: p.storage: the generated item `Storage` would clash with the message \
         `p.Storage`; rename one of the two"
    );
}

#[test]
fn two_services_with_the_name_of_one_item() {
    let items = "service Storage { rpc Read(M) returns (M); } message M {}
service StorageNode { rpc Read(M) returns (M) { option (gorums.quorumcall) = true; } }";
    assert_eq!(
        only(Project::with_items(items).mistakes()),
        "test.proto:6:1: test.StorageNode: the generated item `StorageNodeClient` would clash with an \
         item of the service `test.Storage`; rename one of the two"
    );
}

#[test]
fn a_service_named_like_the_type_parameter() {
    assert_eq!(
        only(Project::with_items("service T {}").mistakes()),
        "test.proto:5:1: test.T: the generated code needs the name `T` for itself; rename the service"
    );
}

#[test]
fn all_mistakes_at_once() {
    let project = Project::with_methods(
        "rpc All(stream M) returns (M) { option (gorums.quorumcall) = true; }
         rpc B(M) returns (stream M);
         rpc b(M) returns (M) { option (gorums.unicast) = true; option (gorums.rpc) = true; }",
    );
    assert_eq!(project.mistakes().len(), 5);
    assert_eq!(project.outputs(), [""; 0], "nothing is written");
}

#[test]
fn the_error_says_everything_in_debug_as_well() {
    let error = Project::with_methods("rpc A(M) returns (stream M);\nrpc B(stream M) returns (M);")
        .compile(configure())
        .expect_err("there are mistakes");
    assert_eq!(error.kind(), ErrorKind::Service);
    assert_eq!(format!("{error:?}"), error.messages().join("\n"));
}

#[test]
fn a_syntax_error_has_its_place() {
    let mistake = only(Project::with_items("service {").mistakes());
    assert!(mistake.contains("test.proto:5:9: expected an identifier"), "{mistake}");
}

#[test]
fn an_unknown_type_has_its_place() {
    let mistake = mistake("rpc A(Missing) returns (M);");
    assert!(mistake.contains("test.proto:6:7: name 'Missing' is not defined"), "{mistake}");
}

#[test]
fn the_options_have_one_name() {
    let source = "syntax = \"proto3\"; import \"gorums/gorums.proto\";";
    assert_eq!(
        only(Project::new(&[("test.proto", source)]).mistakes()),
        "the options of gorums are imported by the name \"gorums.proto\""
    );
}

#[test]
fn an_attribute_that_is_not_rust() {
    let error = Project::with_methods("")
        .compile(configure().type_attribute(".", "#[derive("))
        .expect_err("the attribute is wrong");
    assert_eq!(error.kind(), ErrorKind::Messages);
    assert!(error.to_string().starts_with("the code of package `test` is not Rust: "), "{error}");
}

#[test]
fn an_extern_path_that_is_not_rust() {
    let error = Project::with_methods("rpc A(M) returns (M);")
        .compile(configure().extern_path(".test.M", "a b"))
        .expect_err("the path is wrong");
    assert_eq!(
        error.messages(),
        ["test.proto:6:1: test.S.A: `a b` is not a type of Rust; check the extern paths"; 2]
    );
}

#[test]
fn what_prost_refuses() {
    let error = Project::with_methods("")
        .compile(configure().extern_path("test.M", "::m"))
        .expect_err("the path is wrong");
    assert_eq!(
        error.to_string(),
        "Protobuf paths must be fully qualified (begin with a leading '.'): test.M"
    );
}
