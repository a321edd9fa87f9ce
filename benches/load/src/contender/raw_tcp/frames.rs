//! Frames: the length of what follows (u32), the id of the call (u64), how long the reply is to be (u32), the payload.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

use crate::message::MAX_REPLY;

const LENGTH: usize = 4;
const HEAD: usize = LENGTH + 12;
/// What is written or read at once.
const BATCH: usize = 64 << 10;
const BATCH_FRAMES: usize = 256;

/// A message of either direction.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Frame {
    pub(super) id: u64,
    pub(super) reply_bytes: u32,
    pub(super) payload: Bytes,
}

impl Frame {
    fn put(&self, buffer: &mut impl BufMut) {
        buffer.put_u32((HEAD - LENGTH + self.payload.len()) as u32);
        buffer.put_u64(self.id);
        buffer.put_u32(self.reply_bytes);
        buffer.put_slice(&self.payload);
    }
}

/// Writes frames until nobody queues any more: all that have queued up at once, in one write of some size.
pub(super) async fn write_frames(
    mut writer: OwnedWriteHalf,
    mut queued: mpsc::Receiver<Frame>,
) -> io::Result<()> {
    let mut frames = Vec::with_capacity(BATCH_FRAMES);
    let mut buffer = Vec::with_capacity(BATCH);
    while queued.recv_many(&mut frames, BATCH_FRAMES).await > 0 {
        for frame in frames.drain(..) {
            frame.put(&mut buffer);
            if buffer.len() >= BATCH {
                writer.write_all(&buffer).await?;
                buffer.clear();
            }
        }
        writer.write_all(&buffer).await?;
        buffer.clear();
    }
    Ok(())
}

/// Cuts frames out of what it reads. Their payloads are not copied.
pub(super) struct FrameReader<R = OwnedReadHalf> {
    reader: R,
    buffer: BytesMut,
}

impl<R: AsyncReadExt + Unpin> FrameReader<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, buffer: BytesMut::with_capacity(BATCH) }
    }

    /// The next frame; `None` at the end.
    pub(super) async fn next(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.cut()? {
                return Ok(Some(frame));
            }
            if self.buffer.capacity() - self.buffer.len() < BATCH / 8 {
                self.buffer.reserve(BATCH);
            }
            if self.reader.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    fn cut(&mut self) -> io::Result<Option<Frame>> {
        let Some(mut head) = self.buffer.get(..HEAD) else { return Ok(None) };
        let len = head.get_u32() as usize;
        if !(HEAD - LENGTH..=2 * MAX_REPLY).contains(&len) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the length of a frame is impossible"));
        }
        if self.buffer.len() < LENGTH + len {
            return Ok(None);
        }
        let (id, reply_bytes) = (head.get_u64(), head.get_u32());
        let mut payload = self.buffer.split_to(LENGTH + len).freeze();
        payload.advance(HEAD);
        Ok(Some(Frame { id, reply_bytes, payload }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_come_out_as_they_went_in() {
        let frames = [0, 1, 16, 200_000].map(|len| Frame {
            id: len as u64,
            reply_bytes: 7,
            payload: vec![9; len].into(),
        });
        let mut bytes = Vec::new();
        for frame in &frames {
            frame.put(&mut bytes);
        }
        let mut reader = FrameReader::new(&bytes[..]);
        for frame in frames {
            assert_eq!(reader.next().await.unwrap(), Some(frame));
        }
        assert_eq!(reader.next().await.unwrap(), None);
    }

    #[tokio::test]
    async fn an_impossible_length_is_an_error() {
        for len in [0_u32, 11, u32::MAX] {
            let mut bytes = len.to_be_bytes().to_vec();
            bytes.extend([0; 12]);
            assert!(FrameReader::new(&bytes[..]).next().await.is_err());
        }
    }
}
