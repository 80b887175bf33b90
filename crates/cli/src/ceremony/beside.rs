//! A text on disk and the signatures that lie beside it: `FILE.sig`, `FILE.2.sig`, …; for a charter also
//! `FILE.MEMBER.sig`, `FILE.MEMBER.2.sig`, …; for a card also the node's own, `FILE.node.sig`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use demarche_control::SignedFile;
use demarche_protocol::{
    document::{DocumentType, Fields, SignedDocument},
    identity::{
        keys::{KeySignature, PublicKey},
        member::MemberId,
        roots::RootList,
    },
    limits,
};

use crate::{
    error::{Result, failed, unverified, usage},
    files,
};
pub(super) use crate::{files::malformed, shell::path as quoted};

/// Largest file read as a text or a signature, in bytes: a signed file in JSON with every signature a charter may
/// carry. More is somebody's mistake and is not read into memory.
const FILE: u64 = 1024 * 1024;

/// A signature found beside a text.
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) signature: KeySignature,
    /// Whether it fits key, purpose and text.
    pub(super) good: bool,
}

/// A text and what lies beside it.
pub(super) struct Beside {
    pub(super) path: PathBuf,
    pub(super) kind: DocumentType,
    text: String,
    found: Vec<Found>,
}

/// Reads a text file of at most [`FILE`] bytes. The refusal says which file, and where it is not UTF-8.
pub(super) fn read_text(path: &Path) -> Result<String> {
    let bytes = files::read(path, FILE)?;
    String::from_utf8(bytes).map_err(|why| {
        let good = String::from_utf8_lossy(&why.as_bytes()[..why.utf8_error().valid_up_to()]).into_owned();
        let line = good.matches('\n').count() + 1;
        let column = good.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
        malformed(path, &format_args!("line {line}, column {column}: not UTF-8"))
    })
}

impl Beside {
    /// Reads a text, or a signed file in JSON, and every signature beside it.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let content = read_text(path)?;
        let (text, mut found) =
            if content.starts_with('{') { from_json(path, &content)? } else { (content, Vec::new()) };
        let (kind, _) = Fields::of_any(&text).map_err(|why| malformed(path, &why))?;
        for file in signature_files(path, kind)? {
            let armour = read_text(&file)?;
            let signature = KeySignature::from_armoured(&armour, kind.namespace()).map_err(|why| {
                unverified(format!("{}: {why}", file.display())).help(how_to_sign(path, kind))
            })?;
            found.push(Found::new(file, signature, kind, &text));
        }
        Ok(Self { path: path.to_owned(), kind, text, found })
    }

    /// The text, exactly.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The document with every good signature.
    pub(super) fn document(&self) -> SignedDocument {
        let good = self.found.iter().filter(|found| found.good).map(|found| found.signature).collect();
        SignedDocument::new(self.text.as_str(), good)
    }

    /// The good or wrong signature by this key.
    pub(super) fn by(&self, key: &PublicKey) -> Option<&Found> {
        let of_key = || self.found.iter().filter(|found| found.signature.key == *key);
        of_key().find(|found| found.good).or_else(|| of_key().next())
    }

    /// Every signature found.
    pub(super) fn signatures(&self) -> &[Found] {
        &self.found
    }

    /// Refuses when any signature does not fit the text, and names its file and key.
    pub(super) fn refuse_wrong(&self) -> Result<()> {
        let Some(wrong) = self.found.iter().find(|found| !found.good) else { return Ok(()) };
        Err(unverified(format!(
            "{} is no signature by {} over this {}: the text was changed after it was signed, or the signature was",
            wrong.path.display(),
            wrong.signature.key.fingerprint(),
            self.kind,
        ))
        .help(format!(
            "remove it if the change is meant, then sign again: rm {}; {}",
            quoted(&wrong.path),
            how_to_sign(&self.path, self.kind)
        )))
    }

    /// The good signatures by keys that are neither in `roots` nor `also`: whose they are is worth saying when one is
    /// missing.
    pub(super) fn strangers(&self, roots: &RootList, also: Option<&PublicKey>) -> Vec<&Found> {
        let known = |key: &PublicKey| roots.keys().contains(key) || also == Some(key);
        self.found.iter().filter(|found| found.good && !known(&found.signature.key)).collect()
    }

    /// Where the next signature goes: `FILE.sig`, then `FILE.2.sig`; for a charter `FILE.MEMBER.sig`, ….
    pub(super) fn free_path(&self, member: Option<&MemberId>) -> PathBuf {
        let stem = member.map_or_else(String::new, |member| format!(".{member}"));
        let numbered = |number: usize| match number {
            1 => with_suffix(&self.path, &format!("{stem}.sig")),
            number => with_suffix(&self.path, &format!("{stem}.{number}.sig")),
        };
        (1..=limits::SIGNATURES)
            .map(numbered)
            .find(|path| !path.exists())
            .unwrap_or_else(|| numbered(limits::SIGNATURES + 1))
    }
}

