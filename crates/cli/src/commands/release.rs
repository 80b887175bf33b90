//! What all commands that sign share: text in, duty checked, changes told, signed, posted, followed.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use demarche_control::{
    ClientError, Code,
    types::{OfficerState, Sent, Shown},
};
use demarche_protocol::{
    dispatch::{Content, Dispatch, Nature, Precedence},
    hash::DocumentId,
    identity::{
        keys::{PublicKey, SecretKey},
        officer::Duty,
    },
    labels::Namespace,
    limits,
};
use tokio::time::timeout;

use crate::{
    args::{Globals, Sending},
    compose::{self, Tidied},
    error::{Failure, Result, refused},
    exit::Exit,
    files,
    invocation::Invocation,
    original::{self, Original},
    outbox::{Outgoing, keep_text},
    reference::Reference,
    station::{Pin, Source, Station},
    wait::{self, Followed},
    world::World,
};

/// Longest input that is read as a text, in bytes: enough to keep whole what is far too long to send.
pub(super) const INPUT: u64 = 4 * 1024 * 1024;
/// How long the node may take over what is only asked to help the officer. It is not waited for before a notice goes out.
pub(super) const ASK_WITHIN: Duration = Duration::from_secs(5);

/// Who signs, where.
pub struct Author {
    /// The node.
    pub station: Station,
    /// The channel.
    pub pin: Pin,
    /// The officer's key.
    pub key: SecretKey,
}

impl Author {
    /// Finds node, channel and key. `channel` is what a serial named.
    pub async fn of(globals: &Globals, world: &mut World, channel: Option<&str>) -> Result<Self> {
        let station = Station::of(globals, &world.env)?;
        let pin = station.pin(channel).await?;
        let key = station.key()?;
        if pin.source == Source::Node {
            world.screen.note(
                "note: the charter is the one that the node gave; pin it once with: demarche profile --channel NAME",
            );
        }
        Ok(Self { station, pin, key })
    }

    /// A dispatch of this author's.
    pub fn dispatch(
        &self,
        world: &World,
        nature: Nature,
        precedence: Precedence,
        content: Content,
    ) -> Dispatch {
        let (channel, party) = (self.pin.channel, self.pin.party.clone());
        Dispatch { channel, party, nature, precedence, written_at: (world.now)(), content }
    }

    /// Fetches what is to be answered, without telling anyone, and verifies it against the pinned charter.
    pub async fn original(&self, reference: &Reference) -> Result<(Shown, Original)> {
        let shown = self.station.client.show(&self.pin.path(), &reference.target.to_string()).await;
        let shown = shown.map_err(|error| {
            let unknown =
                matches!(&error, ClientError::Problem(problem) if problem.code == Code::UnknownSerial);
            let failure = Failure::from(error);
            if unknown { failure.wrong("case") } else { failure }
        })?;
        let original = original::verify(&shown, &reference.target, &self.pin)?;
        Ok((shown, original))
    }

    /// Refuses early what would be void, where the officer's document is known. A node that is away is no hindrance.
    async fn check_duty(&self, duty: Duty, world: &mut World) -> Result<()> {
        let asked = timeout(ASK_WITHIN, self.station.client.officers(&self.pin.path())).await;
        let Ok(Ok(officers)) = asked else { return Ok(()) };
        let key = self.key.public();
        let mine = officers.iter().find(|officer| {
            officer.party == self.pin.party
                && officer.key.parse().is_ok_and(|officers: PublicKey| officers == key)
        });
        let Some(mine) = mine else {
            return Err(refused(format!("{} is no officer's key of {}", key.fingerprint(), self.pin.party))
                .help("demarche officer draft --name NAME --key officer.pub --duties release,acknowledge --out officer.toml"));
        };
        match mine.state {
            OfficerState::Revoked => return Err(refused(format!("the key of {} was revoked", mine.name))),
            OfficerState::Suspended => {
                return Err(refused(format!("{} is suspended until the roots decide", mine.name)));
            }
            OfficerState::Expired => world.screen.note(format!(
                "warning: the document of {} is past its date ({}); it still speaks: have it renewed",
                mine.name,
                crate::when::shown(mine.expires_at)
            )),
            OfficerState::InForce => {}
        }
        if mine.duties.contains(&duty) {
            return Ok(());
        }
        let duties: Vec<&str> = mine.duties.iter().map(|duty| duty.as_str()).collect();
        Err(refused(format!(
            "{} does not have the duty to {duty}, only to {}",
            mine.name,
            duties.join(" and ")
        ))
        .help("have it signed by an officer who has, or ask the roots for another document"))
    }
}

