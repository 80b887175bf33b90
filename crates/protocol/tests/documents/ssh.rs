//! OpenSSH's own `ssh-keygen` and this program take each other's keys and signatures.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use demarche_protocol::{
    document::DocumentType,
    identity::{
        keys::{ArmourError, BadSignature, KeyError, KeySignature, PublicKey},
        openssh::{self, PrivateKeyError, Protection},
    },
    labels::Namespace,
};
use tempfile::TempDir;

use crate::{support::key, vectors::all};

/// Runs `ssh-keygen` in `folder`.
fn ssh_keygen(folder: &Path, arguments: &[&str], stdin: &[u8]) -> Output {
    let started = Command::new("ssh-keygen")
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = started.unwrap_or_else(|why| {
        panic!("these tests need OpenSSH's ssh-keygen (Debian: apt install openssh-client): {why}")
    });
    // It may have refused already and closed its end.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    child.wait_with_output().unwrap()
}

fn succeeds(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ssh-keygen: {error}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file that only its owner reads, as `ssh-keygen` wants private keys.
    fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = self.path().join(name);
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .unwrap();
        file.write_all(content).unwrap();
        path
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).unwrap()
    }

    /// A new key pair in `name` and `name.pub`.
    fn make_key(&self, name: &str, kind: &[&str], passphrase: &str) {
        let arguments = [&["-q", "-f", name, "-N", passphrase, "-C", "made by ssh-keygen"], kind].concat();
        succeeds(&ssh_keygen(self.path(), &arguments, b""));
    }

    fn verifies(&self, signature: &str, signer: &PublicKey, namespace: &str, text: &str) -> bool {
        self.write("allowed", format!("signer {signer}\n").as_bytes());
        self.write("signature", signature.as_bytes());
        let arguments = ["-Y", "verify", "-f", "allowed", "-I", "signer", "-n", namespace, "-s", "signature"];
        ssh_keygen(self.path(), &arguments, text.as_bytes()).status.success()
    }
}

#[test]
fn ssh_keygen_accepts_our_signatures_on_every_document() {
    let desk = Desk::new();
    let mut seen = Vec::new();
    for vector in all() {
        let namespace = vector.kind.namespace();
        let (_, signer) = &vector.signers[0];
        let armoured = signer.sign(namespace, vector.text.as_bytes()).to_armoured(namespace);
        let name = namespace.as_str();
        assert!(desk.verifies(&armoured, &signer.public(), name, &vector.text), "{}", vector.name);
        assert!(
            !desk.verifies(&armoured, &signer.public(), name, &format!("{} ", vector.text)),
            "another text"
        );
        assert!(!desk.verifies(&armoured, &signer.public(), "file", &vector.text), "another purpose");
        assert!(!desk.verifies(&armoured, &key("other").public(), name, &vector.text), "another key");
        seen.push(vector.kind);
    }
    assert!(DocumentType::ALL.iter().all(|kind| seen.contains(kind)));
}

#[test]
fn what_ssh_keygen_signed_is_read_and_holds() {
    let desk = Desk::new();
    desk.make_key("root", &["-t", "ed25519"], "");
    let public: PublicKey = desk.read("root.pub").parse().unwrap();
    for vector in all() {
        let namespace = vector.kind.namespace();
        desk.write("document", vector.text.as_bytes());
        let _ = std::fs::remove_file(desk.path().join("document.sig"));
        let arguments = ["-Y", "sign", "-q", "-f", "root", "-n", namespace.as_str(), "document"];
        succeeds(&ssh_keygen(desk.path(), &arguments, b""));
        let armoured = desk.read("document.sig");
        let signature = KeySignature::from_armoured(&armoured, namespace).unwrap();
        assert_eq!(signature.key, public);
        assert_eq!(signature.verify(namespace, vector.text.as_bytes()), Ok(()), "{}", vector.name);
        assert_eq!(signature.verify(namespace, b"another text"), Err(BadSignature));
        // Ed25519 leaves nothing to chance: what is read is written again, byte for byte.
        assert_eq!(signature.to_armoured(namespace), armoured);
        // A line end of Windows, or none, says the same.
        for other in [armoured.replace('\n', "\r\n"), armoured.trim_end().to_owned()] {
            assert_eq!(KeySignature::from_armoured(&other, namespace), Ok(signature));
        }
    }
}

