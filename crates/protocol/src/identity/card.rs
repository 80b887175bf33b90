//! A card (docs/protocol.md §4.3): the document by which a member's roots vouch for one node. It names the node's keys, which
//! the node proves to hold by signing as well (threat K1d).

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
};

use bincode::{Decode, Encode};

use super::{
    Verified,
    keys::PublicKey,
    member::MemberId,
    roots::{RootList, RootsError},
};
use crate::{
    document::{DocumentError, DocumentType, Fields, SignedDocument, Writer},
    hash::{hex, unhex},
    labels::Namespace,
    limits,
    time::Timestamp,
};

/// The number of a card among its member's: the highest one counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct CardSerial(pub u64);

impl fmt::Display for CardSerial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An X25519 public key (RFC 7748): a party node's static key in live sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct SessionKey(pub [u8; 32]);

impl FromStr for SessionKey {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.strip_prefix("x25519:")
            .and_then(unhex)
            .map(Self)
            .ok_or("not an X25519 key, like x25519:<64 hex digits>")
    }
}

impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "x25519:{}", hex(&self.0))
    }
}

/// Bytes of an ML-KEM-768 encapsulation key (FIPS 203, table 3).
pub const ML_KEM_768_PUBLIC: usize = 1184;

/// The first of a party node's prekeys, to which envelopes are sealed before it was ever online.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prekey {
    /// X25519 public key.
    pub x25519: [u8; 32],
    /// ML-KEM-768 encapsulation key.
    pub ml_kem: Box<[u8; ML_KEM_768_PUBLIC]>,
}

/// Where a mediator can be reached: `host:port`, for TCP and QUIC alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    host: Host,
    port: u16,
}

/// The host part of an [`Address`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A literal address.
    Ip(IpAddr),
    /// A DNS name.
    Name(String),
}

/// Why a text is not an address.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not an address, like relay.example:7701, 192.0.2.1:7701 or [2001:db8::1]:7701")]
pub struct AddressError;

impl Address {
    /// The host.
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// The port, TCP and UDP.
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (host, port) = text.rsplit_once(':').ok_or(AddressError)?;
        let plain = port.bytes().all(|byte| byte.is_ascii_digit()) && !port.starts_with('0');
        let port: u16 = port.parse().ok().filter(|_| plain).ok_or(AddressError)?;
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(host) => Host::Ip(IpAddr::V6(host.parse().map_err(|_| AddressError)?)),
            None => match host.parse::<Ipv4Addr>() {
                Ok(ip) => Host::Ip(IpAddr::V4(ip)),
                Err(_) if is_name(host) => Host::Name(host.to_ascii_lowercase()),
                Err(_) => return Err(AddressError),
            },
        };
        match host {
            // Nobody can be called there.
            Host::Ip(ip) if ip.is_unspecified() || ip.is_multicast() => Err(AddressError),
            host => Ok(Self { host, port }),
        }
    }
}

/// A name by RFC 1123, section 2.1, whose last part is not a number: that would be a mistyped address.
fn is_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    let lettered = last.bytes().any(|byte| byte.is_ascii_alphabetic());
    text.len() <= 253 && lettered && text.split('.').all(label)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(ip) => std::net::SocketAddr::new(*ip, self.port).fmt(f),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

/// What a card's node does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// A capital's node.
    Party {
        /// Its static key in live sessions.
        session: SessionKey,
        /// Its first prekey.
        prekey: Prekey,
    },
    /// A mediator's node.
    Mediator {
        /// Where it is reached, best first.
        addresses: Vec<Address>,
    },
}

/// What a card says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// Whose node.
    pub member: MemberId,
    /// The member's full name.
    pub name: String,
    /// The card's number.
    pub serial: CardSerial,
    /// The node's key: it signs entries and receipts, and is the node's network identity.
    pub node: PublicKey,
    /// What the node does.
    pub role: Role,
    /// When it was drafted.
    pub issued_at: Timestamp,
    /// When it is due for renewal. Warns, never silences.
    pub expires_at: Timestamp,
    /// The member's roots, for drafting a charter only: the charter's list is what counts.
    pub roots: RootList,
}

