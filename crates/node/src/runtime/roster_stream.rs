//! The roster stream: how cards, roots and revocations reach a node that does not know ours yet, or whose new card we do not
//! know. Even a stranger may open one; so it is small, short and bounded, and a stranger gets back nothing but the answering
//! node's own card (docs/protocol.md §9.2).
//!
//! The opener sends its documents and the other side answers with its own, each in one message:
//! `count: u16 ‖ (length: u32 ‖ signed document)*`, numbers big-endian, documents in their canonical encoding.
//! Nothing is believed because of who brings it: every document is verified by itself.

use std::{io, sync::Arc, time::Duration};

use demarche_protocol::{
    codec::{self, CodecError, Wire as _},
    document::SignedDocument,
};
use futures::future::BoxFuture;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::timeout,
};

use crate::{
    defaults::{EXCHANGE_DOCUMENTS, ROSTER_BYTES, ROSTER_TIME},
    transport::NodeId,
};

/// What a node tells of its rosters, and where it keeps what it is told.
pub(crate) trait Rosters: Send + Sync {
    /// The documents of every channel that this node belongs to; for a stranger our own card alone, and if it has brought a card of its
    /// own that speaks no more, what says so.
    fn for_node(&self, node: NodeId, brought: &[SignedDocument]) -> Vec<SignedDocument>;

    /// Verifies the documents and keeps what is news. Resolves when that is durable.
    fn take_in(&self, documents: Vec<SignedDocument>) -> BoxFuture<'static, ()>;
}

/// Why an exchange came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    /// The stream failed.
    #[error("the stream failed: {0}")]
    Io(#[from] io::Error),
    /// More than an exchange may carry; refused on its announcement.
    #[error("more documents or bytes than a roster exchange may carry")]
    TooMuch,
    /// Not a document.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// It took too long.
    #[error("it took longer than {} s", ROSTER_TIME.as_secs())]
    Time,
}

/// The opener's part: sends ours, gives theirs.
pub(crate) async fn ask<S>(stream: S, ours: &[SignedDocument]) -> Result<Vec<SignedDocument>, ExchangeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let work = async {
        let mut stream = stream;
        write(&mut stream, ours).await?;
        let theirs = read(&mut stream).await?;
        stream.shutdown().await?;
        Ok(theirs)
    };
    timeout(ROSTER_TIME, work).await.unwrap_or(Err(ExchangeError::Time))
}

/// The other part: reads theirs, takes them in, and then tells what `node` may know, which may be more than before.
pub(crate) async fn answer<S>(
    stream: S,
    node: NodeId,
    rosters: &Arc<dyn Rosters>,
) -> Result<(), ExchangeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    answer_within(ROSTER_TIME, stream, node, rosters).await
}

async fn answer_within<S>(
    time: Duration,
    stream: S,
    node: NodeId,
    rosters: &Arc<dyn Rosters>,
) -> Result<(), ExchangeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let work = async {
        let mut stream = stream;
        let theirs = read(&mut stream).await?;
        rosters.take_in(theirs.clone()).await;
        write(&mut stream, &rosters.for_node(node, &theirs)).await?;
        // Until the other side has closed, so that what was written is not cut off with the stream.
        let _ = stream.read(&mut [0]).await;
        Ok(())
    };
    timeout(time, work).await.unwrap_or(Err(ExchangeError::Time))
}