impl Found {
    fn new(path: PathBuf, signature: KeySignature, kind: DocumentType, text: &str) -> Self {
        let good = signature.verify(kind.namespace(), text.as_bytes()).is_ok();
        Self { path, signature, good }
    }
}

/// A signed file, as the tool keeps it after a failure.
fn from_json(path: &Path, json: &str) -> Result<(String, Vec<Found>)> {
    let refuse = |why: &dyn std::fmt::Display| malformed(path, why);
    let file = SignedFile::from_json(json).map_err(|why| refuse(&why))?;
    let document = file.document().map_err(|why| refuse(&why))?;
    let kind = document.document_type().ok_or_else(|| refuse(&"it names no type of document"))?;
    let found = document
        .signatures()
        .iter()
        .map(|signature| Found::new(path.to_owned(), *signature, kind, &file.text))
        .collect();
    Ok((file.text, found))
}

/// `path` with `suffix` after its whole name.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The command that signs this file, for a help line.
pub(super) fn how_to_sign(path: &Path, kind: DocumentType) -> String {
    format!(
        "demarche sign {file} --key KEY, or: ssh-keygen -Y sign -n {namespace} -f KEY {file}",
        file = quoted(path),
        namespace = kind.namespace(),
    )
}

/// The signature files that belong to `path`, by name.
fn signature_files(path: &Path, kind: DocumentType) -> Result<Vec<PathBuf>> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| usage(format!("{} is not the name of a document", path.display())))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let unreadable = |why| failed(format!("{} cannot be read: {why}", folder.display()));
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let file = entry.file_name();
        let Some(middle) = file
            .to_str()
            .and_then(|file| file.strip_prefix(name)?.strip_suffix(".sig"))
            .filter(|middle| is_signature_of(middle, kind))
        else {
            continue;
        };
        files.push((middle.to_owned(), path.with_file_name(&file)));
    }
    files.sort();
    if files.len() > limits::SIGNATURES {
        return Err(failed(format!(
            "{} signatures lie beside {}; at most {} are taken",
            files.len(),
            path.display(),
            limits::SIGNATURES
        )));
    }
    Ok(files.into_iter().map(|(_, path)| path).collect())
}

/// Whether what stands between `FILE` and `.sig` is of the forms that belong to this type.
fn is_signature_of(middle: &str, kind: DocumentType) -> bool {
    let number = |part: &str| !part.starts_with('0') && part.parse::<usize>().is_ok();
    let named = |part: &str| match kind {
        DocumentType::Charter => part.parse::<MemberId>().is_ok(),
        DocumentType::Card => part == "node",
        _ => false,
    };
    let parts: Vec<&str> = middle.split('.').skip(1).collect();
    match parts.as_slice() {
        [] => middle.is_empty(),
        [one] => number(one) || named(one),
        [name, two] => named(name) && number(two),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_the_agreed_forms_are_signatures() {
        let cases = [
            ("", DocumentType::Officer, true),
            (".2", DocumentType::Officer, true),
            (".02", DocumentType::Officer, false),
            (".washington", DocumentType::Officer, false),
            (".node", DocumentType::Card, true),
            (".2", DocumentType::Card, true),
            (".washington", DocumentType::Card, false),
            (".washington", DocumentType::Charter, true),
            (".washington.2", DocumentType::Charter, true),
            (".washington.x", DocumentType::Charter, false),
            (".Old", DocumentType::Charter, false),
            ("old", DocumentType::Charter, false),
        ];
        for (middle, kind, expected) in cases {
            assert_eq!(is_signature_of(middle, kind), expected, "{middle} beside a {kind}");
        }
    }

    #[test]
    fn a_path_is_quoted_only_when_a_shell_needs_it() {
        assert_eq!(quoted(Path::new("W/washington.card")), "W/washington.card");
        assert_eq!(quoted(Path::new("my charter.toml")), "'my charter.toml'");
        assert_eq!(quoted(Path::new("it's")), r"'it'\''s'");
    }
}
