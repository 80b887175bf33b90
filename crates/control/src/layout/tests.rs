use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

fn member(id: &str) -> MemberId {
    id.parse().unwrap()
}

#[test]
fn signatures_lie_beside_their_text() {
    let text = Path::new("W/washington.card");
    assert_eq!(signature_file(text, 1), Path::new("W/washington.card.sig"));
    assert_eq!(signature_file(text, 2), Path::new("W/washington.card.2.sig"));
    assert_eq!(possession_file(text), Path::new("W/washington.card.node.sig"));
    let charter = Path::new("charter.toml");
    assert_eq!(member_signature_file(charter, &member("tehran"), 1), Path::new("charter.toml.tehran.sig"));
    assert_eq!(member_signature_file(charter, &member("tehran"), 3), Path::new("charter.toml.tehran.3.sig"));
}

#[test]
fn a_title_gives_a_name_that_is_safe_as_a_path() {
    for (title, name) in [
        ("Memorandum of 2026", "memorandum-of-2026"),
        ("../../etc/passwd", "etc-passwd"),
        ("یادداشت", "channel"),
        ("", "channel"),
        ("A very long title that goes on and on and on", "a-very-long-title-that-goes-on-a"),
    ] {
        assert_eq!(slug(title), name);
        assert!(is_channel_name(name), "{name}");
    }
    for wrong in ["", "..", "a/b", "Memo", "-a", "a-", &"a".repeat(64)] {
        assert!(!is_channel_name(wrong), "{wrong}");
    }
}

#[test]
fn writing_replaces_whole_files_and_creating_never_does() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.json");
    write(&path, b"one", PRIVATE).unwrap();
    write(&path, b"two", PRIVATE).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"two");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let refused = create(&path, b"three", PRIVATE).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read(&path).unwrap(), b"two");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "no temporary file is left");
}

#[test]
fn l2_a_secret_is_only_read_from_a_file_of_its_owner_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("node.key");
    write(&path, b"secret", PRIVATE).unwrap();
    assert_eq!(*read_secret(&path).unwrap(), "secret");

    let link = directory.path().join("link.key");
    symlink(&path, &link).unwrap();
    assert!(matches!(read_secret(&link), Err(SecretFileError::Kind { what: "a link", .. })));
    assert!(matches!(read_secret(directory.path()), Err(SecretFileError::Kind { what: "a directory", .. })));
    assert!(matches!(read_secret(Path::new("/dev/null")), Err(SecretFileError::Kind { .. })));

    for mode in [0o640, 0o604, 0o660, 0o644] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let refused = read_secret(&path).unwrap_err();
        assert!(refused.to_string().contains(&format!("{mode:04o}")), "{refused}");
        assert_eq!(refused.help().unwrap(), format!("chmod 600 {}", path.display()));
    }
    let long = directory.path().join("long.key");
    write(&long, &vec![b'a'; 20_000], PRIVATE).unwrap();
    assert!(matches!(read_secret(&long), Err(SecretFileError::TooLong { .. })));
}

#[test]
fn channels_and_keys_are_listed_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let data = DataDir::new(directory.path());
    assert!(data.channel_names().unwrap().is_empty() && data.key_serials().unwrap().is_empty());
    for name in ["memo26", "alpha"] {
        make_directory(data.channel(name).path(), 0o700).unwrap();
        write(&data.channel(name).charter(), b"{}", PUBLIC).unwrap();
    }
    make_directory(data.channel("empty").path(), 0o700).unwrap();
    for serial in [10, 9] {
        make_directory(&data.keys(CardSerial(serial)), 0o700).unwrap();
    }
    assert_eq!(data.channel_names().unwrap(), ["alpha", "memo26"]);
    assert_eq!(data.key_serials().unwrap(), [CardSerial(9), CardSerial(10)]);
}

#[test]
fn only_a_regular_file_is_read_and_never_more_than_allowed() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    write(&file, b"0123456789", PUBLIC).unwrap();
    assert_eq!(read_bounded(&file, 10).unwrap(), b"0123456789");
    assert_eq!(read_bounded(&file, 9).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    let pipe = directory.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
        .unwrap();
    for (path, what) in [
        (pipe.as_path(), "a device or pipe"),
        (Path::new("/dev/zero"), "a device or pipe"),
        (directory.path(), "a directory"),
    ] {
        let why = read_bounded(path, 10).unwrap_err().to_string();
        assert_eq!(why, format!("it is {what}, not a regular file"));
    }
}