#[test]
fn a_signature_for_another_purpose_or_hash_is_refused_by_name() {
    let desk = Desk::new();
    desk.make_key("root", &["-t", "ed25519"], "");
    let sign = |namespace: &str, options: &[&str]| {
        let arguments = [&["-Y", "sign", "-q", "-f", "root", "-n", namespace], options].concat();
        succeeds(&ssh_keygen(desk.path(), &arguments, b"text"))
    };
    let said =
        |armoured: &str| KeySignature::from_armoured(armoured, Namespace::Card).unwrap_err().to_string();
    assert_eq!(
        said(&sign("file", &[])),
        "a signature for `file`, where one for `card@demarche.v1` is needed"
    );
    assert_eq!(
        said(&sign("card@demarche.v1", &["-O", "hashalg=sha256"])),
        "a signature of type ssh-ed25519 with sha256; only ssh-ed25519 with SHA-512 is taken"
    );
    assert_eq!(said("hello"), "not an armoured SSH signature, as `ssh-keygen -Y sign` writes it");
    let good = sign("card@demarche.v1", &[]);
    let cut = &good[..good.len() / 2];
    assert_eq!(KeySignature::from_armoured(cut, Namespace::Card), Err(ArmourError::NotSshSig));
}

#[test]
fn private_keys_of_ssh_keygen_are_read() {
    let desk = Desk::new();
    desk.make_key("plain", &["-t", "ed25519"], "");
    desk.make_key("locked", &["-t", "ed25519"], "correct horse");
    desk.make_key("gcm", &["-t", "ed25519", "-Z", "aes256-gcm@openssh.com", "-a", "4"], "correct horse");
    desk.make_key(
        "chacha",
        &["-t", "ed25519", "-Z", "chacha20-poly1305@openssh.com", "-a", "4"],
        "correct horse",
    );
    for (name, passphrase) in [
        ("plain", None),
        ("locked", Some("correct horse")),
        ("gcm", Some("correct horse")),
        ("chacha", Some("correct horse")),
    ] {
        let secret =
            openssh::read(&desk.read(name), passphrase).unwrap_or_else(|why| panic!("{name}: {why}"));
        assert_eq!(Ok(secret.public()), PublicKey::from_openssh(&desk.read(&format!("{name}.pub"))));
    }
    let refused = |passphrase| openssh::read(&desk.read("locked"), passphrase).err().unwrap();
    assert_eq!(refused(None), PrivateKeyError::NeedsPassphrase);
    assert_eq!(refused(Some("wrong")), PrivateKeyError::WrongPassphrase);
    let not_a_key = openssh::read(&desk.read("plain.pub"), None).err().unwrap();
    assert_eq!(not_a_key, PrivateKeyError::NotOpenSsh);
}

#[test]
fn private_keys_that_we_write_are_read_by_ssh_keygen() {
    let desk = Desk::new();
    let secret = key("officer");
    let protection = Protection { passphrase: "correct horse", salt: [7; 16], check: 0x0102_0304 };
    desk.write("plain", openssh::write(&secret, "desk", None).unwrap().as_bytes());
    desk.write("locked", openssh::write(&secret, "desk", Some(&protection)).unwrap().as_bytes());
    for (name, passphrase) in [("plain", ""), ("locked", "correct horse")] {
        let public = succeeds(&ssh_keygen(desk.path(), &["-y", "-P", passphrase, "-f", name], b""));
        assert_eq!(PublicKey::from_openssh(&public), Ok(secret.public()), "{name}");
        let again = openssh::read(&desk.read(name), Some(passphrase)).unwrap();
        assert_eq!(again.public(), secret.public());
        assert_eq!(*again.seed(), *secret.seed());
    }
    let wrong = ssh_keygen(desk.path(), &["-y", "-P", "wrong", "-f", "locked"], b"");
    assert!(!wrong.status.success());
    // The line beside it, and its fingerprint.
    desk.write("plain.pub", openssh::public_line(&secret.public(), "desk").as_bytes());
    let listed = succeeds(&ssh_keygen(desk.path(), &["-l", "-f", "plain.pub"], b""));
    assert_eq!(listed, format!("256 {} desk (ED25519)\n", secret.public().fingerprint()));
}

