//! Finds every mistake in the services of a package, so that all can be told at once.

mod call_type;
pub mod reserved;

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use proc_macro2::Span;

pub use self::call_type::{Streaming, call_type};
use crate::emit::{self, Options};
use crate::model::{Method, Service};

/// Something that the user has to change.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Mistake {
    /// Where it is: a [`Service::place`] or [`Method::place`].
    pub place: String,
    /// Where it is, for a macro.
    pub span: Span,
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub help: String,
}

impl Mistake {
    /// A mistake of a service.
    pub fn of_service(service: &Service, problem: String, help: impl Into<String>) -> Self {
        Self { place: service.place.clone(), span: service.ident.span(), problem, help: help.into() }
    }

    /// A mistake of a method.
    pub fn of_method(method: &Method, problem: String, help: impl Into<String>) -> Self {
        Self { place: method.place.clone(), span: method.ident.span(), problem, help: help.into() }
    }

    /// What is wrong and what to do, without the place.
    pub fn message(&self) -> String {
        format!("{}; {}", self.problem, self.help)
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.place, self.problem, self.help)
    }
}

/// Checks the services that share a module with each other and with `types`: the Rust names of
/// the messages and enums there, each with what messages call it.
pub fn package(services: &[Service], types: &BTreeMap<String, String>, options: Options) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    for service in services {
        type_parameter(service, &mut mistakes);
        for method in &service.methods {
            reserved_name(method, &mut mistakes);
        }
        method_clashes(service, &mut mistakes);
    }
    item_clashes(services, types, options, &mut mistakes);
    mistakes
}

/// The generated code calls its type parameter `T`.
fn type_parameter(service: &Service, mistakes: &mut Vec<Mistake>) {
    if service.ident == "T" {
        mistakes.push(Mistake::of_service(
            service,
            "the generated code needs the name `T` for itself".to_owned(),
            "rename the service",
        ));
    }
}

fn reserved_name(method: &Method, mistakes: &mut Vec<Mistake>) {
    let name = method.plain_name();
    if let Some(owner) = reserved::owner(&name, method.call_type.target()) {
        mistakes.push(Mistake::of_method(
            method,
            format!("`{name}` would clash with the method `{owner}::{name}`"),
            &method.rename_help,
        ));
    }
}

/// Two methods of a service that become one in Rust or on the wire.
fn method_clashes(service: &Service, mistakes: &mut Vec<Mistake>) {
    let mut by_constant: HashMap<String, &Method> = HashMap::new();
    let mut by_wire_name: HashMap<&str, &Method> = HashMap::new();
    for method in &service.methods {
        let constant = method.const_ident().to_string();
        if let Some(first) = by_wire_name.insert(&method.proto_name, method) {
            mistakes.push(Mistake::of_method(
                method,
                format!("`{}` is also the name of `{}` on the wire", method.proto_name, first.written_name),
                "give one of them another name",
            ));
        } else if let Some(first) = by_constant.get(&constant) {
            mistakes.push(Mistake::of_method(
                method,
                format!(
                    "`{}` and `{}` would both become `{}` in Rust",
                    first.written_name, method.written_name, constant
                ),
                &method.rename_help,
            ));
        }
        by_constant.entry(constant).or_insert(method);
    }
}

/// Generated items that would have the name of a message, or of another service's item.
fn item_clashes(
    services: &[Service],
    types: &BTreeMap<String, String>,
    options: Options,
    mistakes: &mut Vec<Mistake>,
) {
    let mut taken: HashMap<String, &Service> = HashMap::new();
    for service in services {
        for name in emit::item_names(service, options) {
            let name = name.to_string();
            let other = match (types.get(&name), taken.get(&name)) {
                (Some(other), _) => other.clone(),
                (None, Some(other)) => format!("an item of the service `{}`", other.full_name()),
                (None, None) => {
                    taken.insert(name, service);
                    continue;
                }
            };
            mistakes.push(Mistake::of_service(
                service,
                format!("the generated item `{name}` would clash with {other}"),
                "rename one of the two",
            ));
        }
    }
}
