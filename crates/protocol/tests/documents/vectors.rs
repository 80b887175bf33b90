//! The published documents in `tests/vectors/documents`, text and signatures: another implementation can be held to
//! them, and so is this one. `DEMARCHE_BLESS=1` writes them anew.

use std::{collections::BTreeMap, env, fmt::Write as _, fs, path::PathBuf, sync::LazyLock};

use demarche_protocol::{
    charter::Charter,
    codec,
    dispatch::Dispatch,
    document::{DocumentError, DocumentType, SignedDocument},
    hash::hex,
    identity::{
        card::{Card, CardSerial},
        keys::{KeySignature, SecretKey},
        officer::Officer,
        revocation::{Revocation, Revoked},
        roots::Roots,
        suspension::Suspension,
    },
};

use crate::support::{
    acknowledgement, breach, card, charter, key, new_roots, node_key, officer, reply, revocation, seed, sign,
    signing_roots, statement, suspension,
};

/// One published document: its file's name, its type, its text, and who signs.
pub(crate) struct Vector {
    pub(crate) name: &'static str,
    pub(crate) kind: DocumentType,
    pub(crate) text: String,
    pub(crate) signers: Vec<(String, SecretKey)>,
}

impl Vector {
    pub(crate) fn document(&self) -> SignedDocument {
        let keys: Vec<SecretKey> = self.signers.iter().map(|(_, key)| key.clone()).collect();
        sign(self.text.clone(), self.kind, &keys)
    }
}

/// Every published document, made once.
pub(crate) fn all() -> &'static [Vector] {
    static ALL: LazyLock<Vec<Vector>> = LazyLock::new(make);
    &ALL
}

fn make() -> Vec<Vector> {
    let vector = |name, kind, text, signers: &[&str]| Vector {
        name,
        kind,
        text,
        signers: signers.iter().map(|&name| (name.to_owned(), key(name))).collect(),
    };
    let us = ["washington root a", "washington root b"];
    let everybody = ["washington root a", "washington root b", "tehran root", "muscat root"];
    let name = sign(card("washington", 1).render(), DocumentType::Card, &[]).id();
    let revoked_card = Revoked::Card { card: name, serial: CardSerial(1) };
    let revoked_officer = Revoked::Officer(officer().key);
    vec![
        vector("charter", DocumentType::Charter, charter().render(), &everybody),
        vector("roots", DocumentType::Roots, new_roots().render(), &us),
        vector(
            "card-party",
            DocumentType::Card,
            card("washington", 1).render(),
            &["washington root a", "washington root b", "washington node 1"],
        ),
        vector(
            "card-mediator",
            DocumentType::Card,
            card("muscat", 7).render(),
            &["muscat root", "muscat node 7"],
        ),
        vector("officer", DocumentType::Officer, officer().render(), &us),
        vector("suspension", DocumentType::Suspension, suspension().render(), &["washington administrator"]),
        vector("revocation-card", DocumentType::Revocation, revocation(revoked_card).render(), &us),
        vector("revocation-officer", DocumentType::Revocation, revocation(revoked_officer).render(), &us),
        vector("dispatch-breach", DocumentType::Dispatch, breach().render(), &["washington officer"]),
        vector(
            "dispatch-acknowledgement",
            DocumentType::Dispatch,
            acknowledgement().render(),
            &["tehran officer"],
        ),
        vector("dispatch-reply", DocumentType::Dispatch, reply().render(), &["tehran officer"]),
        vector("dispatch-statement", DocumentType::Dispatch, statement().render(), &["washington officer"]),
    ]
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/documents")
}