async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    documents: &[SignedDocument],
) -> Result<(), ExchangeError> {
    let mut body = Vec::new();
    let mut count = 0_u16;
    for document in documents.iter().take(EXCHANGE_DOCUMENTS) {
        let bytes = codec::encode(document);
        // What does not fit is brought by somebody else, or inside a session.
        if body.len() + 4 + bytes.len() > ROSTER_BYTES {
            break;
        }
        count += 1;
        body.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        body.extend_from_slice(&bytes);
    }
    stream.write_all(&[&count.to_be_bytes(), body.as_slice()].concat()).await?;
    stream.flush().await?;
    Ok(())
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Vec<SignedDocument>, ExchangeError> {
    let count = usize::from(stream.read_u16().await?);
    if count > EXCHANGE_DOCUMENTS {
        return Err(ExchangeError::TooMuch);
    }
    let mut documents = Vec::new();
    let mut total = 0;
    for _ in 0..count {
        let length = usize::try_from(stream.read_u32().await?).unwrap_or(usize::MAX);
        total += 4 + length.min(ROSTER_BYTES);
        if length > SignedDocument::LIMIT || total > ROSTER_BYTES {
            return Err(ExchangeError::TooMuch);
        }
        let mut bytes = vec![0; length];
        stream.read_exact(&mut bytes).await?;
        documents.push(codec::decode(&bytes)?);
    }
    Ok(documents)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use demarche_protocol::labels::Namespace;
    use futures::FutureExt as _;
    use tokio::io::duplex;

    use super::*;

    #[derive(Default)]
    struct Kept(Arc<Mutex<Vec<SignedDocument>>>);

    impl Rosters for Kept {
        fn for_node(&self, _: NodeId, _: &[SignedDocument]) -> Vec<SignedDocument> {
            self.0.lock().unwrap().iter().cloned().chain([document(99)]).collect()
        }

        fn take_in(&self, documents: Vec<SignedDocument>) -> BoxFuture<'static, ()> {
            self.0.lock().unwrap().extend(documents);
            async {}.boxed()
        }
    }

    fn document(n: usize) -> SignedDocument {
        SignedDocument::unsigned(format!("document {n} {}", "x".repeat(2000)))
    }

    #[tokio::test]
    async fn each_side_learns_what_the_other_tells() {
        let rosters: Arc<dyn Rosters> = Arc::new(Kept::default());
        let (a, b) = duplex(1 << 16);
        let ours = [document(1), document(2)];
        let answering = Arc::clone(&rosters);
        let node = NodeId::from_bytes([1; 32]);
        let other = tokio::spawn(async move { answer(b, node, &answering).await });
        let theirs = ask(a, &ours).await.unwrap();
        assert_eq!(
            theirs,
            [document(1), document(2), document(99)],
            "what was brought counts for the answer"
        );
        other.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn b1_what_is_announced_beyond_the_bounds_is_refused_before_it_is_read() {
        for announced in [
            vec![0xff, 0xff],
            [&[0, 1][..], &u32::MAX.to_be_bytes()].concat(),
            [&[0, 1][..], &70_000_u32.to_be_bytes()].concat(),
        ] {
            let (mut a, mut b) = duplex(1 << 10);
            a.write_all(&announced).await.unwrap();
            assert!(matches!(read(&mut b).await, Err(ExchangeError::TooMuch)), "{announced:?}");
        }
        let (mut a, mut b) = duplex(1 << 10);
        a.write_all(&[0, 1, 0, 0, 0, 3, 1, 2, 3]).await.unwrap();
        assert!(matches!(read(&mut b).await, Err(ExchangeError::Codec(_))));
    }

    /// K11: a stranger's message, cut or changed anywhere, is refused or says other documents in the one way to say them.
    #[tokio::test]
    async fn k11_a_mangled_message_is_refused_or_another_in_its_one_encoding() {
        let key = demarche_testkit::fixtures::key("a root");
        let signed = SignedDocument::unsigned("signed").signed_by(Namespace::Card, &key);
        let mut message = Vec::new();
        write(&mut message, &[SignedDocument::unsigned("short"), signed]).await.unwrap();
        let mut accepted = 0;
        for at in 0..message.len() {
            let cut = read(&mut &message[..at]).await;
            assert!(matches!(cut, Err(ExchangeError::Io(_))), "cut at {at}: {cut:?}");
            for new in [0, 1, 0x7f, 0x80, 0xfa, 0xfb, 0xff, message[at] ^ 1] {
                let mut mangled = message.clone();
                mangled[at] = new;
                let mut rest = mangled.as_slice();
                if let Ok(documents) = read(&mut rest).await {
                    let mut again = Vec::new();
                    write(&mut again, &documents).await.unwrap();
                    assert_eq!([&again, rest].concat(), mangled, "byte {at} is {new}");
                    accepted += 1;
                }
            }
        }
        assert!(accepted > message.len(), "only {accepted} were accepted: it shows nothing");
    }

    /// M23: one that says nothing, or dribbles, is gone after the time an exchange may take.
    #[tokio::test]
    async fn m23_a_slow_stranger_is_cut_off() {
        let rosters: Arc<dyn Rosters> = Arc::new(Kept::default());
        let (_a, b) = duplex(1 << 10);
        let ended = answer_within(Duration::from_millis(20), b, NodeId::from_bytes([1; 32]), &rosters).await;
        assert!(matches!(ended, Err(ExchangeError::Time)));
    }

    #[tokio::test]
    async fn more_than_fits_is_left_out_rather_than_sent_in_vain() {
        let many: Vec<_> = (0..1000).map(document).collect();
        let (mut a, mut b) = duplex(1 << 20);
        write(&mut a, &many).await.unwrap();
        assert!(read(&mut b).await.unwrap().len() <= EXCHANGE_DOCUMENTS);
    }
}