/// Why a card, an officer's document, a revocation or a list of roots does not hold.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CredentialError {
    /// The text is not such a document.
    #[error(transparent)]
    Text(#[from] DocumentError),
    /// The roots have not signed it.
    #[error(transparent)]
    Roots(#[from] RootsError),
    /// The node that it names has not signed it.
    #[error("the node has not signed its own card: it does not prove to hold {}", .0.fingerprint())]
    Possession(PublicKey),
    /// It is about somebody else.
    #[error("it is of {found}, not of {wanted}")]
    Member {
        /// Whom it is of.
        found: MemberId,
        /// Whom it should be of.
        wanted: MemberId,
    },
    /// The officer who signed may not do that.
    #[error("it is not signed by an officer of {0} with the duty to administer")]
    NotAdministrator(MemberId),
}

impl Card {
    /// Reads a card's text.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        let mut fields = Fields::of(text, DocumentType::Card)?;
        let member = fields.parsed("member", str::parse)?;
        let name = fields.line("name")?;
        let role = match fields.string("role")?.as_str() {
            "party" => Role::Party {
                session: fields.parsed("session", str::parse)?,
                prekey: Prekey::read(&mut fields)?,
            },
            "mediator" => {
                let addresses = fields.list("addresses", limits::ADDRESSES, str::parse)?;
                if addresses.is_empty() {
                    return Err(fields.refuse("addresses", "a mediator needs at least one address"));
                }
                Role::Mediator { addresses }
            }
            _ => return Err(fields.refuse("role", "must be `party` or `mediator`")),
        };
        let card = Self {
            member,
            name,
            role,
            serial: CardSerial(fields.number("serial", u64::from(u32::MAX))?),
            node: fields.parsed("node", PublicKey::from_openssh)?,
            issued_at: fields.time("issued_at")?,
            expires_at: fields.time("expires_at")?,
            roots: RootList::read(&mut fields)?,
        };
        fields.finish()?;
        Ok(card)
    }

    /// The fixed rendering.
    pub fn render(&self) -> String {
        let role = match self.role {
            Role::Party { .. } => "party",
            Role::Mediator { .. } => "mediator",
        };
        let writer = Writer::new(DocumentType::Card)
            .string("member", self.member.as_str())
            .string("name", &self.name)
            .string("role", role)
            .number("serial", self.serial.0)
            .string("node", &self.node.to_openssh());
        let writer = match &self.role {
            Role::Party { session, prekey } => writer
                .string("session", &session.to_string())
                .string("prekey_x25519", &hex(&prekey.x25519))
                .string("prekey_ml_kem_768", &hex(prekey.ml_kem.as_slice())),
            Role::Mediator { addresses } => {
                writer.list("addresses", &addresses.iter().map(Address::to_string).collect::<Vec<_>>())
            }
        };
        let writer = writer.time("issued_at", self.issued_at).time("expires_at", self.expires_at);
        self.roots.write(writer).finish()
    }

    /// Checks that `roots` vouch for the card and that the node holds the key it names.
    pub fn verify(
        document: &SignedDocument,
        member: &MemberId,
        roots: &RootList,
    ) -> Result<Verified<Self>, CredentialError> {
        let card = Self::parse(document.text())?;
        if card.member != *member {
            return Err(CredentialError::Member { found: card.member, wanted: member.clone() });
        }
        roots.check(member, document, Namespace::Card)?;
        if !document.verified_keys(Namespace::Card).contains(&card.node) {
            return Err(CredentialError::Possession(card.node));
        }
        Ok(Verified::new(card, document.clone()))
    }

    /// Whether the node mediates.
    pub const fn is_mediator(&self) -> bool {
        matches!(self.role, Role::Mediator { .. })
    }

    /// The session key, for a party's card.
    pub const fn session_key(&self) -> Option<SessionKey> {
        match self.role {
            Role::Party { session, .. } => Some(session),
            Role::Mediator { .. } => None,
        }
    }

    /// The first prekey, for a party's card.
    pub const fn prekey(&self) -> Option<&Prekey> {
        match &self.role {
            Role::Party { prekey, .. } => Some(prekey),
            Role::Mediator { .. } => None,
        }
    }

    /// The addresses, for a mediator's card; none for a party's.
    pub fn addresses(&self) -> &[Address] {
        match &self.role {
            Role::Party { .. } => &[],
            Role::Mediator { addresses } => addresses,
        }
    }
}

impl Prekey {
    fn read(fields: &mut Fields<'_>) -> Result<Self, DocumentError> {
        let x25519 =
            fields.parsed("prekey_x25519", |text| unhex(text).ok_or("must be 64 hexadecimal digits"))?;
        let ml_kem = fields.parsed("prekey_ml_kem_768", |text| {
            unhex::<ML_KEM_768_PUBLIC>(text).ok_or("must be 2368 hexadecimal digits")
        })?;
        Ok(Self { x25519, ml_kem: Box::new(ml_kem) })
    }
}
