//! The charter (docs/protocol.md §4.1): who, which provisions, which rules. Every party and every mediator that it names signs
//! it with its roots, and its SHA-256 is the channel's name.

pub mod policy;

use std::collections::{BTreeMap, BTreeSet};

pub use policy::{Policy, PrecedencePolicy};

use crate::{
    dispatch::Precedence,
    document::{DocumentError, DocumentType, Fields, SignedDocument, Writer},
    identity::{
        Verified,
        keys::PublicKey,
        member::MemberId,
        roots::{RootList, RootsError},
    },
    labels::Namespace,
    limits,
    time::Timestamp,
};

/// A party or mediator as the charter names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: MemberId,
    /// Its full name.
    pub name: String,
    /// Its roots when the charter was signed.
    pub roots: RootList,
    /// What is printed when nothing gets through to it: telephone numbers, desks.
    pub fallback: Vec<String>,
}

/// A provision of the memorandum that can be breached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provision {
    /// Its number in the memorandum: `3.2`.
    pub code: String,
    /// Its title by language (BCP 47 code).
    pub title: BTreeMap<String, String>,
    /// The precedence of a notice under it, unless the officer says otherwise.
    pub precedence: Option<Precedence>,
}

/// What a charter says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charter {
    /// The memorandum's title.
    pub title: String,
    /// When it was drafted.
    pub drafted_at: Timestamp,
    /// The parties, at least two.
    pub parties: Vec<Member>,
    /// The mediators, at least one.
    pub mediators: Vec<Member>,
    /// The provisions.
    pub provisions: Vec<Provision>,
    /// The rules.
    pub policy: Policy,
}

/// Why a charter does not hold.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CharterError {
    /// The text is not a charter.
    #[error(transparent)]
    Text(#[from] DocumentError),
    /// A member's roots have not signed.
    #[error(transparent)]
    Roots(#[from] RootsError),
}

/// How far one member's signing has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signing {
    /// Whose roots.
    pub member: MemberId,
    /// How many of them have signed.
    pub have: usize,
    /// How many must.
    pub needed: usize,
}

/// Whether `code` can be a provision's: one word, as it stands on the command line and in tables.
pub(crate) fn check_code(code: &str) -> Result<(), String> {
    if code.is_empty() || code.contains(char::is_whitespace) {
        Err("a provision's code is one word, like 3.2".to_owned())
    } else if code.len() > limits::PROVISION_CODE {
        Err(format!("has {} bytes; at most {} are allowed", code.len(), limits::PROVISION_CODE))
    } else {
        Ok(())
    }
}

/// Whether `text` has the form of a BCP 47 code: parts of one to eight letters and digits, joined by hyphens.
fn is_language(text: &str) -> bool {
    let part =
        |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    text.len() <= limits::PROVISION_CODE && text.split('-').all(part)
}

impl Provision {
    /// The title in `language`, else in English, else in whatever there is.
    pub fn title_in(&self, language: &str) -> &str {
        let title = self.title.get(language).or_else(|| self.title.get("en"));
        title.or_else(|| self.title.values().next()).map_or("", String::as_str)
    }

    /// Reads the tables `[[provision]]`, of a charter or of `provisions.toml`.
    pub fn read_all(fields: &mut Fields<'_>) -> Result<Vec<Self>, DocumentError> {
        let mut seen = BTreeSet::new();
        let mut provisions = Vec::new();
        for mut fields in fields.tables("provision", limits::PROVISIONS)? {
            let code = fields.parsed("code", |text| check_code(text).map(|()| text.to_owned()))?;
            if !seen.insert(code.clone()) {
                return Err(fields.refuse("code", format!("the provision {code} stands twice")));
            }
            let precedence = fields.optional("precedence", str::parse)?;
            let mut titles = fields.table("title")?;
            let mut title = BTreeMap::new();
            let languages = titles.keys();
            if languages.len() > limits::LANGUAGES {
                let why =
                    format!("has {} languages; at most {} are allowed", languages.len(), limits::LANGUAGES);
                return Err(fields.refuse("title", why));
            }
            for language in languages {
                if !is_language(&language) {
                    return Err(titles.refuse(&language, "not a language code, like `en` or `fa`"));
                }
                title.insert(language.clone(), titles.line(&language)?);
            }
            if title.is_empty() {
                return Err(titles.refuse("en", "a provision needs a title in at least one language"));
            }
            titles.finish()?;
            fields.finish()?;
            provisions.push(Self { code, title, precedence });
        }
        Ok(provisions)
    }

