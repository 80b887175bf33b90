//! What a node asks of its own machine: alone on its data (S10), its own user at the door (L1), keys that are nobody else's (L2), no
//! key log (L4), and an end within five seconds.
//!
//! What another user gets can only be shown by root, who can act as one: `sudo -E cargo test --test local needs_root -- --ignored`.

mod support;

use std::{
    fs,
    io::{Read, Write},
    os::unix::{
        fs::{MetadataExt, PermissionsExt, symlink},
        net::UnixStream,
    },
    path::Path,
    process::Command,
    sync::{Arc, mpsc::Sender},
    time::Duration,
};

use demarche_control::{Client, ClientError, Code, SignedFile, types::Sent};
use demarche_protocol::{
    dispatch::{Content, Dispatch, Nature, Precedence, Statement},
    document::SignedDocument,
    hash::ChannelId,
    identity::{keys::SecretKey, member::MemberId, openssh},
    labels::Namespace,
    time::Timestamp,
};
use support::{programs::Outcome, stage::Stage};

const NOBODY: u32 = 65534;
/// Tells the test binary, started again as another user, which socket to try.
const SOCKET: &str = "DEMARCHE_TEST_SOCKET";

#[test]
fn s10_a_second_start_on_one_data_directory_refuses_and_the_first_goes_on() {
    let stage = Stage::open(programs!());
    let second = Outcome::of(stage.node("washington").command(), None);
    assert_eq!(second.code, 1, "{second}");
    assert!(second.stderr.contains("another demarched") && second.stderr.contains("help:"), "{second}");
    stage.as_officer("washington", &["status", "--check"]).ok();
    stage.json_saying("washington", &["say", "--wait", "delivered", "--timeout", "30s"], "Still alone.");
}

/// Many officers hand in one statement after another, and SIGTERM comes in the middle: the node ends in time, what it had called recorded
/// is there afterwards, and what it refused or left unanswered is there or can be sent again.
#[test]
fn sigterm_ends_a_busy_node_within_5_s_and_nothing_is_lost() {
    const WRITERS: u64 = 16;
    let mut stage = Stage::open(programs!());
    let desk = Desk::of(&stage, "washington");
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    let (told, recorded) = std::sync::mpsc::channel();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| runtime.spawn(desk.clone().write_until_refused(writer, told.clone())))
        .collect();
    // All are at it by now.
    let mut answered: Vec<Sent> = recorded.iter().take(100).collect();
    let (took, code) = stage.node_mut("washington").terminate();
    assert_eq!(code, 0, "{}", stage.node("washington").log());
    assert!(took < Duration::from_secs(5), "it took {took:?}");
    drop(told);
    answered.extend(recorded);
    let left: Vec<SignedFile> =
        writers.into_iter().map(|writer| runtime.block_on(writer).expect("no panic")).collect();
    for id in ["muscat", "tehran"] {
        let (took, code) = stage.node_mut(id).terminate();
        assert_eq!(code, 0, "{id}: {}", stage.node(id).log());
        assert!(took < Duration::from_secs(5), "{id} took {took:?}");
    }

    stage.start();
    let left: Vec<Sent> = left
        .iter()
        .map(|file| runtime.block_on(desk.client.send("memo26", file)).expect("the same file again"))
        .collect();
    let inbox = runtime.block_on(desk.client.inbox("memo26", true)).expect("inbox");
    let mut here: Vec<_> = inbox.iter().map(|header| (&header.serial, header.document)).collect();
    let mut sent: Vec<_> = answered.iter().chain(&left).map(|sent| (&sent.serial, sent.document)).collect();
    here.sort();
    sent.sort();
    assert_eq!(here, sent, "each under the serial that was told, and nothing twice");
    assert!(answered.len() >= 100 && left.len() as u64 == WRITERS, "{} and {}", answered.len(), left.len());
}

/// An officer's key and the way to the node.
#[derive(Clone)]
struct Desk {
    client: Client,
    key: Arc<SecretKey>,
    channel: ChannelId,
    party: MemberId,
}

impl Desk {
    fn of(stage: &Stage, id: &str) -> Self {
        let data = stage.node(id).data();
        let read = |path: &Path| fs::read_to_string(path).expect("a file of the ceremony");
        let charter =
            SignedFile::from_json(&read(&data.join("channels/memo26/charter.json"))).expect("charter");
        Self {
            client: Client::new(data.join("control.sock")),
            key: Arc::new(openssh::read(&read(&stage.dir.join(format!("{id}.officer"))), None).expect("key")),
            channel: ChannelId::from(charter.document().expect("charter").id()),
            party: id.parse().expect("id"),
        }
    }

    /// Hands in one statement after another, and tells what was recorded. Gives the one that was not.
    async fn write_until_refused(self, writer: u64, told: Sender<Sent>) -> SignedFile {
        for number in 0.. {
            let content = Content::Statement(Statement {
                case: None,
                title: None,
                body: format!("statement {number} of writer {writer}"),
            });
            let dispatch = Dispatch {
                channel: self.channel,
                party: self.party.clone(),
                nature: Nature::Test,
                precedence: Precedence::Routine,
                written_at: Timestamp::from_millis(1_793_491_200_000),
                content,
            };
            let document =
                SignedDocument::unsigned(dispatch.render()).signed_by(Namespace::Dispatch, &self.key);
            let file = SignedFile::of(&document).expect("file");
            match self.client.send("memo26", &file).await {
                Ok(sent) => told.send(sent).expect("the test waits"),
                // Said before it had any effect, or not answered at all: an officer may send it again.
                Err(ClientError::Problem(why)) if why.code == Code::Stopping => return file,
                Err(ClientError::NotReachable { .. } | ClientError::Broken(_)) => return file,
                Err(why) => panic!("{why}"),
            }
        }
        unreachable!("it is refused one day")
    }
}

