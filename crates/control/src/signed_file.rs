//! A signed document as it lies in files and travels through the local API: the text and its armoured signatures.

use demarche_protocol::{
    document::{DocumentType, SignedDocument},
    identity::keys::{ArmourError, KeySignature},
    limits,
};
use serde::{Deserialize, Serialize};

/// `{"text": "…", "signatures": ["-----BEGIN SSH SIGNATURE-----…"]}`. The signatures' namespace follows from the
/// type that the text's first line names, so a signature made for another purpose does not fit (threat K10).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedFile {
    /// The text, exactly as signed.
    pub text: String,
    /// The signatures, armoured as `ssh-keygen -Y sign` writes them.
    #[serde(default)]
    pub signatures: Vec<String>,
}

/// Why a signed file is not a signed document.
#[derive(Debug, thiserror::Error)]
pub enum SignedFileError {
    /// The JSON around it is not of this form.
    #[error("not a signed file of demarche: it is not JSON with `text` and `signatures`")]
    Json(#[source] serde_json::Error),
    /// The text does not name its type.
    #[error("the text's first line does not name a known type of document")]
    NoType,
    /// More signatures than a document may carry.
    #[error("{0} signatures; at most {max} are allowed", max = limits::SIGNATURES)]
    TooMany(usize),
    /// One of the signatures is not one we take.
    #[error("signature {number}: {source}")]
    Signature {
        /// Which, from 1.
        number: usize,
        /// Why.
        source: ArmourError,
    },
}

impl SignedFile {
    /// The file form of a document. Refuses a text that does not name its type: its signatures have no namespace.
    pub fn of(document: &SignedDocument) -> Result<Self, SignedFileError> {
        let namespace = document.document_type().ok_or(SignedFileError::NoType)?.namespace();
        let signatures =
            document.signatures().iter().map(|signature| signature.to_armoured(namespace)).collect();
        Ok(Self { text: document.text().to_owned(), signatures })
    }

    /// The document. Its signatures are read, not verified.
    pub fn document(&self) -> Result<SignedDocument, SignedFileError> {
        let namespace = DocumentType::of(&self.text).ok_or(SignedFileError::NoType)?.namespace();
        if self.signatures.len() > limits::SIGNATURES {
            return Err(SignedFileError::TooMany(self.signatures.len()));
        }
        let read = |(at, armoured): (usize, &String)| {
            KeySignature::from_armoured(armoured, namespace)
                .map_err(|source| SignedFileError::Signature { number: at + 1, source })
        };
        let signatures = self.signatures.iter().enumerate().map(read).collect::<Result<_, _>>()?;
        Ok(SignedDocument::new(self.text.as_str(), signatures))
    }

    /// Reads the JSON of a kept or installed file.
    pub fn from_json(json: &str) -> Result<Self, SignedFileError> {
        serde_json::from_str(json).map_err(SignedFileError::Json)
    }

    /// The JSON, indented, with a newline at its end.
    pub fn to_json(&self) -> String {
        // Two strings cannot fail to serialise.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

#[cfg(test)]
mod tests {
    use demarche_protocol::{identity::keys::SecretKey, labels::Namespace};

    use super::*;

    #[test]
    fn a_document_survives_the_file_form() {
        let key = SecretKey::from_seed(&[7; 32]);
        let document =
            SignedDocument::unsigned("demarche = \"dispatch/1\"\n").signed_by(Namespace::Dispatch, &key);
        let file = SignedFile::from_json(&SignedFile::of(&document).unwrap().to_json()).unwrap();
        let back = file.document().unwrap();
        assert_eq!(back, document);
        assert_eq!(back.verified_keys(Namespace::Dispatch), [key.public()]);
    }

    #[test]
    fn k10_a_signature_for_another_purpose_does_not_fit() {
        let key = SecretKey::from_seed(&[7; 32]);
        let text = "demarche = \"dispatch/1\"\n";
        let officer = key.sign(Namespace::Officer, text.as_bytes()).to_armoured(Namespace::Officer);
        let file = SignedFile { text: text.to_owned(), signatures: vec![officer] };
        let why = file.document().unwrap_err().to_string();
        assert!(why.starts_with("signature 1: a signature for `officer@demarche.v1`"), "{why}");
    }

    #[test]
    fn an_unknown_key_in_the_json_is_refused() {
        assert!(SignedFile::from_json(r#"{"text":"","signatures":[],"extra":1}"#).is_err());
    }
}
