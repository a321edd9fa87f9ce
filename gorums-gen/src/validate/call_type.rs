//! Which call type a method has, from what is written about it.

use crate::model::CallType;

/// Which sides of a method are declared to send a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Streaming {
    /// `rpc M(stream Request)`
    pub client: bool,
    /// `returns (stream Response)`
    pub server: bool,
}

impl Streaming {
    /// As a protobuf descriptor tells it.
    pub fn new(client: bool, server: bool) -> Self {
        Self { client, server }
    }
}

/// The call type that the chosen options make, and what is wrong with them: each problem with
/// what to do about it. With mistakes, the call type is the likely one, to go on checking with.
pub fn call_type(chosen: &[CallType], streaming: Streaming) -> (CallType, Vec<(String, &'static str)>) {
    let mut mistakes = Vec::new();
    if chosen.len() > 1 {
        let names: Vec<_> = chosen.iter().map(|call_type| call_type.name()).collect();
        mistakes.push((
            format!("a method has one call type, but this has {}", names.join(" and ")),
            "keep one of these options",
        ));
    }
    // As in Go: each multicast is one message of a stream, so some write it so.
    if streaming.client && !chosen.contains(&CallType::Multicast) {
        mistakes.push((
            "a stream of requests is not supported".to_owned(),
            "take one message, and call the method once for each",
        ));
    }
    let call_type = match chosen.first().copied().unwrap_or(CallType::Rpc) {
        CallType::QuorumCall if streaming.server => CallType::StreamingQuorumCall,
        other if streaming.server => {
            mistakes.push((
                format!("{} cannot reply with a stream", other.with_article()),
                "add `option (gorums.quorumcall) = true;`, or remove `stream`",
            ));
            other
        }
        other => other,
    };
    (call_type, mistakes)
}