#[test]
fn l4_a_node_with_sslkeylogfile_in_its_environment_refuses_to_start() {
    let stage = Stage::found(programs!());
    let mut command = stage.node("washington").command();
    command.env("SSLKEYLOGFILE", stage.dir.join("keys.log"));
    let refused = Outcome::of(command, None);
    assert_eq!(refused.code, 1, "{refused}");
    assert!(refused.stderr.contains("SSLKEYLOGFILE") && refused.stderr.contains("help:"), "{refused}");
    assert!(!stage.dir.join("keys.log").exists());
}

#[test]
fn l2_key_files_with_a_wrong_mode_or_behind_a_link_are_refused_by_name() {
    let stage = Stage::found(programs!());
    let keys = stage.dir.join("washington/keys/1");
    let refused = |name: &str, what: &str| {
        let refused = Outcome::of(stage.node("washington").command(), None);
        assert_eq!(refused.code, 1, "{what}: {refused}");
        assert!(refused.stderr.contains(name) && refused.stderr.contains("help:"), "{what}: {refused}");
    };
    for name in ["node.key", "session.key", "prekey.key"] {
        let file = keys.join(name);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("mode");
        refused(name, "readable by the group");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("mode");

        let elsewhere = stage.dir.join(name);
        fs::rename(&file, &elsewhere).expect("rename");
        symlink(&elsewhere, &file).expect("link");
        refused(name, "a link");
        fs::remove_file(&file).expect("link");
        fs::rename(&elsewhere, &file).expect("rename");
    }
    // All is as it was: the node would start now.
    let mut check = stage.node("washington").command();
    check.arg("--check-config");
    Outcome::of(check, None).ok();
    let mut stage = stage;
    stage.node_mut("washington").start_ready();
}

/// Skipped, and counted so, unless root asks for them. Whoever asks and is not root sees them fail.
mod needs_root {
    use std::os::unix::fs::chown;

    use super::*;

    #[test]
    #[ignore = "needs root: cargo test --test local needs_root -- --ignored"]
    fn l1_another_user_gets_nothing_and_an_officers_account_administers_nothing() {
        let mut stage = Stage::found(programs!());
        for open in [stage.dir.clone(), stage.dir.join("washington")] {
            fs::set_permissions(open, fs::Permissions::from_mode(0o755)).expect("mode");
        }
        let socket = stage.dir.join("washington/control.sock");

        stage.node_mut("washington").start_ready();
        assert_eq!(fs::metadata(&socket).expect("socket").mode() & 0o777, 0o600);
        let refused = as_nobody(&stage, &socket);
        assert!(refused.stdout.contains("status: no way in"), "{refused}");
        assert!(refused.stdout.contains("install: no way in"), "{refused}");
        stage.node_mut("washington").terminate();

        // The operator lets a group in, for officers' accounts.
        let configuration = stage.dir.join("washington/demarched.toml");
        let written = fs::read_to_string(&configuration).expect("configuration");
        let group = format!("[socket]\ngroup = \"{NOBODY}\"\nmode = \"0660\"\n");
        fs::write(&configuration, written.replace("[socket]\n", &group)).expect("configuration");
        stage.node_mut("washington").start_ready();
        let admitted = as_nobody(&stage, &socket);
        assert!(admitted.stdout.contains("status: HTTP/1.1 200"), "{admitted}");
        assert!(admitted.stdout.contains("install: HTTP/1.1 403"), "{admitted}");
        let log = stage.node("washington").log();
        assert!(log.contains(&NOBODY.to_string()), "who called is not in the log:\n{log}");
    }

    #[test]
    #[ignore = "needs root: cargo test --test local needs_root -- --ignored"]
    fn l2_a_key_file_of_another_user_is_refused_by_name() {
        let stage = Stage::found(programs!());
        for name in ["node.key", "session.key", "prekey.key"] {
            let file = stage.dir.join("washington/keys/1").join(name);
            chown(&file, Some(NOBODY), None).expect("only root gives files away");
            let refused = Outcome::of(stage.node("washington").command(), None);
            assert_eq!(refused.code, 1, "{name}: {refused}");
            assert!(refused.stderr.contains(name) && refused.stderr.contains("help:"), "{name}: {refused}");
            chown(&file, Some(0), None).expect("owner");
        }
    }
}

/// This binary, copied to where anybody may run it, as user nobody, trying the socket.
fn as_nobody(stage: &Stage, socket: &Path) -> Outcome {
    let copy = stage.dir.join("nobody-test");
    if !copy.exists() {
        fs::copy(std::env::current_exe().expect("own path"), &copy).expect("copy");
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).expect("mode");
    }
    let (user, group) = (NOBODY.to_string(), NOBODY.to_string());
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &user, "--regid", &group, "--clear-groups", "--"]);
    command.arg(copy).args(["--exact", "the_part_of_another_user", "--ignored", "--nocapture"]);
    command.current_dir("/").env(SOCKET, socket);
    Outcome::of(command, None).ok()
}

/// No test of its own: what [`as_nobody`] starts. By itself it fails.
#[test]
#[ignore = "played within needs_root"]
fn the_part_of_another_user() {
    let socket = std::env::var_os(SOCKET).expect("started by as_nobody");
    for (what, request) in [("status", "GET /v1/status"), ("install", "POST /v1/install")] {
        let answer = UnixStream::connect(&socket).and_then(|mut stream| {
            write!(
                stream,
                "{request} HTTP/1.1\r\nHost: node\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        });
        match answer {
            Ok(answer) => println!("{what}: {}", answer.lines().next().unwrap_or("nothing")),
            Err(why) => println!("{what}: no way in: {why}"),
        }
    }
}
