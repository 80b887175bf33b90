//! Writes entries by hand, with a node's own key: what an honest node would write, or whatever a dishonest one likes.

use demarche_protocol::{
    document::{DocumentType, SignedDocument},
    hash::{ChannelId, DocumentId, EntryHash},
    identity::{card::CardSerial, member::MemberId},
    time::Timestamp,
    transcript::{
        Authentic, Entry, Head, Item, Pointer, Receipt, ReceiptKind, Seq, SignedReceipt, entry::VERSION,
    },
};

use crate::fixtures::{self, DRAFTED, NodeKeys, Scene};

/// The pen of one node under one card. A clone of it is how a log is forked.
#[derive(Clone)]
pub struct Forger {
    channel: ChannelId,
    party: MemberId,
    serial: u64,
    keys: NodeKeys,
    /// The entry that the next one follows.
    pub tail: Option<Head>,
    /// The last entry that said who may sign.
    pub authority: Option<Pointer>,
    /// Heads that the next entries name.
    pub seen: Vec<Head>,
    /// When the next entries are recorded.
    pub at: Timestamp,
}

impl Forger {
    /// The pen of `party` under its card with this serial, before anything is written.
    pub fn new(scene: &Scene, party: &MemberId, serial: u64) -> Self {
        Self {
            channel: scene.channel(),
            party: party.clone(),
            serial,
            keys: NodeKeys::of(party.as_str(), serial),
            tail: None,
            authority: None,
            seen: Vec::new(),
            at: DRAFTED,
        }
    }

    /// The next entry as an honest node would write it.
    pub fn draft(&self, document: &SignedDocument) -> Entry {
        Entry {
            version: VERSION,
            channel: self.channel,
            party: self.party.clone(),
            card: CardSerial(self.serial),
            seq: self.tail.as_ref().map_or(Seq::FIRST, |tail| tail.seq.next()),
            prev: self
                .tail
                .as_ref()
                .map_or_else(|| EntryHash::from_bytes(*self.channel.as_bytes()), |tail| tail.hash),
            authority: self.authority,
            seen: self.seen.clone(),
            recorded_at: self.at,
            document: document.id(),
            signatures: document.signatures().to_vec(),
        }
    }

    /// Signs an entry, whatever it says.
    pub fn sign(&self, entry: &Entry, document: &SignedDocument) -> Item {
        Item { entry: entry.sign(&self.keys.node), text: document.shared_text() }
    }

    /// Writes the next entry and goes on from it.
    ///
    /// # Panics
    /// Never: what it wrote is an entry.
    pub fn write(&mut self, document: &SignedDocument) -> Item {
        let item = self.sign(&self.draft(document), document);
        self.goes_on_from(&item);
        item
    }

    /// Goes on from an entry that was signed by hand.
    ///
    /// # Panics
    /// When it is none.
    pub fn goes_on_from(&mut self, item: &Item) {
        let head = head(item);
        let kind = DocumentType::of(&item.text);
        if kind.is_some_and(|kind| kind != DocumentType::Dispatch) {
            self.authority = Some(Pointer { seq: head.seq, hash: head.hash });
        }
        self.tail = Some(head);
    }

    /// Opens the volume: the entry that carries the card.
    pub fn open(&mut self) -> Item {
        let card = fixtures::card(self.party.as_str(), self.serial);
        self.write(&card)
    }

    /// The pen under a later card, which goes on where this one stands.
    #[must_use]
    pub fn renewed(&self, serial: u64) -> Self {
        Self { serial, keys: NodeKeys::of(self.party.as_str(), serial), ..self.clone() }
    }

    /// An entry of this pen, checked.
    ///
    /// # Panics
    /// When this pen did not write it.
    pub fn authentic(&self, item: &Item) -> Authentic {
        let claimed = item.clone().claims(self.channel).expect("an entry of this channel");
        claimed.authenticate([&self.keys.node.public()]).expect("an entry of this node")
    }

    /// States something about another party's entry.
    pub fn receipt(&self, kind: ReceiptKind, of: &Head) -> SignedReceipt {
        let receipt = Receipt {
            version: VERSION,
            kind,
            channel: self.channel,
            of: of.clone(),
            by: self.party.clone(),
            by_card: CardSerial(self.serial),
            at: self.at,
            head: self.tail.clone(),
        };
        receipt.sign(&self.keys.node)
    }

    /// States that it displayed an entry to the officer of this document.
    pub fn opened(&self, officer: DocumentId, of: &Head) -> SignedReceipt {
        self.receipt(ReceiptKind::Opened(officer), of)
    }
}

/// The place and name of an entry.
///
/// # Panics
/// When it is none.
pub fn head(item: &Item) -> Head {
    item.entry.claims().expect("an entry").head(item.entry.hash())
}
