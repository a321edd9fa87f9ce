//! Runs prost and the emitter over a set of descriptors: the way that the front ends share.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use proc_macro2::TokenStream;
use prost::Message;
use prost::bytes::Bytes;
use prost_build::{Config, Module, ServiceGenerator};
use prost_reflect::{DescriptorPool, DynamicMessage, ReflectMessage};
use prost_types::{FileDescriptorProto, FileDescriptorSet};

use crate::descriptor::{self, Context, Services};
use crate::editions;
use crate::emit::{self, Options};
use crate::error::{Error, ErrorKind};
use crate::validate::{self, Mistake};

/// Protobuf files with all that they import, as a compiler describes them.
#[derive(Debug)]
pub(crate) struct Descriptors {
    pub(crate) pool: DescriptorPool,
    pub(crate) files: Vec<FileDescriptorProto>,
}

/// What the user may say about services.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) options: Options,
    pub(crate) gorums_path: String,
    /// When mocks are generated, as in `#[cfg(..)]`.
    pub(crate) mocks: Option<String>,
    pub(crate) disable_comments: Vec<String>,
    /// Names in Rust by the full names of methods.
    pub(crate) method_names: BTreeMap<String, String>,
}

/// The code of services, checked.
#[derive(Debug)]
pub(crate) struct Generated {
    /// By full name, not formatted.
    services: HashMap<String, String>,
    /// The full names in the order of the files, by package.
    packages: BTreeMap<String, Vec<String>>,
    pub(crate) warnings: Vec<String>,
}

impl Descriptors {
    /// Reads encoded `FileDescriptorProto`s, in any order, with their options as they are.
    pub(crate) fn decode(files: impl IntoIterator<Item = Bytes>) -> Result<Self, Error> {
        let invalid = |error: &dyn std::fmt::Display| {
            Error::new(ErrorKind::Proto, format!("the descriptors are not valid: {error}"))
        };
        let kind = FileDescriptorProto::default().descriptor();
        let mut set = RawFileDescriptorSet::default();
        let mut lowered = Vec::new();
        for file in files {
            let mut file = DynamicMessage::decode(kind.clone(), file).map_err(|e| invalid(&e))?;
            editions::lower(&mut file)?;
            let file = file.encode_to_vec();
            let read = FileDescriptorProto::decode(file.as_slice()).map_err(|error| invalid(&error))?;
            check_syntax(&read)?;
            lowered.push(read);
            set.file.push(file.into());
        }
        let pool = DescriptorPool::decode(set.encode_to_vec().as_slice())
            .map_err(|error| Error::new(ErrorKind::Proto, format!("{error:?}")).with_source(error))?;
        Ok(Self { pool, files: lowered })
    }

    /// Reads an encoded `FileDescriptorSet`.
    pub(crate) fn decode_set(set: &[u8]) -> Result<Self, Error> {
        let set = RawFileDescriptorSet::decode(set).map_err(|error| {
            Error::new(ErrorKind::Proto, format!("this is no descriptor set: {error}")).with_source(error)
        })?;
        Self::decode(set.file)
    }

    pub(crate) fn to_set(&self) -> FileDescriptorSet {
        FileDescriptorSet { file: self.files.clone() }
    }