    fn write(&self, writer: Writer) -> Writer {
        let writer = writer
            .next_table("provision")
            .string("code", &self.code)
            .optional("precedence", self.precedence.map(Precedence::as_str));
        self.title
            .iter()
            .fold(writer.table("provision.title"), |writer, (language, title)| writer.string(language, title))
    }
}

/// What stands in the charter already while it is read.
#[derive(Default)]
struct Seen {
    ids: BTreeSet<MemberId>,
    roots: BTreeSet<PublicKey>,
}

impl Member {
    fn read(mut fields: Fields<'_>, seen: &mut Seen) -> Result<Self, DocumentError> {
        let id: MemberId = fields.parsed("id", str::parse)?;
        if !seen.ids.insert(id.clone()) {
            return Err(fields.refuse("id", "this party or mediator stands twice"));
        }
        let name = fields.line("name")?;
        let roots = RootList::read(&mut fields)?;
        // One person must not be able to sign for two sides.
        if let Some(key) = roots.keys().iter().find(|key| !seen.roots.insert(**key)) {
            let why = format!("the root {} is a root of another member as well", key.fingerprint());
            return Err(fields.refuse("roots", why));
        }
        let mut fallback = Vec::new();
        for mut contact in fields.tables("fallback", limits::FALLBACKS)? {
            fallback.push(contact.line("say")?);
            contact.finish()?;
        }
        fields.finish()?;
        Ok(Self { id, name, roots, fallback })
    }

    fn write(&self, writer: Writer, table: &str) -> Writer {
        let writer = writer.next_table(table).string("id", self.id.as_str()).string("name", &self.name);
        let writer = self.roots.write(writer);
        let contact = format!("{table}.fallback");
        self.fallback.iter().fold(writer, |writer, say| writer.next_table(&contact).string("say", say))
    }
}

impl Charter {
    /// Reads a charter's text.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        let mut fields = Fields::of(text, DocumentType::Charter)?;
        let title = fields.line("title")?;
        let drafted_at = fields.time("drafted_at")?;
        let mut seen = Seen::default();
        let mut members = |fields: &mut Fields<'_>, table: &str| {
            fields
                .tables(table, limits::MEMBERS)?
                .into_iter()
                .map(|fields| Member::read(fields, &mut seen))
                .collect::<Result<Vec<_>, _>>()
        };
        let parties = members(&mut fields, "party")?;
        let mediators = members(&mut fields, "mediator")?;
        if parties.len() < 2 {
            return Err(fields.refuse("party", "a charter needs at least two parties"));
        }
        if mediators.is_empty() {
            return Err(fields.refuse("mediator", "a charter needs at least one mediator"));
        }
        let provisions = Provision::read_all(&mut fields)?;
        if provisions.is_empty() {
            return Err(fields.refuse("provision", "a charter needs at least one provision"));
        }
        let policy = Policy::read(&mut fields)?;
        fields.finish()?;
        Ok(Self { title, drafted_at, parties, mediators, provisions, policy })
    }

    /// The fixed rendering.
    pub fn render(&self) -> String {
        let writer = Writer::new(DocumentType::Charter)
            .string("title", &self.title)
            .time("drafted_at", self.drafted_at);
        let writer = self.parties.iter().fold(writer, |writer, party| party.write(writer, "party"));
        let writer =
            self.mediators.iter().fold(writer, |writer, mediator| mediator.write(writer, "mediator"));
        let writer = self.provisions.iter().fold(writer, |writer, provision| provision.write(writer));
        self.policy.write(writer).finish()
    }

    /// Parties, then mediators.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.parties.iter().chain(&self.mediators)
    }

    /// The party of this id.
    pub fn party(&self, id: &MemberId) -> Option<&Member> {
        self.parties.iter().find(|party| party.id == *id)
    }

    /// The provision of this code.
    pub fn provision(&self, code: &str) -> Option<&Provision> {
        self.provisions.iter().find(|provision| provision.code == code)
    }

    /// Who has signed and who has not, in the charter's order. A wrong signature is an error.
    pub fn signing(&self, document: &SignedDocument) -> Result<Vec<Signing>, RootsError> {
        self.members()
            .map(|member| {
                let have = member.roots.signers(&member.id, document, Namespace::Charter)?.len();
                Ok(Signing { member: member.id.clone(), have, needed: member.roots.needed() })
            })
            .collect()
    }

    /// Checks that the roots of every member have signed.
    pub fn verify(document: &SignedDocument) -> Result<Verified<Self>, CharterError> {
        let charter = Self::parse(document.text())?;
        for member in charter.members() {
            member.roots.check(&member.id, document, Namespace::Charter)?;
        }
        Ok(Verified::new(charter, document.clone()))
    }
}
