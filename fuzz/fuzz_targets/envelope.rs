//! One message: any bytes are an error, or an envelope that comes back from its own encoding.
#![no_main]

use bytes::Bytes;
use gorums_core::wire::{Envelope, RpcStatus};
use libfuzzer_sys::fuzz_target;
use prost::Message;

fuzz_target!(|data: &[u8]| {
    let Ok(envelope) = Envelope::from_message(Bytes::copy_from_slice(data)) else {
        return;
    };
    assert_eq!(envelope.method_name().as_bytes(), &envelope.method);
    let _ = envelope.timeout();
    let metadata = Envelope::metadata(&envelope.entry);
    assert!(metadata.len() <= envelope.entry.len());
    if let Some(rpc_status) = &envelope.status {
        let status = rpc_status.to_status();
        let back = RpcStatus::from_status(&status);
        assert_eq!((back.code, &back.details), (status.code() as i32, &rpc_status.details));
    }
    let encoded = envelope.encode_to_vec();
    assert_eq!(encoded.len(), envelope.encoded_len());
    assert_eq!(Envelope::from_message(encoded.into()), Ok(envelope));
});
