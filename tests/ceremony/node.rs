//! `install` beside a node that runs: a stand-in answers on the socket, so that each of the node's answers is seen.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    thread,
};

use crate::scene::Scene;

/// Answers every request at `socket`: `POST /v1/install` with what `outcomes` says of the files that lie there.
fn stand_in(socket: &Path, outcomes: fn(&Path) -> String) {
    let listener = UnixListener::bind(socket).unwrap();
    let data = socket.parent().unwrap().to_owned();
    // Ends with the test's process.
    thread::spawn(move || {
        for stream in listener.incoming() {
            answer(stream.unwrap(), &data, outcomes);
        }
    });
}

fn answer(stream: UnixStream, data: &Path, outcomes: fn(&Path) -> String) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut request = String::new();
    reader.read_line(&mut request).unwrap();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    reader.read_exact(&mut vec![0; length]).unwrap();
    let body = if request.starts_with("POST /v1/install ") { outcomes(data) } else { "[]".to_owned() };
    let mut stream = stream;
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
        .unwrap();
}

/// One outcome for every file left in `channels/memo26/incoming`.
fn all(data: &Path, outcome: &str) -> String {
    let incoming = data.join("channels/memo26/incoming");
    let files: Vec<String> = std::fs::read_dir(incoming)
        .unwrap()
        .map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let id = name.strip_suffix(".json").unwrap();
            format!(r#"{{"file":"channels/memo26/incoming/{name}","document":"{id}",{outcome}}}"#)
        })
        .collect();
    format!("[{}]", files.join(","))
}

fn ready() -> Scene {
    let scene = Scene::new();
    scene.installed();
    scene.officer();
    scene.ok("demarche sign officer.toml --key w.key");
    scene
}

#[test]
fn a_running_node_takes_it_in_at_once() {
    let scene = ready();
    stand_in(&scene.path("W/control.sock"), |data| all(data, r#""outcome":"taken""#));
    scene.says("demarche install officer.toml --data W", &["(installed, and taken in by the node)"]);
    let said = scene.json("demarche install M/muscat.card --data W");
    assert_eq!(
        (said["running"].as_bool(), said["installed"][0]["outcome"].as_str()),
        (Some(true), Some("taken"))
    );
}

#[test]
fn a_node_that_has_it_says_so() {
    let scene = ready();
    stand_in(&scene.path("W/control.sock"), |data| all(data, r#""outcome":"already""#));
    scene.says("demarche install officer.toml --data W", &["(already installed)"]);
}

/// B4: what the node says reaches the terminal escaped.
#[test]
fn a_nodes_refusal_is_told_with_its_reason() {
    let scene = ready();
    stand_in(&scene.path("W/control.sock"), |data| {
        all(data, r#""outcome":"refused","why":"the disk is \u001b[31mfull""#)
    });
    scene.refuses(
        "demarche install officer.toml --data W",
        4,
        &["the node refuses officer Duty officer", "the disk is <U+001B>[31mfull"],
    );
}

#[test]
fn a_node_that_looked_by_itself_just_before_is_believed_by_what_it_left() {
    let scene = ready();
    stand_in(&scene.path("W/control.sock"), |data| {
        let channel = data.join("channels/memo26");
        for entry in std::fs::read_dir(channel.join("incoming")).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
        "[]".to_owned()
    });
    scene.says("demarche install officer.toml --data W", &["(installed, and taken in by the node)"]);
}

#[test]
fn a_document_that_the_node_refused_may_be_installed_again() {
    let scene = ready();
    scene.ok("demarche install officer.toml --data W");
    let id = scene.json("demarche sign officer.toml --key w.key")["document"].as_str().unwrap().to_owned();
    let channel = "W/channels/memo26";
    scene.ok(&format!("mkdir {channel}/refused && mv {channel}/incoming/{id}.json {channel}/refused/ && echo why > {channel}/refused/{id}.why"));
    scene.says("demarche install officer.toml --data W", &["(installed, waiting for the node)"]);
    assert!(scene.path(&format!("{channel}/incoming/{id}.json")).exists());
    assert!(!scene.path(&format!("{channel}/refused/{id}.json")).exists());
}
