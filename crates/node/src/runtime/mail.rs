//! Messages on the stream between a capital and a mediator's custody: the length in four bytes, big-endian, then the message.

use std::io;

use demarche_protocol::custody::message::LONGEST;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Reads the next message; none at the end of the stream.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let length = match stream.read_u32().await {
        Ok(length) => usize::try_from(length).unwrap_or(usize::MAX),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    if length > LONGEST {
        let why = format!("a message of {length} bytes is announced");
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    // As much as has come, not as much as was announced.
    let mut bytes = Vec::new();
    let read = stream.take(length as u64).read_to_end(&mut bytes).await?;
    if read < length { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(Some(bytes)) }
}

/// Writes a message.
pub(super) async fn write(stream: &mut (impl AsyncWrite + Unpin), message: &[u8]) -> io::Result<()> {
    stream.write_u32(u32::try_from(message.len()).unwrap_or(u32::MAX)).await?;
    stream.write_all(message).await?;
    stream.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_come_out_as_they_went_in() {
        let (mut here, mut there) = tokio::io::duplex(64);
        let long = vec![7; 1000];
        let sent = long.clone();
        let writing = tokio::spawn(async move {
            write(&mut here, &sent).await.unwrap();
            write(&mut here, b"").await.unwrap();
        });
        assert_eq!(read(&mut there).await.unwrap().unwrap(), long);
        assert_eq!(read(&mut there).await.unwrap().unwrap(), b"");
        writing.await.unwrap();
        assert_eq!(read(&mut there).await.unwrap(), None);
    }

    /// B1: what is announced beyond the bound is refused, and no room is made for what does not come.
    #[tokio::test]
    async fn b1_too_long_a_message_is_refused_and_half_a_one_is_an_error() {
        for (bytes, kind) in [
            (&[0xff; 4][..], io::ErrorKind::InvalidData),
            (&[0, 8, 0, 0, 1, 2], io::ErrorKind::UnexpectedEof),
        ] {
            let mut bytes = bytes;
            assert_eq!(read(&mut bytes).await.unwrap_err().kind(), kind);
        }
    }
}
