//! The front end for build scripts.

mod setters;

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use prost_build::Config;

use crate::emit::Options;
use crate::error::{Error, ErrorKind};
use crate::generate::{self, Descriptors, Settings};
use crate::resolver::resolver;

/// Generates the code of a `.proto` file, and of what it imports, with the default settings.
///
/// Its folder is the include path. The output goes to cargo's `OUT_DIR`, from where
/// `gorums::include_proto!` gets it.
///
/// ```no_run
/// # fn main() -> Result<(), gorums_gen::Error> {
/// gorums_gen::compile_protos("proto/storage.proto")
/// # }
/// ```
pub fn compile_protos(proto: impl AsRef<Path>) -> Result<(), Error> {
    let proto = proto.as_ref();
    let folder = proto.parent().filter(|folder| !folder.as_os_str().is_empty());
    configure().compile_protos(&[proto], &[folder.unwrap_or(Path::new("."))])
}

/// Starts a configuration of the generator.
///
/// ```no_run
/// # fn main() -> Result<(), gorums_gen::Error> {
/// gorums_gen::configure()
///     .build_client(false)
///     .type_attribute("storage.State", "#[derive(serde::Serialize)]")
///     .bytes("storage.State.value")
///     .compile_protos(&["proto/storage.proto"], &["proto"])
/// # }
/// ```
pub fn configure() -> Builder {
    Builder {
        base: None,
        setters: Vec::new(),
        btree_map: Vec::new(),
        bytes: Vec::new(),
        settings: Settings {
            options: Options::default(),
            gorums_path: "::gorums".to_owned(),
            mocks: None,
            disable_comments: Vec::new(),
            method_names: BTreeMap::new(),
        },
        file_descriptor_set_path: None,
        emit_rerun_if_changed: env::var_os("CARGO").is_some(),
        emit_warnings: true,
    }
}

/// A configuration of the generator; made by [`configure`].
#[must_use = "a builder does nothing until it compiles something"]
pub struct Builder {
    base: Option<Config>,
    /// What to change in prost's configuration, in order.
    setters: Vec<Setter>,
    btree_map: Vec<String>,
    bytes: Vec<String>,
    settings: Settings,
    file_descriptor_set_path: Option<PathBuf>,
    emit_rerun_if_changed: bool,
    emit_warnings: bool,
}

type Setter = Box<dyn FnOnce(&mut Config)>;

impl Builder {
    /// Compiles `.proto` files and generates their code, and that of the files they import.
    ///
    /// No `protoc` takes part. The files have to be in one of the folders of `includes`, in which
    /// imports are looked up as well; `gorums.proto` and Google's well-known files are always
    /// found. Files of an edition are read as far as their grammar is that of proto3; for default values and
    /// extension ranges in them, give [`compile_fds`](Self::compile_fds) what `protoc` has read.
    pub fn compile_protos(
        self,
        protos: &[impl AsRef<Path>],
        includes: &[impl AsRef<Path>],
    ) -> Result<(), Error> {
        let includes: Vec<_> = includes.iter().map(|folder| folder.as_ref().to_owned()).collect();
        let mut compiler = protox::Compiler::with_file_resolver(resolver(&includes));
        compiler.include_imports(true).include_source_info(true);
        let opened = compiler.open_files(protos.iter().map(AsRef::as_ref)).map(|_| ());
        if self.emit_rerun_if_changed {
            let imported = compiler.files().filter_map(|file| find(&includes, file.name()));
            let named = protos.iter().map(|proto| proto.as_ref().to_owned());
            rerun_if_changed(named.chain(imported));
        }
        // Its `Debug` has the line and the column.
        opened.map_err(|error| Error::new(ErrorKind::Proto, format!("{error:?}")).with_source(error))?;
        self.compile_fds(&compiler.encode_file_descriptor_set())
    }

    /// Generates the code of an encoded `FileDescriptorSet`, which must hold all imports: what
    /// `protoc --include_imports --include_source_info --descriptor_set_out=..` writes.
    ///
    /// Take the bytes as they are: decoding them to a `prost_types::FileDescriptorSet` would lose
    /// the call types.
    pub fn compile_fds(self, descriptor_set: &[u8]) -> Result<(), Error> {
        let descriptors = Descriptors::decode_set(descriptor_set)?;
        if let Some(path) = &self.file_descriptor_set_path {
            fs::write(path, descriptor_set).map_err(|error| {
                let message = format!("cannot write `{}`: {error}", path.display());
                Error::new(ErrorKind::Output, message).with_source(error)
            })?;
        }
        let emit_warnings = self.emit_warnings;
        let (mut config, settings) = self.into_parts();
        let generated = descriptors.services(&mut config, &settings, |_| true)?;
        if emit_warnings {
            generated.warnings.iter().for_each(|warning| warn(warning));
        }
        config.service_generator(generated.appender());
        generate::guarded(|| config.compile_fds(descriptors.to_set())).map_err(|error| {
            // It has generated all this before, without writing it.
            Error::new(ErrorKind::Output, format!("cannot write the code: {error}")).with_source(error)
        })
    }

    /// What prost is to do, and what the emitter.
    pub(crate) fn into_parts(self) -> (Config, Settings) {
        let mut config = self.base.unwrap_or_default();
        for setter in self.setters {
            setter(&mut config);
        }
        // Each of these replaces what was set before.
        if !self.btree_map.is_empty() {
            config.btree_map(&self.btree_map);
        }
        if !self.bytes.is_empty() {
            config.bytes(&self.bytes);
        }
        if !self.settings.disable_comments.is_empty() {
            config.disable_comments(&self.settings.disable_comments);
        }
        (config, self.settings)
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("settings", &self.settings)
            .field("btree_map", &self.btree_map)
            .field("bytes", &self.bytes)
            .field("file_descriptor_set_path", &self.file_descriptor_set_path)
            .field("emit_rerun_if_changed", &self.emit_rerun_if_changed)
            .finish_non_exhaustive()
    }
}

/// Where a file of the include path is on disk, if it is there at all.
fn find(includes: &[PathBuf], name: &str) -> Option<PathBuf> {
    includes.iter().map(|folder| folder.join(name)).find(|path| path.exists())
}

#[expect(clippy::print_stdout, reason = "this is how a build script speaks to cargo")]
fn rerun_if_changed(paths: impl Iterator<Item = PathBuf>) {
    for path in paths {
        println!("cargo:rerun-if-changed={}", path.display());
    }
}

#[expect(clippy::print_stdout, reason = "this is how a build script speaks to cargo")]
fn warn(warning: &str) {
    println!("cargo:warning={warning}");
}
