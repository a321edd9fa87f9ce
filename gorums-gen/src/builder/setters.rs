//! The settings of a [`Builder`]. Those about messages go on to prost.

use std::path::{Path, PathBuf};

use prost_build::Config;

use super::Builder;

impl Builder {
    /// Whether to generate what makes calls. Default: yes.
    pub fn build_client(mut self, enable: bool) -> Self {
        self.settings.options.client = enable;
        self
    }

    /// Whether to generate what serves them. Default: yes.
    pub fn build_server(mut self, enable: bool) -> Self {
        self.settings.options.server = enable;
        self
    }

    /// Whether to generate a mock of each service, `StorageMock`, for unit tests. Default: no.
    ///
    /// It is compiled under `#[cfg(test)]`, and needs the feature `testing` of `gorums`, as a dev-dependency. For tests
    /// that are elsewhere, [`mocks_if`](Self::mocks_if) sets another condition.
    pub fn mocks(self, enable: bool) -> Self {
        if enable { self.mocks_if("test") } else { self.set_mocks(None) }
    }

    /// Generates a mock of each service that is compiled under this condition, as in `#[cfg(..)]`:
    /// `.mocks_if("any(test, feature = \"mocks\")")`.
    pub fn mocks_if(self, condition: impl Into<String>) -> Self {
        let condition = condition.into();
        self.set_mocks(Some(condition))
    }

    fn set_mocks(mut self, condition: Option<String>) -> Self {
        self.settings.mocks = condition;
        self
    }

    /// The path by which the code names the runtime. Default: `::gorums`.
    pub fn gorums_path(mut self, path: impl Into<String>) -> Self {
        self.settings.gorums_path = path.into();
        self
    }

    /// Gives a method another name in Rust, where its own cannot be had; on the wire it keeps that:
    /// `.method_name("storage.Storage.All", "all_values")`.
    pub fn method_name(mut self, method: impl Into<String>, name: impl Into<String>) -> Self {
        self.settings.method_names.insert(method.into(), name.into());
        self
    }

    /// Starts from a configuration of prost, for what this builder has no setter for.
    ///
    /// The builder's own settings are made on top of it, whether before or after this. Its service
    /// generator is replaced, and nothing about `protoc` is heeded, as none is run.
    pub fn config(mut self, config: Config) -> Self {
        self.base = Some(config);
        self
    }

    /// The folder that the code is written to. Default: cargo's `OUT_DIR`.
    pub fn out_dir(self, folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        self.set(|config| config.out_dir(folder))
    }

    /// Also writes a file, of this name, that includes the code of all packages as a tree of
    /// modules.
    pub fn include_file(self, name: impl Into<PathBuf>) -> Self {
        let name = name.into();
        self.set(|config| config.include_file(name))
    }

    /// Also writes the descriptors of all files, encoded, to this file.
    pub fn file_descriptor_set_path(mut self, path: impl AsRef<Path>) -> Self {
        self.file_descriptor_set_path = Some(path.as_ref().to_owned());
        self
    }

    /// Uses existing Rust types for a message or a package:
    /// `.extern_path(".acme.ids", "::acme_ids")`.
    pub fn extern_path(self, path: impl Into<String>, rust_path: impl Into<String>) -> Self {
        let (path, rust_path) = (path.into(), rust_path.into());
        self.set(|config| config.extern_path(path, rust_path))
    }

    /// Adds an attribute to the messages and enums that a path matches.
    ///
    /// Paths are prost's: `.` matches everything, `.a.b` what is in it, `b.C` what ends with it.
    pub fn type_attribute(self, path: impl AsRef<str>, attribute: impl AsRef<str>) -> Self {
        let (path, attribute) = owned(path, attribute);
        self.set(|config| config.type_attribute(path, attribute))
    }

    /// Adds an attribute to the messages that a path matches.
    pub fn message_attribute(self, path: impl AsRef<str>, attribute: impl AsRef<str>) -> Self {
        let (path, attribute) = owned(path, attribute);
        self.set(|config| config.message_attribute(path, attribute))
    }

    /// Adds an attribute to the enums that a path matches.
    pub fn enum_attribute(self, path: impl AsRef<str>, attribute: impl AsRef<str>) -> Self {
        let (path, attribute) = owned(path, attribute);
        self.set(|config| config.enum_attribute(path, attribute))
    }

    /// Adds an attribute to the fields that a path matches.
    pub fn field_attribute(self, path: impl AsRef<str>, attribute: impl AsRef<str>) -> Self {
        let (path, attribute) = owned(path, attribute);
        self.set(|config| config.field_attribute(path, attribute))
    }

    /// Puts the fields that a path matches in a `Box`.
    pub fn boxed(self, path: impl AsRef<str>) -> Self {
        let path = path.as_ref().to_owned();
        self.set(|config| config.boxed(path))
    }

    /// Makes the map fields that a path matches `BTreeMap`s.
    pub fn btree_map(mut self, path: impl Into<String>) -> Self {
        self.btree_map.push(path.into());
        self
    }

    /// Makes the bytes fields that a path matches `Bytes`, which are shared instead of copied.
    pub fn bytes(mut self, path: impl Into<String>) -> Self {
        self.bytes.push(path.into());
        self
    }

    /// Leaves the comments of what a path matches out of the code.
    pub fn disable_comments(mut self, path: impl Into<String>) -> Self {
        self.settings.disable_comments.push(path.into());
        self
    }

    /// Generates Google's well-known types, too, instead of taking those of prost-types.
    pub fn compile_well_known_types(self, enable: bool) -> Self {
        if enable { self.set(Config::compile_well_known_types) } else { self }
    }

    /// The path by which the code names prost. Default: `::prost`.
    pub fn prost_path(self, path: impl Into<String>) -> Self {
        let path = path.into();
        self.set(|config| config.prost_path(path))
    }

    /// The path by which the code names prost-types. Default: `::prost_types`.
    pub fn prost_types_path(self, path: impl Into<String>) -> Self {
        let path = path.into();
        self.set(|config| config.prost_types_path(path))
    }

    /// Whether to tell cargo to run the build script again when one of the `.proto` files
    /// changes. Default: yes, if cargo runs this.
    pub fn emit_rerun_if_changed(mut self, enable: bool) -> Self {
        self.emit_rerun_if_changed = enable;
        self
    }

    /// Whether to have cargo show what is suspicious about the files and no error, as a reply of a call that has none.
    /// Default: yes.
    pub fn emit_warnings(mut self, enable: bool) -> Self {
        self.emit_warnings = enable;
        self
    }

    /// Remembers a change of prost's configuration.
    fn set(mut self, setter: impl FnOnce(&mut Config) -> &mut Config + 'static) -> Self {
        self.setters.push(Box::new(|config| {
            setter(config);
        }));
        self
    }
}

fn owned(path: impl AsRef<str>, attribute: impl AsRef<str>) -> (String, String) {
    (path.as_ref().to_owned(), attribute.as_ref().to_owned())
}
