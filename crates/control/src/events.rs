//! The node's feed: server-sent events (WHATWG HTML, "Server-sent events"), read from the response as it comes.
//!
//! The node opens the feed with the place where it begins as an event without data (`id: 41-9f3ac01d22ab34ef`, empty line), so that
//! a reader who has seen nothing yet can resume as well; and sends a comment at least every 15 seconds, so that silence means
//! that it is gone. An `id:` line stands with the last event that one record of the node tells, so that whoever is cut off
//! between two of them hears some of it twice rather than some of it never.

use std::{collections::VecDeque, time::Duration};

use http_body_util::BodyExt as _;
use hyper::body::{Bytes, Incoming};
use tokio::time::timeout;

use crate::{bookmark::Bookmark, client::ClientError, types::Event};

/// A feed on which nothing comes for so long, not even a comment, is dead: three comments were missed.
const SILENCE: Duration = Duration::from_secs(45);
/// Longest event the tool takes, in bytes: a header with evidence is about 2 KiB; beyond this the node is broken.
const LONGEST: usize = 256 * 1024;

/// Events as they come. Ends with `None` when the node closes the feed; then ask again with
/// `after` = [`EventStream::last`].
pub struct EventStream {
    body: Incoming,
    parser: Parser,
    /// With the place to resume behind, once it is handed out.
    ready: VecDeque<(Event, Option<Bookmark>)>,
    last: Option<Bookmark>,
}

impl EventStream {
    pub(crate) fn new(body: Incoming, after: Option<Bookmark>) -> Self {
        Self { body, parser: Parser::default(), ready: VecDeque::new(), last: after }
    }

    /// The next event. Nothing is lost when the returned future is dropped before it is ready.
    pub async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            if let Some((event, place)) = self.ready.pop_front() {
                self.last = place.or(self.last);
                return Ok(Some(event));
            }
            let frame = timeout(SILENCE, self.body.frame()).await.map_err(|_| ClientError::Late(SILENCE))?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(ClientError::Broken)?;
            if let Ok(bytes) = frame.into_data() {
                self.take(&bytes)?;
            }
        }
    }

    /// The place of the last durable event handed out, to resume behind.
    pub const fn last(&self) -> Option<Bookmark> {
        self.last
    }

    fn take(&mut self, bytes: &Bytes) -> Result<(), ClientError> {
        for Data { text, id } in self.parser.push(bytes)? {
            let event = serde_json::from_str(&text).map_err(ClientError::Answer)?;
            self.ready.push_back((event, id));
        }
        if self.last.is_none() && self.ready.is_empty() {
            self.last = self.parser.id;
        }
        Ok(())
    }
}

/// One event's data, and the newest place that stood before its end.
struct Data {
    text: String,
    id: Option<Bookmark>,
}

/// Takes the lines apart. Comments only keep alive.
#[derive(Default)]
struct Parser {
    id: Option<Bookmark>,
    line: Vec<u8>,
    data: Option<String>,
}

impl Parser {
    fn push(&mut self, bytes: &[u8]) -> Result<Vec<Data>, ClientError> {
        let mut done = Vec::new();
        for byte in bytes {
            match byte {
                b'\n' => {
                    let line = std::mem::take(&mut self.line);
                    done.extend(self.take_line(&line)?);
                }
                b'\r' => {}
                byte => self.line.push(*byte),
            }
            if self.line.len() + self.data.as_ref().map_or(0, String::len) > LONGEST {
                return Err(ClientError::TooLong);
            }
        }
        Ok(done)
    }

    fn take_line(&mut self, line: &[u8]) -> Result<Option<Data>, ClientError> {
        if line.is_empty() {
            return Ok(self.data.take().map(|text| Data { text, id: self.id }));
        }
        if let Some(id) = line.strip_prefix(b"id:") {
            self.id = str::from_utf8(id).ok().and_then(|id| id.trim().parse().ok()).or(self.id);
        }
        let Some(value) = line.strip_prefix(b"data:") else { return Ok(None) };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        let value = str::from_utf8(value).map_err(|_| ClientError::NotText)?;
        let data = self.data.get_or_insert_default();
        if !data.is_empty() {
            data.push('\n');
        }
        data.push_str(value);
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_found_however_the_bytes_are_cut() {
        let feed = b": hello\n\nid: 4\ndata: {\"a\":\ndata: 1}\n\nevent: x\r\ndata:two\r\n\r\n";
        for cut in 1..feed.len() {
            let mut parser = Parser::default();
            let found: Vec<String> = feed
                .chunks(cut)
                .flat_map(|chunk| parser.push(chunk).unwrap())
                .map(|data| data.text)
                .collect();
            assert_eq!(found, ["{\"a\":\n1}", "two"], "cut every {cut} bytes");
        }
    }

    #[test]
    fn a_place_without_data_says_where_the_feed_stands() {
        let mut parser = Parser::default();
        assert!(parser.push(b"id: 41-00000000000000ff\n\n").unwrap().is_empty());
        assert_eq!(parser.id, Some(Bookmark { index: 41, seal: Some(255) }));
    }

    #[test]
    fn an_endless_line_is_refused_and_not_kept() {
        let mut parser = Parser::default();
        let chunk = vec![b'x'; 64 * 1024];
        let refused = (0..8).find_map(|_| parser.push(&chunk).err());
        assert!(matches!(refused, Some(ClientError::TooLong)));
    }

    #[test]
    fn a_feed_that_is_not_text_is_refused() {
        assert!(matches!(Parser::default().push(b"data: \xff\n"), Err(ClientError::NotText)));
    }
}
