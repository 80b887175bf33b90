//! `demarche send`: a dispatch that was signed before, by a command that failed or on another machine. The node gives
//! the same serial however often it comes.

use std::path::{Path, PathBuf};

use clap::Args;
use demarche_control::{SignedFile, SignedFileError, layout, types::Sent};
use demarche_protocol::{
    dispatch::Dispatch,
    document::{DocumentType, SignedDocument},
    identity::keys::KeySignature,
    labels::Namespace,
};

use crate::{
    args::Globals,
    compose,
    error::{Result, chain, failed, refused, unverified},
    exit::Exit,
    files,
    outbox::Outgoing,
    shell,
    station::Station,
    wait::{self, Followed, Waiting},
    world::World,
};

/// Send a signed file.
#[derive(Args, Debug)]
pub struct Send {
    /// What a failed command kept, or the text of a dispatch with its signatures beside it (FILE.sig, FILE.2.sig, …).
    pub file: PathBuf,
    /// A signature on the text, as `ssh-keygen -Y sign -n dispatch@demarche.v1` made it.
    #[arg(long, value_name = "FILE.sig")]
    pub signature: Vec<PathBuf>,
    /// How long to stay with it.
    #[command(flatten)]
    pub waiting: Waiting,
}

pub(super) async fn run(command: Send, globals: &Globals, world: &mut World) -> Result<Exit> {
    let document = read(&command)?;
    let dispatch = checked(&document, &command.file)?;
    let station = Station::of(globals, &world.env)?;
    let file = SignedFile::of(&document).map_err(|why| failed(chain(&why)))?;
    let channel = dispatch.channel.to_string();
    let sent = Outgoing::of_file(file, &command.file, &globals.invocation)
        .post(&station.client, &channel, world)
        .await?;
    let pin = station.pin(Some(&channel)).await.ok();
    let followed = Followed {
        client: &station.client,
        channel: dispatch.channel,
        sent: &sent,
        charter: pin.as_ref().map(|pin| &*pin.charter),
        waiting: &command.waiting,
        interrupts: &world.interrupts,
    };
    let (state, exit) = wait::follow(&followed, &mut world.screen).await?;
    world.screen.json(&Sent { state, ..sent });
    Ok(exit)
}

fn read(command: &Send) -> Result<SignedDocument> {
    let path = &command.file;
    let name = path.display().to_string();
    let text = text_of(path)?;
    if let Some(kind) = DocumentType::of(&text) {
        refuse_other(kind, path)?;
    }
    if text.trim_start().starts_with('{') {
        let file = SignedFile::from_json(&text).map_err(|why| files::malformed(path, &chain(&why)))?;
        match DocumentType::of(&file.text) {
            Some(kind) => refuse_other(kind, path)?,
            None => return Err(files::malformed(path, &SignedFileError::NoType)),
        }
        let document = file.document().map_err(|why| unverified(format!("{name}: {}", chain(&why))))?;
        return with_signatures(document, &command.signature);
    }
    let mut signatures = command.signature.clone();
    if signatures.is_empty() {
        let beside = (1..).map(|number| layout::signature_file(path, number));
        signatures = beside.take_while(|path| path.is_file()).collect();
    }
    with_signatures(SignedDocument::unsigned(text), &signatures)
}

fn with_signatures(document: SignedDocument, signatures: &[PathBuf]) -> Result<SignedDocument> {
    signatures.iter().try_fold(document, |document, path| {
        let armoured = text_of(path)?;
        let signature = KeySignature::from_armoured(&armoured, Namespace::Dispatch);
        let signature = signature.map_err(|why| {
            unverified(format!("{}: {}", path.display(), chain(&why)))
                .help(format!("ssh-keygen -Y sign -n {} -f officer.key FILE", Namespace::Dispatch))
        })?;
        Ok(document.with_signature(signature))
    })
}

fn text_of(path: &Path) -> Result<String> {
    let bytes = files::read(path, layout::SIGNED_FILE)?;
    compose::decode(bytes, &path.display().to_string())
}

/// What is no dispatch is not sent, whoever has signed it.
fn refuse_other(kind: DocumentType, path: &Path) -> Result<()> {
    if kind == DocumentType::Dispatch {
        return Ok(());
    }
    Err(refused(format!("{} is a {kind}, not a dispatch", path.display()))
        .help(format!("it is installed: demarche install {} --data DIR", shell::path(path))))
}

/// A dispatch whose signatures are all good: a node would refuse anything else.
fn checked(document: &SignedDocument, path: &Path) -> Result<Dispatch> {
    let name = path.display();
    let dispatch = Dispatch::parse(document.text()).map_err(|why| files::malformed(path, &why))?;
    if document.signatures().is_empty() {
        return Err(refused(format!("{name} is not signed")).help(format!(
            "ssh-keygen -Y sign -n {} -f officer.key {}",
            Namespace::Dispatch,
            shell::path(path)
        )));
    }
    for signature in document.signatures() {
        signature.verify(Namespace::Dispatch, document.text().as_bytes()).map_err(|_| {
            unverified(format!("{name}: the signature by {} does not fit this text", signature.key.fingerprint()))
                .help("the text was changed after it was signed, or the signature belongs to another one: sign it again")
        })?;
    }
    Ok(dispatch)
}
