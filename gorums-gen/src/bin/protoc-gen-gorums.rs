//! `protoc-gen-gorums`: a request of `protoc` on standard input, the answer on standard output.

use std::env;
use std::io::{self, IsTerminal, Read, Write};
use std::panic;
use std::process::ExitCode;

use gorums_gen::{PROTO, plugin};

const HELP: &str = "\
Generates Rust code for the services of .proto files; run by protoc or buf:

    protoc-gen-gorums --print-proto > proto/gorums.proto
    protoc --gorums_out=src/generated -I proto proto/storage.proto
    protoc --gorums_out=bytes=.,client=false:src/generated -I proto proto/storage.proto

Options:
    --print-proto  print gorums.proto, the file with the method options
    --version      print the version
    --help         print this

Parameters, separated by commas (a comma within a value is written \\,):
    messages=false              only services, as <package>.gorums.rs
    client=false, server=false  leave out that side of services
    mocks=true                  also mocks for unit tests, under #[cfg(test)]
    mocks_if=CONDITION          also mocks, under another condition, as feature = \"mocks\"
    out_dir=DIR                 write to a folder in the output folder
    include_file=FILE           also write a file that includes all others
    method_name=METHOD=NAME     give a method another name in Rust
    extern_path=.PACKAGE=PATH   use existing Rust types
    bytes=PATH, btree_map=PATH, boxed=PATH
    type_attribute=PATH=ATTRIBUTE, message_attribute=.., enum_attribute=.., field_attribute=..
    compile_well_known_types=true, disable_comments=PATH
    gorums_path=PATH, prost_path=PATH, prost_types_path=PATH
";

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(|argument| argument.to_string_lossy()).collect();
    let arguments: Vec<_> = arguments.iter().map(AsRef::as_ref).collect();
    let result = match arguments.as_slice() {
        [] if io::stdin().is_terminal() => Ok(usage("this is a plugin of protoc")),
        [] => answer(),
        ["--print-proto"] => print(PROTO.as_bytes()),
        ["--version" | "-V"] => print(VERSION.as_bytes()),
        ["--help" | "-h"] => print(HELP.as_bytes()),
        [argument, ..] => Ok(usage(&format!("`{argument}` is not an option"))),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

const VERSION: &str = concat!("protoc-gen-gorums ", env!("CARGO_PKG_VERSION"), "\n");

/// Bytes in, one call, bytes out. Mistakes are in the answer, so this succeeds all the same.
fn answer() -> io::Result<ExitCode> {
    // What prost panics about is in the answer as well.
    panic::set_hook(Box::new(|_| {}));
    let mut request = Vec::new();
    io::stdin().lock().read_to_end(&mut request)?;
    let output = plugin::run(&request);
    for warning in &output.warnings {
        complain(&format!("warning: {warning}"));
    }
    print(&output.response)
}

fn print(bytes: &[u8]) -> io::Result<ExitCode> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn usage(problem: &str) -> ExitCode {
    complain(&format!("{problem}; see protoc-gen-gorums --help"));
    ExitCode::from(2)
}

fn complain(text: &str) {
    eprintln!("protoc-gen-gorums: {text}");
}