/// What was typed, piped or read from a file, before it is made fit.
pub struct Typed {
    bytes: Vec<u8>,
    name: String,
    /// Lies in a file of the officer's own already.
    in_file: bool,
    /// Why it is not whole.
    cut: Option<Failure>,
}

impl Typed {
    /// From `file`, else from stdin to its end.
    pub async fn read(file: Option<&PathBuf>, world: &mut World) -> Result<Self> {
        if let Some(path) = file {
            let bytes = files::read(path, INPUT)?;
            return Ok(Self { bytes, name: path.display().to_string(), in_file: true, cut: None });
        }
        world.interrupts.heed();
        world.input.begin_typing();
        if world.input.is_terminal() {
            world.screen.note("Text, ended by Ctrl-D on a line of its own:");
        }
        let (bytes, done) = world.input.everything(INPUT, &world.interrupts).await;
        Ok(Self { bytes, name: "the text on stdin".to_owned(), in_file: false, cut: done.err() })
    }

    /// Lines that a person typed in answer to a question.
    pub fn of_lines(text: &str) -> Self {
        Self { bytes: text.as_bytes().to_vec(), name: "the text".to_owned(), in_file: false, cut: None }
    }

    /// The text, mended.
    pub fn tidied(&self) -> Result<Tidied> {
        if let Some(cut) = &self.cut {
            return Err(cut.clone());
        }
        if self.bytes.len() as u64 > INPUT {
            return Err(refused(format!(
                "{} has more than {INPUT} bytes; at most {} are allowed",
                self.name,
                limits::BODY
            )));
        }
        compose::decode(self.bytes.clone(), &self.name).map(|text| compose::tidy(&text))
    }

    /// Keeps what was typed if the command failed before anything was signed.
    pub fn kept_if_failed<T>(&self, result: Result<T>, directory: &Path, typed: &Invocation) -> Result<T> {
        result.map_err(
            |failure| {
                if self.in_file { failure } else { keep_text(failure, &self.bytes, directory, typed) }
            },
        )
    }
}

/// Where kept files go.
pub fn keeping(sending: &Sending, world: &World) -> PathBuf {
    sending.keep_in.clone().unwrap_or_else(|| world.directory.clone())
}

/// Tells what was changed before it is signed.
pub fn tell_changes(changes: &[String], world: &mut World) {
    for change in changes {
        world.screen.note(format!("changed before signing: {change}"));
    }
}

/// Goes on with what was drafted; see [`release`].
pub async fn drafted(
    drafted: Result<(Author, Dispatch)>,
    sending: &Sending,
    world: &mut World,
) -> Result<Exit> {
    let (author, dispatch) = drafted?;
    release(dispatch, &author, sending, world).await
}

/// Checks the duty, signs, posts and follows. From the signature on, every failure leaves the signed file behind.
pub async fn release(
    dispatch: Dispatch,
    author: &Author,
    sending: &Sending,
    world: &mut World,
) -> Result<Exit> {
    let mut outgoing = sign(&dispatch, author, sending, world).await?;
    let pin = &author.pin;
    let sent = outgoing.post(&author.station.client, &pin.path(), world).await?;
    let followed = Followed {
        client: &author.station.client,
        channel: pin.channel,
        sent: &sent,
        charter: Some(&pin.charter),
        waiting: &sending.waiting,
        interrupts: &world.interrupts,
    };
    let (state, exit) = wait::follow(&followed, &mut world.screen).await?;
    world.screen.json(&Sent { state, ..sent });
    Ok(exit)
}

/// Checks the duty and signs.
pub async fn sign(
    dispatch: &Dispatch,
    author: &Author,
    sending: &Sending,
    world: &mut World,
) -> Result<Outgoing> {
    world.interrupts.heed();
    let interrupts = world.interrupts.clone();
    interrupts.or(author.check_duty(dispatch.kind().duty(), world)).await?;
    let document = compose::render(dispatch)?.signed_by(Namespace::Dispatch, &author.key);
    let typed = author.station.invocation();
    Outgoing::new(&document, dispatch.kind().as_str(), &keeping(sending, world), typed)
}

/// The notice of the case that a reference names.
pub fn notice_of(shown: &Shown, original: &Original) -> Result<DocumentId> {
    if matches!(original.dispatch.content, Content::Breach(_)) {
        return Ok(original.document);
    }
    let header = &shown.header;
    let case = header.case.as_ref().map(|case| format!("its case is {case}"));
    Err(refused(format!("{} is not the notice of a case, but: {}", header.serial, header.kind))
        .help(case.unwrap_or_else(|| "demarche cases".to_owned()))
        .wrong("case"))
}
