//! The plugin, run by a real `protoc`.
//!
//! Without one the tests are skipped, unless `PROTOC_REQUIRED` is set, as it is in CI. `PROTOC`
//! names another one than that of the `PATH`; it may have arguments: `python3 -m grpc_tools.protoc`.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use common::Project;

/// `None`, with a message, if there is no `protoc`.
fn protoc() -> Option<Command> {
    let named = env::var("PROTOC").unwrap_or_else(|_| "protoc".to_owned());
    let mut words = named.split_whitespace();
    let program = words.next().unwrap_or("protoc");
    let mut command = Command::new(program);
    command.args(words);
    let mut version = Command::new(program);
    version.args(command.get_args()).arg("--version");
    if version.output().is_ok_and(|output| output.status.success()) {
        return Some(command);
    }
    assert!(env::var_os("PROTOC_REQUIRED").is_none(), "PROTOC_REQUIRED is set, but there is no `{named}`");
    eprintln!("skipped: there is no `{named}`; install protobuf-compiler, or set PROTOC");
    None
}

/// Runs `protoc` with the plugin in the project's folder.
fn run(protoc: &mut Command, project: &Project, arguments: &[&str]) -> Output {
    fs::write(project.path().join("gorums.proto"), gorums_gen::PROTO).unwrap();
    protoc
        .current_dir(project.path())
        .arg(concat!("--plugin=protoc-gen-gorums=", env!("CARGO_BIN_EXE_protoc-gen-gorums")))
        .args(["-I", "."])
        .args(arguments)
        .output()
        .unwrap()
}

/// Only newer versions do, which `PROTOC_EDITIONS_REQUIRED` demands.
fn knows_no_editions(output: &Output) -> bool {
    let told = String::from_utf8_lossy(&output.stderr);
    let old = told.contains("Expected top-level statement") || told.contains("syntax");
    if old {
        assert!(
            env::var_os("PROTOC_EDITIONS_REQUIRED").is_none(),
            "this protoc does not know editions: {told}"
        );
        eprintln!("skipped: this protoc does not know editions");
    }
    old
}

fn assert_success(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

const STORAGE: &str = include_str!("golden/storage.proto");

#[test]
fn protoc_gives_the_code_of_the_builder() {
    let Some(mut protoc) = protoc() else { return };
    let project = Project::new(&[("test.proto", STORAGE)]);
    assert_success(&run(&mut protoc, &project, &["--gorums_out=out", "test.proto"]));
    assert_eq!(project.outputs(), ["storage.rs"]);
    assert_eq!(project.output("storage.rs"), include_str!("golden/storage.rs"));
}

#[test]
fn protoc_passes_parameters_on() {
    let Some(mut protoc) = protoc() else { return };
    let project = Project::new(&[("test.proto", STORAGE)]);
    let arguments = ["--gorums_out=messages=false,server=false:out", "test.proto"];
    assert_success(&run(&mut protoc, &project, &arguments));
    assert_eq!(project.outputs(), ["storage.gorums.rs"]);
    assert!(!project.output("storage.gorums.rs").contains("trait Storage:"));
}

#[test]
fn protoc_tells_the_mistakes() {
    let Some(mut protoc) = protoc() else { return };
    let project = Project::with_methods("rpc A(M) returns (stream M);\nrpc Latency(M) returns (M);");
    let output = run(&mut protoc, &project, &["--gorums_out=out", "test.proto"]);
    assert!(!output.status.success());
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("test.S.A: an rpc cannot reply with a stream; "), "{told}");
    assert!(told.contains("test.S.Latency: `latency` would clash with "), "{told}");
    assert_eq!(project.outputs(), [""; 0]);
}

#[test]
fn descriptor_sets_of_protoc_keep_the_call_types() {
    let Some(mut protoc) = protoc() else { return };
    let project = Project::new(&[("test.proto", STORAGE)]);
    let arguments =
        ["--include_imports", "--include_source_info", "--descriptor_set_out=set.bin", "test.proto"];
    assert_success(&run(&mut protoc, &project, &arguments));
    let set = fs::read(project.path().join("set.bin")).unwrap();
    gorums_gen::configure().out_dir(project.out_dir()).compile_fds(&set).unwrap();
    assert_eq!(project.output("storage.rs"), include_str!("golden/storage.rs"));
}

/// Only newer versions know editions; there the files of Gorums for Go work as they are.
#[test]
fn protoc_passes_editions_on() {
    let Some(mut protoc) = protoc() else { return };
    let source = "edition = \"2023\"; package test; import \"gorums.proto\";
option features.field_presence = IMPLICIT;
message M { string plain = 1; string maybe = 2 [features.field_presence = EXPLICIT]; }
service S { rpc A(M) returns (M) { option (gorums.quorumcall) = true; } }";
    let project = Project::new(&[("test.proto", source)]);
    let output = run(&mut protoc, &project, &["--gorums_out=out", "test.proto"]);
    if knows_no_editions(&output) {
        return;
    }
    assert_success(&output);
    let theirs = project.output("test.rs");
    project.compile(gorums_gen::configure()).unwrap();
    assert_eq!(theirs, project.output("test.rs"));
    assert!(theirs.contains("trait SClient") && theirs.contains("#[prost(string, optional, tag = \"2\")]"));
}

/// The files of Gorums for Go, of editions 2023 and 2024, unmodified, with its own copy of the options.
#[test]
fn the_files_of_gorums_for_go_work_as_they_are() {
    let go = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/go");
    // The first has the names of one of the others.
    let runs: [&[&str]; 2] = [
        &["internal/testprotos/calltypes/importmsgs/importmsgs.proto", "internal/testprotos/msgs/msgs.proto"],
        &[
            "benchmark/benchmark.proto",
            "examples/storage/proto/storage.proto",
            "internal/testprotos/calltypes/multicast/multicast.proto",
            "internal/testprotos/calltypes/quorumcall/quorumcall.proto",
            "internal/testprotos/calltypes/zorums/zorums.proto",
            "internal/testprotos/msgs/msgs.proto",
            "internal/tests/config/config.proto",
            "internal/tests/correctable/correctable.proto",
            "internal/tests/metadata/metadata.proto",
            "internal/tests/oneway/oneway.proto",
            "internal/tests/ordering/order.proto",
            "internal/tests/tls/tls.proto",
            "internal/tests/unresponsive/unresponsive.proto",
        ],
    ];
    for files in runs {
        let Some(mut protoc) = protoc() else { return };
        let project = Project::new(&[]);
        let output = protoc
            .current_dir(&go)
            .arg(concat!("--plugin=protoc-gen-gorums=", env!("CARGO_BIN_EXE_protoc-gen-gorums")))
            .args(["-I", "."])
            .arg(format!("--gorums_out={}", project.out_dir().display()))
            .args(files)
            .output()
            .unwrap();
        if knows_no_editions(&output) {
            return;
        }
        assert_success(&output);
        let theirs: Vec<_> =
            project.outputs().into_iter().map(|name| (project.output(&name), name)).collect();
        assert_eq!(theirs.len(), files.len(), "a file for each package");
        gorums_gen::configure()
            .out_dir(project.out_dir())
            .emit_rerun_if_changed(false)
            .compile_protos(&files.iter().map(|file| go.join(file)).collect::<Vec<_>>(), &[&go])
            .unwrap();
        for (code, name) in theirs {
            assert_eq!(code, project.output(&name), "{name}");
        }
    }
}