/// Every published file with its content.
fn files() -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut sums = BTreeMap::new();
    let mut keys = BTreeMap::new();
    let mut encoded = String::new();
    for vector in all() {
        let document = vector.document();
        sums.insert(format!("{}.toml", vector.name), document.id());
        files.insert(format!("{}.toml", vector.name), vector.text.clone());
        for (signer, key) in &vector.signers {
            let signature = key.sign(vector.kind.namespace(), vector.text.as_bytes());
            let name = format!("{}.toml.{}.sig", vector.name, signer.replace(' ', "-"));
            files.insert(name, signature.to_armoured(vector.kind.namespace()));
            keys.insert(signer.clone(), key.public());
        }
        let _ = writeln!(encoded, "{} {}", vector.name, hex(&codec::encode(&document)));
    }
    let sums = sums.iter().fold(String::new(), |out, (name, sum)| out + &format!("{sum}  {name}\n"));
    let seeds = keys.iter().fold(String::new(), |out, (name, key)| {
        out + &format!("{}  {}  {name}\n", hex(&seed(name)), key.to_openssh())
    });
    let allowed = keys
        .iter()
        .fold(String::new(), |out, (name, key)| out + &format!("{} {key}\n", name.replace(' ', "-")));
    files.insert("SHA256SUMS".into(), sums);
    files.insert("keys.txt".into(), seeds);
    files.insert("allowed_signers".into(), allowed);
    files.insert("signed-documents.hex".into(), encoded);
    files
}

#[test]
fn the_published_documents_are_what_this_program_writes() {
    let folder = folder();
    let wanted = files();
    if env::var_os("DEMARCHE_BLESS").is_some() {
        fs::create_dir_all(&folder).unwrap();
        for (name, content) in &wanted {
            fs::write(folder.join(name), content).unwrap();
        }
    }
    for (name, content) in &wanted {
        let published = fs::read_to_string(folder.join(name)).unwrap_or_default();
        assert!(published == *content, "{name} has changed; if it was meant to, run with DEMARCHE_BLESS=1");
    }
    let mut present: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "README.md")
        .collect();
    present.sort();
    assert_eq!(present, wanted.into_keys().collect::<Vec<_>>(), "files that no test writes");
}

/// The value that a text of this type says, rendered again.
fn rendered_again(kind: DocumentType, text: &str) -> Result<String, DocumentError> {
    Ok(match kind {
        DocumentType::Charter => Charter::parse(text)?.render(),
        DocumentType::Roots => Roots::parse(text)?.render(),
        DocumentType::Card => Card::parse(text)?.render(),
        DocumentType::Officer => Officer::parse(text)?.render(),
        DocumentType::Suspension => Suspension::parse(text)?.render(),
        DocumentType::Revocation => Revocation::parse(text)?.render(),
        DocumentType::Dispatch => Dispatch::parse(text)?.render(),
    })
}

#[test]
fn published_documents_read_back_to_themselves() {
    for vector in all() {
        assert_eq!(rendered_again(vector.kind, &vector.text).as_ref(), Ok(&vector.text), "{}", vector.name);
        assert_eq!(DocumentType::of(&vector.text), Some(vector.kind));
    }
}

#[test]
fn published_signatures_are_read_and_hold() {
    for vector in all() {
        for (signer, key) in &vector.signers {
            let file = format!("{}.toml.{}.sig", vector.name, signer.replace(' ', "-"));
            let armoured = fs::read_to_string(folder().join(file)).unwrap();
            let namespace = vector.kind.namespace();
            let signature = KeySignature::from_armoured(&armoured, namespace).unwrap();
            assert_eq!(signature.key, key.public());
            signature.verify(namespace, vector.text.as_bytes()).unwrap();
        }
    }
}

#[test]
fn published_documents_hold_as_the_credentials_they_are() {
    let find = |name: &str| all().iter().find(|vector| vector.name == name).unwrap().document();
    let charter = Charter::verify(&find("charter")).unwrap();
    let us = &charter.parties[0];
    Card::verify(&find("card-party"), &us.id, &us.roots).unwrap();
    Officer::verify(&find("officer"), &us.id, &us.roots).unwrap();
    Revocation::verify(&find("revocation-card"), &us.id, &us.roots).unwrap();
    Revocation::verify(&find("revocation-officer"), &us.id, &us.roots).unwrap();
    let new = Roots::verify(&find("roots"), &us.roots).unwrap();
    assert_eq!(new.replaces, charter.id());
    let mediator = &charter.mediators[0];
    Card::verify(&find("card-mediator"), &mediator.id, &mediator.roots).unwrap();
    assert_eq!(signing_roots("washington").len(), us.roots.needed());
    assert_eq!(node_key("muscat", 7).public(), Card::parse(find("card-mediator").text()).unwrap().node);
}
