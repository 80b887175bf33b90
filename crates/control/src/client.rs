//! The node's client: one connection for each request over the Unix socket, so nothing is left half-open.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use demarche_protocol::identity::member::MemberId;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Method, Request, Response,
    body::{Bytes, Incoming},
    header::{ACCEPT, CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{net::UnixStream, time::timeout};

use crate::{
    Problem, SignedFile,
    backup::About,
    bookmark::Bookmark,
    events::EventStream,
    types::{
        Alarm, Case, ChannelInfo, Header, Installed, LineTest, LineTestRequest, OfficerInfo, OpenRequest,
        Sent, Shown, Status, TakeRequest,
    },
};

/// How long an answer may take. A commit takes milliseconds; a line test waits for every path, at most ten seconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Longest answer that is read, in bytes: an inbox of 50,000 headers.
const LONGEST: usize = 64 * 1024 * 1024;

/// Why the node gave no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens on the socket. Nothing was sent.
    #[error("the node is not reachable at {}", socket.display())]
    NotReachable {
        /// Where it should listen.
        socket: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The node refused, and says why.
    #[error(transparent)]
    Problem(#[from] Problem),
    /// The connection ended before the answer was whole: the request may or may not have had effect.
    #[error("the connection to the node broke off")]
    Broken(#[source] hyper::Error),
    /// No answer in time: the request may or may not have effect.
    #[error("the node gave no answer within {} s", .0.as_secs())]
    Late(Duration),
    /// The answer is not what this program expects: another version, or not a node.
    #[error("the node's answer is not understood")]
    Answer(#[source] serde_json::Error),
    /// The answer is no text.
    #[error("the node's answer is not text")]
    NotText,
    /// The answer is longer than any honest one.
    #[error("the node's answer is too long")]
    TooLong,
    /// A refusal without the body that says why.
    #[error("the node answered with HTTP status {0}")]
    Status(u16),
    /// The request could not be made.
    #[error("the request could not be made")]
    Request(#[source] hyper::http::Error),
}

impl ClientError {
    /// The exit code of the tool: 3 when the node is not there, the node's own word when it refused, else 1.
    pub fn exit(&self) -> u8 {
        match self {
            Self::NotReachable { .. } | Self::Broken(_) | Self::Late(_) => 3,
            Self::Problem(problem) => problem.exit,
            _ => 1,
        }
    }

    /// Whether the request may have had effect although no answer came.
    pub const fn outcome_unknown(&self) -> bool {
        matches!(self, Self::Broken(_) | Self::Late(_) | Self::Answer(_) | Self::NotText | Self::TooLong)
    }
}

/// A node's client.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// The client of the node that listens on `socket`. Connects when asked something.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// Where the node listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// How the node is.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.get("/v1/status").await
    }

    /// Its channels.
    pub async fn channels(&self) -> Result<Vec<ChannelInfo>, ClientError> {
        self.get("/v1/channels").await
    }

    /// A channel's charter. `channel` is a local name or the hash.
    pub async fn charter(&self, channel: &str) -> Result<SignedFile, ClientError> {
        self.get(&in_channel(channel, "charter")).await
    }

    /// The officers that a channel knows.
    pub async fn officers(&self, channel: &str) -> Result<Vec<OfficerInfo>, ClientError> {
        self.get(&in_channel(channel, "officers")).await
    }

    /// Enters a signed dispatch. Posting it again gives the same serial.
    pub async fn send(&self, channel: &str, document: &SignedFile) -> Result<Sent, ClientError> {
        self.post(&in_channel(channel, "documents"), document).await
    }

    /// Headers of all dispatches, others' and own, in the order in which they became durable here. With `all` also
    /// those of no effect.
    pub async fn inbox(&self, channel: &str, all: bool) -> Result<Vec<Header>, ClientError> {
        let path = in_channel(channel, "inbox");
        self.get(&if all { path + "?all=true" } else { path }).await
    }

    /// Headers of what calls somebody here: others' dispatches of IMMEDIATE and above, acknowledgements excepted, that
    /// nobody here has opened yet. An older node answers with the whole inbox.
    pub async fn urgent(&self, channel: &str) -> Result<Vec<Header>, ClientError> {
        self.get(&(in_channel(channel, "inbox") + "?urgent=true")).await
    }

    /// A dispatch whole, without telling anyone. `serial` is `PARTY/SEQ` or a document's hash.
    pub async fn show(&self, channel: &str, serial: &str) -> Result<Shown, ClientError> {
        self.get(&in_channel(channel, &format!("dispatches/{}", escape(serial)))).await
    }

    /// A dispatch whole; the other side is told that it was displayed to this officer.
    pub async fn open(
        &self,
        channel: &str,
        serial: &str,
        officer: &OpenRequest,
    ) -> Result<Shown, ClientError> {
        self.post(&in_channel(channel, &format!("dispatches/{}/open", escape(serial))), officer).await
    }

    /// The channel's cases.
    pub async fn cases(&self, channel: &str) -> Result<Vec<Case>, ClientError> {
        self.get(&in_channel(channel, "cases")).await
    }

    /// Asks every path to one peer, or to all, for a signed answer.
    pub async fn line_test(
        &self,
        channel: &str,
        peer: Option<MemberId>,
    ) -> Result<Vec<LineTest>, ClientError> {
        self.post(&in_channel(channel, "line-test"), &LineTestRequest { peer }).await
    }

    /// Its alarms, those that stand first, the gravest at the head; then the last that are over.
    pub async fn alarms(&self) -> Result<Vec<Alarm>, ClientError> {
        self.get("/v1/alarms").await
    }

    /// Takes alarms by name: they stand, and call nobody any more. Answers when that is durable, with them.
    pub async fn take_alarms(&self, request: &TakeRequest) -> Result<Vec<Alarm>, ClientError> {
        self.post("/v1/alarms/take", request).await
    }

    /// Has the node take in now what lies in its `incoming/` directories.
    pub async fn install(&self) -> Result<Vec<Installed>, ClientError> {
        self.post("/v1/install", &()).await
    }

    /// What a backup made now would be: whose, and how far it reaches. For the node's own account.
    pub async fn backup(&self) -> Result<About, ClientError> {
        self.get("/v1/backup").await
    }

    /// The next segment of the journal behind a record, up to another; empty behind that one. See [`crate::backup`].
    pub async fn backup_segment(&self, after: u64, until: u64) -> Result<Bytes, ClientError> {
        let path = format!("/v1/backup/journal?after={after}&until={until}");
        self.whole(request(Method::GET, &path, Bytes::new())?).await
    }

    /// The feed: all durable events behind `after`, then those to come. Without `after` only those to come. When what stood there is
    /// not in the node's store any more, it begins with an event that says so, and then anew.
    pub async fn events(&self, after: Option<Bookmark>) -> Result<EventStream, ClientError> {
        let path = after.map_or("/v1/events".to_owned(), |after| format!("/v1/events?after={after}"));
        let request = request(Method::GET, &path, Bytes::new())?;
        let answer = timeout(ANSWER_WITHIN, self.ask(request)).await;
        let answer = answer.map_err(|_| ClientError::Late(ANSWER_WITHIN))??;
        if answer.status().is_success() {
            Ok(EventStream::new(answer.into_body(), after))
        } else {
            Err(refusal(answer).await)
        }
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.exchange(request(Method::GET, path, Bytes::new())?).await
    }

    async fn post<B: Serialize, T: DeserializeOwned>(&self, path: &str, body: &B) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(ClientError::Answer)?;
        self.exchange(request(Method::POST, path, body.into())?).await
    }

    async fn exchange<T: DeserializeOwned>(&self, request: Request<Full<Bytes>>) -> Result<T, ClientError> {
        serde_json::from_slice(&self.whole(request).await?).map_err(ClientError::Answer)
    }

    async fn whole(&self, request: Request<Full<Bytes>>) -> Result<Bytes, ClientError> {
        let whole = async {
            let answer = self.ask(request).await?;
            if answer.status().is_success() {
                collect(answer.into_body()).await
            } else {
                Err(refusal(answer).await)
            }
        };
        timeout(ANSWER_WITHIN, whole).await.map_err(|_| ClientError::Late(ANSWER_WITHIN))?
    }

    async fn ask(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, ClientError> {
        let absent = |source| ClientError::NotReachable { socket: self.socket.clone(), source };
        let stream = UnixStream::connect(&self.socket).await.map_err(absent)?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(ClientError::Broken)?;
        // Ends by itself when the answer's body is read or dropped; errors reach the caller through the body.
        tokio::spawn(connection);
        sender.send_request(request).await.map_err(ClientError::Broken)
    }
}

fn request(method: Method, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>, ClientError> {
    let request = Request::builder().method(method).uri(path).header(HOST, "demarche");
    let request = request.header(ACCEPT, "application/json, text/event-stream");
    let request = request.header(CONTENT_TYPE, "application/json");
    request.body(Full::new(body)).map_err(ClientError::Request)
}

async fn collect(body: Incoming) -> Result<Bytes, ClientError> {
    let collected = Limited::new(body, LONGEST).collect().await;
    collected.map(http_body_util::Collected::to_bytes).map_err(|error| {
        match error.downcast::<hyper::Error>() {
            Ok(broken) => ClientError::Broken(*broken),
            Err(_) => ClientError::TooLong,
        }
    })
}

async fn refusal(answer: Response<Incoming>) -> ClientError {
    let status = answer.status().as_u16();
    match collect(answer.into_body()).await {
        Ok(bytes) => serde_json::from_slice(&bytes).map_or(ClientError::Status(status), ClientError::Problem),
        Err(error) => error,
    }
}

fn in_channel(channel: &str, rest: &str) -> String {
    format!("/v1/channels/{}/{rest}", escape(channel))
}

/// Percent-encodes everything but RFC 3986's unreserved characters.
fn escape(part: &str) -> String {
    use std::fmt::Write as _;
    part.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing into a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

#[cfg(test)]
mod tests;
