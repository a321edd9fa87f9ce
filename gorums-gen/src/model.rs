//! The one model of a service: both front ends build it, the emitter reads it.

use heck::ToShoutySnakeCase;
use proc_macro2::{Ident, TokenStream};
use quote::format_ident;

/// A service, as a front end understood it.
#[derive(Debug, Clone)]
pub struct Service {
    /// The name in Rust: `Storage`.
    pub ident: Ident,
    /// The name on the wire, without the package: `Storage`.
    pub proto_name: String,
    /// The protobuf package; empty if there is none.
    pub package: String,
    /// The documentation, one line each.
    pub docs: Vec<String>,
    /// The whole `#[deprecated]` attribute.
    pub deprecated: Option<TokenStream>,
    /// The visibility of all that is generated.
    pub visibility: TokenStream,
    /// The path of the runtime crate: `::gorums`.
    pub runtime: TokenStream,
    /// How messages are encoded.
    pub codec: Codec,
    /// When a mock is generated: what stands in its `#[cfg(..)]`. `None`: never.
    pub mock: Option<TokenStream>,
    /// What messages call this service: with its place in a file, if there is one.
    pub place: String,
    /// The methods, in the order of the source.
    pub methods: Vec<Method>,
}

/// A method of a [`Service`].
#[derive(Debug, Clone)]
pub struct Method {
    /// The name in Rust: `read_qc`, or raw: `r#type`.
    pub ident: Ident,
    /// The name on the wire, without the service: `ReadQC`.
    pub proto_name: String,
    /// The name that the user wrote: a front end's own spelling.
    pub written_name: String,
    /// What to do if the name cannot be had, as a front end puts it.
    pub rename_help: String,
    /// How the method is called.
    pub call_type: CallType,
    /// Whether a node may safely get the same request twice.
    pub idempotent: bool,
    /// The documentation, one line each.
    pub docs: Vec<String>,
    /// The whole `#[deprecated]` attribute.
    pub deprecated: Option<TokenStream>,
    /// The type of the request.
    pub request: TokenStream,
    /// The type of the reply; of no meaning for one-way calls.
    pub response: TokenStream,
    /// What messages call this method: with its place in a file, if there is one.
    pub place: String,
}

/// How messages are encoded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// As protobuf messages.
    #[default]
    Prost,
    /// As plain serde types, with postcard.
    Postcard,
}

/// How a method is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CallType {
    /// One node, one reply.
    Rpc,
    /// One node, one way.
    Unicast,
    /// Every node of a configuration, one way.
    Multicast,
    /// Every node of a configuration, one reply each.
    QuorumCall,
    /// Every node of a configuration, any number of replies each.
    StreamingQuorumCall,
}

/// What the calls of a [`CallType`] are made on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Target {
    /// One node.
    Node,
    /// All nodes of a configuration.
    Configuration,
}

impl Service {
    /// The name on the wire: `package.Service`.
    pub fn full_name(&self) -> String {
        if self.package.is_empty() {
            self.proto_name.clone()
        } else {
            format!("{}.{}", self.package, self.proto_name)
        }
    }

    /// The name of a method on the wire: `package.Service.Method`.
    pub fn wire_name(&self, method: &Method) -> String {
        format!("{}.{}", self.full_name(), method.proto_name)
    }

    /// The methods that are called on this kind of target.
    pub fn methods_on(&self, target: Target) -> impl Iterator<Item = &Method> {
        let on = move |method: &&Method| method.call_type.target() == target;
        self.methods.iter().filter(on)
    }

    /// The struct that serves an implementation: `StorageServer`.
    pub fn server_ident(&self) -> Ident {
        self.derived("Server")
    }

    /// The struct that holds the methods' constants: `StorageMethods`.
    pub fn methods_ident(&self) -> Ident {
        self.derived("Methods")
    }

    /// The fake node: `StorageMock`.
    pub fn mock_ident(&self) -> Ident {
        self.derived("Mock")
    }

    /// The trait with the calls on a target: `StorageClient`, `StorageNodeClient`.
    pub fn client_ident(&self, target: Target) -> Ident {
        match target {
            Target::Configuration => self.derived("Client"),
            Target::Node => self.derived("NodeClient"),
        }
    }

    /// Whether the service or one of its methods is deprecated.
    pub fn has_deprecated(&self) -> bool {
        self.deprecated.is_some() || self.methods.iter().any(|m| m.deprecated.is_some())
    }

    fn derived(&self, suffix: &str) -> Ident {
        format_ident!("{}{suffix}", self.ident, span = self.ident.span())
    }
}

impl Method {
    /// The name in Rust without a raw prefix: `type` for `r#type`.
    pub fn plain_name(&self) -> String {
        let name = self.ident.to_string();
        name.strip_prefix("r#").map(str::to_owned).unwrap_or(name)
    }

    /// The name of the method's constant: `READ_QC`.
    pub fn const_ident(&self) -> Ident {
        let name = self.plain_name().to_shouty_snake_case();
        // A name such as `_1` is shouted as `1`.
        let prefix = if name.starts_with(|c: char| c.is_ascii_digit()) { "_" } else { "" };
        Ident::new(&format!("{prefix}{name}"), self.ident.span())
    }
}

impl CallType {
    /// The name in prose: "quorum call".
    pub fn name(self) -> &'static str {
        match self {
            Self::Rpc => "rpc",
            Self::Unicast => "unicast",
            Self::Multicast => "multicast",
            Self::QuorumCall => "quorum call",
            Self::StreamingQuorumCall => "streaming quorum call",
        }
    }

    /// The name with its article: "a quorum call".
    pub fn with_article(self) -> String {
        let article = if self == Self::Rpc { "an" } else { "a" };
        format!("{article} {}", self.name())
    }

    /// What its calls are made on.
    pub fn target(self) -> Target {
        match self {
            Self::Rpc | Self::Unicast => Target::Node,
            Self::Multicast | Self::QuorumCall | Self::StreamingQuorumCall => Target::Configuration,
        }
    }

    /// Whether nothing comes back.
    pub fn is_one_way(self) -> bool {
        matches!(self, Self::Unicast | Self::Multicast)
    }
}