    /// Generates the services of the files that `wanted` names, and finds every mistake on the
    /// way. Nothing is written.
    pub(crate) fn services(
        &self,
        config: &mut Config,
        settings: &Settings,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Generated, Error> {
        let runtime = settings.gorums_path.parse().map_err(|_| {
            let path = &settings.gorums_path;
            Error::new(ErrorKind::Setting, format!("gorums_path: `{path}` is not a path of Rust"))
        })?;
        let mock = settings.mocks.as_deref().map(condition).transpose()?;
        self.check_method_names(settings)?;
        let context = Context { pool: &self.pool, runtime, mock, settings };
        let mut found = Services::default();
        for service in self.record(config, &wanted)? {
            found.add(&context, &service);
        }
        let packages: HashSet<_> = found.read.iter().map(|s| s.package.clone()).collect();
        let Services { read: services, mut mistakes, warnings } = found;
        for package in packages {
            let types = descriptor::types(&self.pool, &package);
            let here: Vec<_> = services.iter().filter(|s| s.package == package).cloned().collect();
            mistakes.extend(validate::package(&here, &types, settings.options));
        }
        let mut warnings = texts(&warnings);
        if !mistakes.is_empty() {
            return Err(Error::all(ErrorKind::Service, texts(&mistakes)));
        }
        warnings.dedup();
        let mut generated = Generated { services: HashMap::new(), packages: BTreeMap::new(), warnings };
        for service in &services {
            let code = emit::service(service, settings.options).to_string();
            let names = generated.packages.entry(service.package.clone()).or_default();
            names.push(service.full_name());
            generated.services.insert(service.full_name(), code);
        }
        Ok(generated)
    }

    /// A name for a method that is not there is a slip of the pen.
    fn check_method_names(&self, settings: &Settings) -> Result<(), Error> {
        let methods = self.pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
        let known: HashSet<_> = methods.map(|method| method.full_name().to_owned()).collect();
        let unknown = settings.method_names.keys().filter(|name| !known.contains(*name));
        let messages: Vec<_> =
            unknown.map(|name| format!("method_name: there is no method `{name}`")).collect();
        if messages.is_empty() { Ok(()) } else { Err(Error::all(ErrorKind::Setting, messages)) }
    }

    /// What prost makes of the services: their names and types in Rust.
    fn record(
        &self,
        config: &mut Config,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Vec<prost_build::Service>, Error> {
        let recorded = Rc::new(RefCell::new(Vec::new()));
        config.service_generator(Box::new(Recorder(Rc::clone(&recorded))));
        config.format(false);
        let modules = self.run(config, wanted)?;
        config.format(true);
        for (module, code) in modules {
            syn::parse_file(&code).map_err(|error| {
                Error::new(
                    ErrorKind::Messages,
                    format!(
                        "the code of package `{module}` is not Rust: {error}; check the attributes, \
                         paths and names that go into it"
                    ),
                )
                .with_source(error)
            })?;
        }
        Ok(recorded.take())
    }

    /// Runs prost: the code of the wanted files by module.
    pub(crate) fn run(
        &self,
        config: &mut Config,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<BTreeMap<Module, String>, Error> {
        // prost has to know every message, but sorts its output by this key.
        let unwanted = Module::from_parts(["", "imported"]);
        let requests = self.files.iter().cloned().map(|mut file| {
            if wanted(file.name()) {
                (Module::from_protobuf_package_name(file.package()), file)
            } else {
                file.service.clear();
                (unwanted.clone(), file)
            }
        });
        let requests = requests.collect();
        let modules = guarded(|| config.generate(requests))?;
        Ok(modules.into_iter().filter(|(module, _)| *module != unwanted).collect())
    }
}

/// What stands in `#[cfg(..)]`.
fn condition(text: &str) -> Result<TokenStream, Error> {
    let tokens = text.parse::<TokenStream>().ok().filter(|tokens| !tokens.is_empty());
    tokens.ok_or_else(|| {
        let message = format!("mocks_if: `{text}` is not a condition as in `#[cfg(..)]`");
        Error::new(ErrorKind::Setting, message)
    })
}

/// prost-reflect panics on a syntax that it does not know. Editions were lowered before.
fn check_syntax(file: &FileDescriptorProto) -> Result<(), Error> {
    if matches!(file.syntax.as_deref(), None | Some("proto2" | "proto3")) {
        return Ok(());
    }
    let (name, syntax) = (file.name(), file.syntax());
    let reason = format!("{name}: the syntax `{syntax}` is not known; use proto3, proto2 or an edition");
    Err(Error::new(ErrorKind::Proto, reason))
}

impl Generated {
    /// What makes prost append the services to the messages of their file.
    pub(crate) fn appender(&self) -> Box<dyn ServiceGenerator> {
        Box::new(Appender(self.services.clone()))
    }

    /// The services alone, formatted, by package.
    pub(crate) fn by_package(&self) -> Result<BTreeMap<&str, String>, Error> {
        let format = |names: &Vec<String>| {
            let code: String = names.iter().map(|name| self.services[name].as_str()).collect();
            let file = syn::parse_file(&code).map_err(|error| {
                Error::new(ErrorKind::Service, format!("the code of a service is not Rust: {error}"))
            })?;
            Ok(prettyplease::unparse(&file))
        };
        self.packages.iter().map(|(name, list)| Ok((name.as_str(), format(list)?))).collect()
    }
}

/// Calls prost, whose panics on descriptors or settings that it does not expect become errors.
pub(crate) fn guarded<T>(prost: impl FnOnce() -> std::io::Result<T>) -> Result<T, Error> {
    match catch_unwind(AssertUnwindSafe(prost)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Error::new(ErrorKind::Messages, error.to_string()).with_source(error)),
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            let text = text.unwrap_or_else(|| "no reason given".to_owned());
            Err(Error::new(ErrorKind::Messages, format!("prost cannot generate this: {text}")))
        }
    }
}

fn texts(mistakes: &[Mistake]) -> Vec<String> {
    let mut texts: Vec<_> = mistakes.iter().map(Mistake::to_string).collect();
    texts.sort();
    texts
}

/// `FileDescriptorSet` with its files left encoded, as their options would be lost otherwise.
#[derive(Clone, PartialEq, Message)]
struct RawFileDescriptorSet {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    file: Vec<Bytes>,
}

struct Recorder(Rc<RefCell<Vec<prost_build::Service>>>);

impl ServiceGenerator for Recorder {
    fn generate(&mut self, service: prost_build::Service, _: &mut String) {
        self.0.borrow_mut().push(service);
    }

    /// prost expects text in the file of each package that has services.
    fn finalize(&mut self, buf: &mut String) {
        buf.push('\n');
    }
}

struct Appender(HashMap<String, String>);

impl ServiceGenerator for Appender {
    fn generate(&mut self, service: prost_build::Service, buf: &mut String) {
        let full_name = match service.package.as_str() {
            "" => service.proto_name,
            package => format!("{package}.{}", service.proto_name),
        };
        buf.push_str(self.0.get(&full_name).map_or("", String::as_str));
    }
}