#[test]
fn keys_and_signatures_of_other_kinds_are_refused_by_name() {
    let desk = Desk::new();
    let kinds: [(&str, &[&str], &str); 3] = [
        ("rsa", &["-t", "rsa", "-b", "2048"], "ssh-rsa"),
        ("p256", &["-t", "ecdsa", "-b", "256"], "ecdsa-sha2-nistp256"),
        ("p521", &["-t", "ecdsa", "-b", "521"], "ecdsa-sha2-nistp521"),
    ];
    for (name, kind, algorithm) in kinds {
        desk.make_key(name, kind, "");
        desk.make_key(&format!("{name}-locked"), kind, "correct horse");
        let public = PublicKey::from_openssh(&desk.read(&format!("{name}.pub"))).unwrap_err();
        assert_eq!(public, KeyError::Algorithm(algorithm.to_owned()));
        assert_eq!(public.to_string(), format!("a key of type {algorithm}; only ssh-ed25519 is taken"));
        // Nobody is asked for the passphrase of a key that is not taken.
        for file in [name.to_owned(), format!("{name}-locked")] {
            let private = openssh::read(&desk.read(&file), None).err().unwrap();
            assert_eq!(private, PrivateKeyError::Algorithm(algorithm.to_owned()), "{file}");
        }
        let arguments = ["-Y", "sign", "-q", "-f", name, "-n", "card@demarche.v1"];
        let armoured = succeeds(&ssh_keygen(desk.path(), &arguments, b"text"));
        let refused = KeySignature::from_armoured(&armoured, Namespace::Card).unwrap_err();
        assert!(matches!(&refused, ArmourError::Algorithm(_)), "{refused:?}");
        assert!(
            refused.to_string().contains(if name == "rsa" { "rsa-sha2-512" } else { algorithm }),
            "{refused}"
        );
    }
}

/// A key that nobody uses: its secret number begins with a zero byte, which OpenSSH leaves out and `ssh_key` cannot do without.
const SHORT_ECDSA: &str = "\
-----BEGIN OPENSSH PRIVATE KEY-----\n\
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAaAAAABNlY2RzYS\n\
1zaGEyLW5pc3RwMjU2AAAACG5pc3RwMjU2AAAAQQSzIxU/XYgqVjGpV+WLcX5Msl/K5naq\n\
k6kZ+QtCZ/NSazko4OEqvMrvWNi7q0wvkdw7cEga9YUJ95ykWC+rFjzNAAAAmHHvRgdx70\n\
YHAAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBLMjFT9diCpWMalX\n\
5YtxfkyyX8rmdqqTqRn5C0Jn81JrOSjg4Sq8yu9Y2LurTC+R3DtwSBr1hQn3nKRYL6sWPM\n\
0AAAAfe3fJYF+TVDk5YKyKgtaDfU0HnkQ+ntG++EY9H1q8yQAAAAF0\n\
-----END OPENSSH PRIVATE KEY-----\n";

#[test]
fn an_ecdsa_key_with_a_short_secret_is_refused_by_name_too() {
    let refused = openssh::read(SHORT_ECDSA, None).err().unwrap();
    assert_eq!(refused, PrivateKeyError::Algorithm("ecdsa-sha2-nistp256".to_owned()));
    let cut = &SHORT_ECDSA[..200];
    assert_eq!(openssh::read(cut, None).err().unwrap(), PrivateKeyError::NotOpenSsh);
}

/// FIDO keys cannot be made without a token; these public lines are from OpenSSH's own tests' form.
#[test]
fn fido_keys_are_refused_by_name() {
    let blob = |algorithm: &str, parts: &[&[u8]]| {
        let mut blob = Vec::new();
        for part in [&[algorithm.as_bytes()], parts].concat() {
            blob.extend_from_slice(&u32::try_from(part.len()).unwrap().to_be_bytes());
            blob.extend_from_slice(part);
        }
        format!("{algorithm} {} token", base64(&blob))
    };
    let public = key("token").public();
    let point = [&[4_u8][..], &[9; 64]].concat();
    for (line, algorithm) in [
        (blob("sk-ssh-ed25519@openssh.com", &[public.as_bytes(), b"ssh:"]), "sk-ssh-ed25519@openssh.com"),
        (
            blob("sk-ecdsa-sha2-nistp256@openssh.com", &[b"nistp256", &point, b"ssh:"]),
            "sk-ecdsa-sha2-nistp256@openssh.com",
        ),
        (blob("ssh-ed25519-cert-v01@openssh.com", &[b"nonce"]), "ssh-ed25519-cert-v01@openssh.com"),
        (blob("ssh-mldsa44-ed25519@openssh.com", &[&[1; 64]]), "ssh-mldsa44-ed25519@openssh.com"),
    ] {
        assert_eq!(PublicKey::from_openssh(&line), Err(KeyError::Algorithm(algorithm.to_owned())), "{line}");
    }
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0_usize, |bits, at| bits << 8 | usize::from(*chunk.get(at).unwrap_or(&0)));
        for at in 0..4 {
            let letter = char::from(LETTERS[bits >> (18 - 6 * at) & 63]);
            out.push(if at <= chunk.len() { letter } else { '=' });
        }
    }
    out
}
