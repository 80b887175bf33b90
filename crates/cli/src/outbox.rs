//! From a signed document to the node's log: post it, and after any failure keep it as a file that `demarche send`
//! takes as often as one likes.

use std::path::{Path, PathBuf};

use demarche_control::{Client, ClientError, Code, SignedFile, layout, types::Sent};
use demarche_protocol::document::SignedDocument;

use crate::{
    error::{Failure, Result, failed},
    screen::Screen,
};

/// A signed document on its way, and where to keep it if it does not get there.
pub struct Outgoing {
    /// What is sent.
    pub file: SignedFile,
    /// What it is called when it is kept: `demarche-breach-1a2b3c4d.json`.
    pub name: String,
    /// Where it is kept; `None` when it lies in a file already.
    pub keep_in: Option<PathBuf>,
    /// The file it lies in already.
    pub lies_in: Option<PathBuf>,
}

impl Outgoing {
    /// A document that was signed just now.
    pub fn new(document: &SignedDocument, kind: &str, keep_in: &Path) -> Result<Self> {
        let file = SignedFile::of(document).map_err(|why| failed(crate::error::chain(&why)))?;
        let name = format!("demarche-{kind}-{}.json", document.id().short());
        Ok(Self { file, name, keep_in: Some(keep_in.to_owned()), lies_in: None })
    }

    /// A document that lies in a file.
    pub fn of_file(file: SignedFile, path: &Path) -> Self {
        Self { file, name: String::new(), keep_in: None, lies_in: Some(path.to_owned()) }
    }

    /// Posts it. Whatever fails, the signed file is there afterwards and the failure ends with how to send it.
    pub async fn post(&self, client: &Client, channel: &str, screen: &mut Screen) -> Result<Sent> {
        let posted = tokio::select! {
            posted = client.send(channel, &self.file) => posted,
            _ = tokio::signal::ctrl_c() => {
                return Err(self.kept(failed("interrupted before the node answered"), screen));
            }
        };
        posted.map_err(|error| {
            let unknown = error.outcome_unknown()
                || matches!(&error, ClientError::Problem(problem) if problem.code == Code::OutcomeUnknown);
            let failure = Failure::from(error);
            let failure = if unknown {
                failure.line("it may be recorded all the same; sending the same file again is safe")
            } else {
                failure
            };
            self.kept(failure, screen)
        })
    }

    /// Keeps the signed file and says where.
    pub fn kept(&self, mut failure: Failure, screen: &mut Screen) -> Failure {
        if let Some(path) = &self.lies_in {
            failure.kept = Some(path.clone());
            return failure.help(send_command(path));
        }
        match self.keep() {
            Ok(path) => {
                let command = send_command(&path);
                failure.lines.push(format!("nothing is lost: it is signed and kept in {}", path.display()));
                failure.kept = Some(path);
                failure.help(command)
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

    /// Keeps the signed file, readable by its owner alone.
    pub fn keep(&self) -> std::io::Result<PathBuf> {
        let directory = self.keep_in.clone().unwrap_or_else(|| PathBuf::from("."));
        let json = self.file.to_json();
        let path = directory.join(&self.name);
        match layout::write(&path, json.as_bytes(), layout::PRIVATE) {
            Ok(()) => Ok(path),
            Err(first) => {
                let elsewhere = std::env::temp_dir().join(&self.name);
                layout::write(&elsewhere, json.as_bytes(), layout::PRIVATE)
                    .map(|()| elsewhere)
                    .map_err(|_| first)
            }
        }
    }
}

/// The command that sends a kept file.
pub fn send_command(path: &Path) -> String {
    format!("demarche send {}", quoted(path))
}

/// A path as a shell takes it.
pub fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// Keeps a text that was typed or piped in and did not come to be signed.
pub fn keep_text(failure: Failure, bytes: &[u8], directory: &Path, command: &str) -> Failure {
    if failure.kept.is_some() || bytes.is_empty() {
        return failure;
    }
    let id = demarche_protocol::hash::DocumentId::of(bytes);
    let path = directory.join(format!("demarche-text-{}.txt", id.short()));
    match layout::write(&path, bytes, layout::PRIVATE) {
        Ok(()) => {
            let failure = failure
                .line(format!("nothing is lost: your text, not signed yet, is kept in {}", path.display()))
                .help(format!("then {command} < {}", quoted(&path)));
            Failure { kept: Some(path), ..failure }
        }
        Err(why) => failure.line(format!("your text could not be kept in {}: {why}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_for_the_shell_only_where_needed() {
        assert_eq!(quoted(Path::new("kept/demarche-breach-1a.json")), "kept/demarche-breach-1a.json");
        assert_eq!(quoted(Path::new("my files/it's")), r"'my files/it'\''s'");
    }

    #[test]
    fn a_signed_file_that_cannot_be_kept_where_it_should_is_kept_elsewhere() {
        let document = SignedDocument::unsigned("demarche = \"dispatch/1\"\n");
        let outgoing = Outgoing::new(&document, "breach", Path::new("/nonexistent")).unwrap();
        let path = outgoing.keep().unwrap();
        assert!(path.starts_with(std::env::temp_dir()));
        let back = crate::profile::read_signed_file(&path).unwrap();
        assert_eq!(back.document().unwrap().id(), document.id());
        std::fs::remove_file(path).unwrap();
    }
}
