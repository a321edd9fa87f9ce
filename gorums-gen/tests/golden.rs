//! The generated code, as it is checked in. `BLESS=1 cargo test -p gorums-gen` writes it anew.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use common::{Project, assert_golden};
use gorums_gen::{Builder, configure};

fn generate(source: &str, builder: Builder, output: &str) -> String {
    let project = Project::new(&[("test.proto", source)]);
    project.compile(builder).unwrap();
    project.output(output)
}

const STORAGE: &str = include_str!("golden/storage.proto");

#[test]
fn every_call_type() {
    assert_golden("storage.rs", &generate(STORAGE, configure(), "storage.rs"));
}

/// Behind all else, so that the rest is what it is without.
#[test]
fn a_mock_of_every_call_type() {
    let code = generate(STORAGE, configure().mocks(true), "storage.rs");
    let mock = code.strip_prefix(include_str!("golden/storage.rs")).unwrap();
    assert_golden("storage_mock.rs", mock);
    assert!(!generate(STORAGE, configure().mocks(true).mocks(false), "storage.rs").contains("Mock"));
}

#[test]
fn a_mock_without_a_server_is_not_what_a_server_implements() {
    let code = generate(STORAGE, configure().build_server(false).mocks_if("all()"), "storage.rs");
    assert!(code.contains("#[cfg(all())]") && code.contains("codegen::Service for StorageMock"));
    assert!(!code.contains("impl Storage for"));
}

#[test]
fn names_that_need_care() {
    let source = include_str!("golden/names.proto");
    assert_golden("names.rs", &generate(source, configure(), "_.rs"));
}

#[test]
fn only_the_client() {
    let code = generate(STORAGE, configure().build_server(false), "storage.rs");
    assert!(!code.contains("trait Storage:") && !code.contains("StorageServer"));
    assert!(code.contains("trait StorageClient:") && code.contains("trait StorageNodeClient:"));
    assert!(code.contains("struct StorageMethods"));
}

#[test]
fn only_the_server() {
    let code = generate(STORAGE, configure().build_client(false), "storage.rs");
    assert!(code.contains("trait Storage:") && code.contains("struct StorageServer"));
    assert!(!code.contains("StorageClient") && !code.contains("StorageNodeClient"));
    assert!(code.contains("struct StorageMethods"));
}

#[test]
fn another_path_of_the_runtime() {
    let code = generate(STORAGE, configure().gorums_path("crate::runtime"), "storage.rs");
    assert!(code.contains("crate::runtime::codegen::Methods") && !code.contains("::gorums::"));
}

#[test]
fn comments_can_be_left_out() {
    let code = generate(STORAGE, configure().disable_comments("Storage.ReadRPC"), "storage.rs");
    assert!(!code.contains("ReadRPC reads the value"));
    assert!(code.contains("Handles `storage.Storage.ReadRPC`, an rpc."));
    assert!(code.contains("WriteUnicast writes"));
}
