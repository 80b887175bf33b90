//! What an entry's document says and which of its signatures are good, found out once when the entry comes in.

use crate::{
    dispatch::{Content, Dispatch, Kind, Nature, Position, Precedence},
    document::{DocumentError, DocumentType, SignedDocument},
    hash::{ChannelId, DocumentId},
    identity::{
        card::Card, keys::PublicKey, member::MemberId, officer::Officer, revocation::Revocation,
        roots::Roots, suspension::Suspension,
    },
    labels::Namespace,
    time::Timestamp,
    transcript::effect::{Effect, Void},
};

/// What is kept in memory of an entry's document.
#[derive(Clone, Debug)]
pub enum Facts {
    /// A dispatch; its text stays in the store.
    Dispatch(DispatchFacts),
    /// A document of a type that changes who may sign. Its text is kept while it has effect or may yet have; of what never
    /// will, only the reason is: a peer's node may enter as much of that as it likes.
    Authority(DocumentType, Result<SignedDocument, Void>),
    /// Nothing that could have effect.
    Junk(Void),
}

/// What is kept in memory of a dispatch.
#[derive(Clone, Debug)]
pub struct DispatchFacts {
    /// The channel it names.
    pub channel: ChannelId,
    /// The party it speaks for.
    pub party: MemberId,
    /// Its kind.
    pub kind: Kind,
    /// Its nature.
    pub nature: Nature,
    /// Its precedence.
    pub precedence: Precedence,
    /// When it was written, by its writer's clock.
    pub written_at: Timestamp,
    /// The provision, for a notice.
    pub provision: Option<String>,
    /// The title, where the kind has one: so that a list needs no text.
    pub title: Option<String>,
    /// The position, for a reply.
    pub position: Option<Position>,
    /// The notice or dispatch it answers.
    pub refers_to: Option<DocumentId>,
    /// Keys whose signatures are good, each once.
    pub signers: Vec<PublicKey>,
    /// The first key whose signature is not.
    pub bad_signer: Option<PublicKey>,
}

impl Facts {
    /// Reads a document that stands in an entry. Verifies a dispatch's signatures.
    pub fn of(document: &SignedDocument) -> Self {
        match document.document_type() {
            None => Self::Junk(Void::NotADocument("its first line names no known type".to_owned())),
            Some(DocumentType::Dispatch) => match Dispatch::parse(document.text()) {
                Err(why) => Self::Junk(Void::NotADocument(why.to_string())),
                Ok(dispatch) => Self::Dispatch(DispatchFacts::of(&dispatch, document)),
            },
            Some(kind) => Self::Authority(kind, may_have_effect(kind, document).map(|()| document.clone())),
        }
    }

    /// Whether it belongs to the entries that say who may sign. Decided by its type alone, whatever its effect.
    pub const fn is_authority(&self) -> bool {
        matches!(self, Self::Authority(..))
    }

    /// Its judgement is final: what has no effect never will have any, and its text is not needed again.
    pub(super) fn settled(&mut self, verdict: &Effect) {
        if let (Self::Authority(_, text @ Ok(_)), Effect::Void(why)) = (self, verdict) {
            *text = Err(why.clone());
        }
    }

    /// Bytes of the text that is kept.
    pub(super) fn text_kept(&self) -> usize {
        match self {
            Self::Authority(_, Ok(document)) => document.text().len(),
            Self::Authority(_, Err(_)) | Self::Dispatch(_) | Self::Junk(_) => 0,
        }
    }

    /// Its place in the order of service: authority first, then by precedence; what can have no effect last.
    pub fn rank(&self) -> u8 {
        match self {
            Self::Authority(_, Ok(_)) => 0,
            Self::Dispatch(dispatch) => match dispatch.precedence {
                Precedence::Flash => 1,
                Precedence::Immediate => 2,
                Precedence::Priority => 3,
                Precedence::Routine => 4,
            },
            Self::Authority(_, Err(_)) | Self::Junk(_) => 5,
        }
    }
}

/// Whether a document that changes who may sign can have effect anywhere: whether it is what its first line says.
fn may_have_effect(kind: DocumentType, document: &SignedDocument) -> Result<(), Void> {
    let text = document.text();
    let credential = |why: DocumentError| Void::Credential(why.to_string());
    match kind {
        DocumentType::Card => Card::parse(text).map(|_| ()).map_err(credential),
        DocumentType::Roots => Roots::parse(text).map(|_| ()).map_err(credential),
        DocumentType::Officer => Officer::parse(text).map(|_| ()).map_err(credential),
        DocumentType::Revocation => Revocation::parse(text).map(|_| ()).map_err(credential),
        DocumentType::Suspension => {
            Suspension::parse(text).map(|_| ()).map_err(|why| Void::NotADocument(why.to_string()))
        }
        DocumentType::Charter => Err(Void::OutOfPlace("charter")),
        DocumentType::Dispatch => Err(Void::OutOfPlace("dispatch")),
    }
}

impl DispatchFacts {
    fn of(dispatch: &Dispatch, document: &SignedDocument) -> Self {
        let bytes = document.text().as_bytes();
        let mut signers = Vec::new();
        let mut bad_signer = None;
        for signature in document.signatures() {
            if signature.verify(Namespace::Dispatch, bytes).is_err() {
                bad_signer = bad_signer.or(Some(signature.key));
            } else if !signers.contains(&signature.key) {
                signers.push(signature.key);
            }
        }
        let (provision, position) = match &dispatch.content {
            Content::Breach(breach) => (Some(breach.provision.clone()), None),
            Content::Reply(reply) => (None, Some(reply.position)),
            Content::Acknowledgement(_) | Content::Statement(_) => (None, None),
        };
        Self {
            channel: dispatch.channel,
            party: dispatch.party.clone(),
            kind: dispatch.kind(),
            nature: dispatch.nature,
            precedence: dispatch.precedence,
            written_at: dispatch.written_at,
            provision,
            title: dispatch.title().map(str::to_owned),
            position,
            refers_to: dispatch.refers_to(),
            signers,
            bad_signer,
        }
    }
}
