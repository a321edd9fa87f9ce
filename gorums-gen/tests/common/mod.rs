//! What the tests of the front ends share.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test uses its part")]

use std::fs;
use std::path::{Path, PathBuf};

use gorums_gen::{Builder, Error};

/// A folder of `.proto` files, and one for the code that comes of them.
pub struct Project {
    folder: tempfile::TempDir,
}

impl Project {
    pub fn new(files: &[(&str, &str)]) -> Self {
        let project = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(project.out_dir()).unwrap();
        for (name, source) in files {
            let path = project.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, source).unwrap();
        }
        project
    }

    /// A file `test.proto` in package `test`, whose service `S` has these methods.
    pub fn with_methods(methods: &str) -> Self {
        Self::with_items(&format!("service S {{\n{methods}\n}}\nmessage M {{}}"))
    }

    /// A file `test.proto` in package `test` with these services and messages.
    pub fn with_items(items: &str) -> Self {
        Self::new(&[("test.proto", &format!("{HEADER}{items}"))])
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn out_dir(&self) -> PathBuf {
        self.path().join("out")
    }

    /// Compiles `test.proto`.
    pub fn compile(&self, builder: Builder) -> Result<(), Error> {
        self.compile_files(builder, &["test.proto"])
    }

    pub fn compile_files(&self, builder: Builder, files: &[&str]) -> Result<(), Error> {
        let files: Vec<_> = files.iter().map(|name| self.path().join(name)).collect();
        let builder = builder.out_dir(self.out_dir()).emit_rerun_if_changed(false);
        builder.compile_protos(&files, &[self.path()])
    }

    /// The code of a package.
    pub fn output(&self, name: &str) -> String {
        fs::read_to_string(self.out_dir().join(name)).unwrap()
    }

    /// The names of all output files.
    pub fn outputs(&self) -> Vec<String> {
        let entries = fs::read_dir(self.out_dir()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    /// What is wrong with `test.proto`.
    pub fn mistakes(&self) -> Vec<String> {
        let error = self.compile(gorums_gen::configure()).expect_err("there is a mistake");
        error.messages().to_vec()
    }
}

/// The lines of `HEADER`; mistakes count theirs from here.
pub const HEADER: &str = "syntax = \"proto3\";
package test;
import \"google/protobuf/empty.proto\";
import \"gorums.proto\";
";

/// Compares with a checked-in file; `BLESS=1 cargo test` writes it.
pub fn assert_golden(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, actual).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
    assert!(
        expected == actual,
        "{} is not what is generated now; look at the difference after `BLESS=1 cargo test`.\n{actual}",
        path.display()
    );
}
