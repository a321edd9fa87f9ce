//! HTTP/2 byte by byte, for what no library would send.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BufMut;
use gorums_core::wire::NODE_STREAM;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::within;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const STREAM_CLOSED: u32 = 5;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The error code of an `RST_STREAM` or `GOAWAY` frame.
    pub(crate) fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

/// One end of a connection.
pub(crate) struct Raw {
    pub(crate) io: TcpStream,
}

impl Raw {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let io = within("connect", TcpStream::connect(address)).await.unwrap();
        io.set_nodelay(true).unwrap();
        Self { io }
    }

    /// Connects and says what every client says first.
    pub(crate) async fn greet(address: SocketAddr) -> Self {
        let mut raw = Self::connect(address).await;
        let mut hello = PREFACE.to_vec();
        hello.extend_from_slice(&frame(SETTINGS, 0, 0, &[]));
        raw.write(&hello).await;
        raw
    }

    /// Writes, as far as the server takes it: it may have closed.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> bool {
        within("write", self.io.write_all(bytes)).await.is_ok()
    }

    /// The next frame; `None` when the server has closed.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        within("a frame", self.io.read_exact(&mut head)).await.ok()?;
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; len as usize];
        within("a frame", self.io.read_exact(&mut payload)).await.ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// The next frame of a kind; `None` if the server closes before.
    pub(crate) async fn next_of(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.next().await?;
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }

    /// Waits until the server has closed, and gives the error code of its last GOAWAY frame, if it has sent one.
    pub(crate) async fn closed(&mut self) -> Option<u32> {
        let mut code = None;
        while let Some(frame) = self.next().await {
            if frame.kind == GOAWAY {
                code = Some(frame.code());
            }
        }
        code
    }

    /// Waits until the server has closed, whatever it sends before.
    pub(crate) async fn drained(mut self, limit: Duration) {
        let mut rest = Vec::new();
        let end = tokio::time::timeout(limit, self.io.read_to_end(&mut rest)).await;
        assert!(end.is_ok(), "not closed within {limit:?}");
    }
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(9 + payload.len());
    bytes.put_uint(payload.len() as u64, 3);
    bytes.put_u8(kind);
    bytes.put_u8(flags);
    bytes.put_u32(stream);
    bytes.extend_from_slice(payload);
    bytes
}

/// The header block that opens a node stream, with other headers behind.
pub(crate) fn open_block(headers: &[(&str, &str)]) -> Vec<u8> {
    let usual = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", NODE_STREAM),
        (":authority", "x"),
        ("te", "trailers"),
    ];
    let mut block = Vec::new();
    for (name, value) in usual.iter().chain(headers) {
        // A literal that is not indexed, with a new name (RFC 7541, section 6.2.2).
        block.put_u8(0);
        for text in [name, value] {
            put_length(&mut block, text.len());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// An integer with a prefix of seven bits (RFC 7541, section 5.1).
fn put_length(block: &mut Vec<u8>, len: usize) {
    if len < 127 {
        return block.put_u8(len as u8);
    }
    block.put_u8(127);
    let mut rest = len - 127;
    while rest >= 128 {
        block.put_u8(rest as u8 | 128);
        rest >>= 7;
    }
    block.put_u8(rest as u8);
}

/// The frame that opens a node stream.
pub(crate) fn open(stream: u32, headers: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &open_block(headers))
}

pub(crate) fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())
}
