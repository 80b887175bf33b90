//! From a signed document to the node's log: it is kept as a file, posted, and the file removed when the node has it. After
//! any failure the file is there, and `demarche send` takes it as often as one likes.

use std::path::{Path, PathBuf};

use demarche_control::{Client, ClientError, Code, SignedFile, layout, types::Sent};
use demarche_protocol::document::SignedDocument;

use crate::{
    error::{Failure, Result, failed},
    invocation::Invocation,
    screen::Screen,
    shell,
    world::World,
};

/// A signed document on its way, and where to keep it if it does not get there.
pub struct Outgoing {
    file: SignedFile,
    /// What it is called when it is kept: `demarche-breach-1a2b3c4d.json`.
    name: String,
    /// Where it is kept.
    keep_in: PathBuf,
    /// How it is sent from there.
    send: Invocation,
    /// The file it lies in.
    lies_in: Option<PathBuf>,
    /// Whether that is the officer's own, and stays when the node has it.
    stays: bool,
}

impl Outgoing {
    /// A document that was signed just now by this command.
    pub fn new(document: &SignedDocument, kind: &str, keep_in: &Path, typed: &Invocation) -> Result<Self> {
        // It is signed, and says which channel it is for: what is left to say is where the node is, and how long to stay.
        let send = typed.turned("send").without(&["key", "passphrase_file", "channel", "json"]);
        let file = SignedFile::of(document).map_err(|why| failed(crate::error::chain(&why)))?;
        let name = format!("demarche-{kind}-{}.json", document.id().short());
        Ok(Self { file, name, keep_in: keep_in.to_owned(), send, lies_in: None, stays: false })
    }

    /// A document that lies in a file, to be sent by the same command again.
    pub fn of_file(file: SignedFile, path: &Path, typed: &Invocation) -> Self {
        let (keep_in, lies_in) = (PathBuf::from("."), Some(path.to_owned()));
        Self { file, name: String::new(), keep_in, send: typed.clone(), lies_in, stays: true }
    }

    /// Posts it. It lies in a file from before the first byte goes out until the node has answered that it is recorded:
    /// whatever ends this process in between, and whatever fails, it is there, and the failure ends with how to send it.
    pub async fn post(&mut self, client: &Client, channel: &str, world: &mut World) -> Result<Sent> {
        world.interrupts.heed();
        // A disk that takes nothing is no reason not to send; if that fails too, the last resort is the screen.
        let _ = self.keep();
        let posting = async {
            client.send(channel, &self.file).await.map_err(|error| {
                let unknown = error.outcome_unknown()
                    || matches!(&error, ClientError::Problem(problem) if problem.code == Code::OutcomeUnknown);
                (Failure::from(error), unknown)
            })
        };
        let posted = tokio::select! {
            biased;
            ending = world.interrupts.caught() => {
                let failure = Failure::from(ending).line("the node had not answered yet");
                Err((failure, true))
            }
            posted = posting => posted,
        };
        match posted {
            Ok(sent) => {
                self.forget(&mut world.screen);
                Ok(sent)
            }
            Err((failure, false)) => Err(self.kept(failure, &mut world.screen)),
            Err((failure, true)) => {
                let failure =
                    failure.line("it may be recorded all the same; sending the same file again is safe");
                Err(self.kept(failure, &mut world.screen))
            }
        }
    }

    /// Keeps the signed file and says where.
    fn kept(&mut self, mut failure: Failure, screen: &mut Screen) -> Failure {
        match self.keep() {
            Ok(path) => {
                if !self.stays {
                    let line = format!("nothing is lost: it is signed and kept in {}", path.display());
                    failure.lines.push(line);
                }
                failure.kept = Some(path.clone());
                failure.help(self.send_command(&path))
            }
            Err(why) => {
                // The last resort: what was signed stays on the screen.
                screen.note("the signed file could not be kept, so here it is; put it in a file:");
                for line in self.file.to_json().lines() {
                    screen.note(line);
                }
                failure.line(format!("it could not be kept as a file: {why}")).help("demarche send FILE")
            }
        }
    }

    /// Keeps the signed file durably, readable by its owner alone, unless it lies in one already; gives where.
    pub fn keep(&mut self) -> std::io::Result<PathBuf> {
        if let Some(path) = &self.lies_in {
            return Ok(path.clone());
        }
        let json = self.file.to_json();
        let write = |directory: &Path| {
            let path = directory.join(&self.name);
            layout::write(&path, json.as_bytes(), layout::PRIVATE).map(|()| path)
        };
        let path = write(&self.keep_in).or_else(|first| write(&std::env::temp_dir()).map_err(|_| first))?;
        self.lies_in = Some(path.clone());
        Ok(path)
    }

    /// The command that sends what was kept there.
    pub fn send_command(&self, path: &Path) -> String {
        let mut send = self.send.clone();
        send.set("file", path);
        send.line(None)
    }

    /// Removes what was kept only for the time of sending.
    fn forget(&mut self, screen: &mut Screen) {
        if self.stays {
            return;
        }
        if let Some(path) = self.lies_in.take()
            && let Err(why) = layout::remove(&path)
        {
            screen.note(format!("{} is recorded and could not be removed: {why}", path.display()));
        }
    }
}

/// Keeps a text that was typed or piped in and did not come to be signed, and gives back the line that it was for.
pub fn keep_text(failure: Failure, bytes: &[u8], directory: &Path, typed: &Invocation) -> Failure {
    if failure.kept.is_some() || bytes.is_empty() {
        return failure;
    }
    let id = demarche_protocol::hash::DocumentId::of(bytes);
    let path = directory.join(format!("demarche-text-{}.txt", id.short()));
    match layout::write(&path, bytes, layout::PRIVATE) {
        Ok(()) => {
            let then = format!("then {} < {}", typed.line(failure.wrong), shell::path(&path));
            let failure = failure
                .line(format!("nothing is lost: your text, not signed yet, is kept in {}", path.display()))
                .help(then);
            Failure { kept: Some(path), ..failure }
        }
        Err(why) => failure.line(format!("your text could not be kept in {}: {why}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signed_file_that_cannot_be_kept_where_it_should_is_kept_elsewhere() {
        let document = SignedDocument::unsigned("demarche = \"dispatch/1\"\n");
        let mut outgoing =
            Outgoing::new(&document, "breach", Path::new("/nonexistent"), &Invocation::default()).unwrap();
        let path = outgoing.keep().unwrap();
        assert!(path.starts_with(std::env::temp_dir()));
        let back = crate::profile::read_signed_file(&path).unwrap();
        assert_eq!(back.document().unwrap().id(), document.id());
        std::fs::remove_file(path).unwrap();
    }
}
