use std::sync::{Arc, Mutex};

use super::*;

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn taken(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
    }
}

fn screen(terminal: bool, no_colour: bool) -> (Screen, Shared, Shared) {
    let (out, err) = (Shared::default(), Shared::default());
    let sink = |to: &Shared| Sink { to: Box::new(to.clone()), terminal };
    (Screen::new(sink(&out), sink(&err), no_colour), out, err)
}

#[test]
fn b4_whatever_a_caller_prints_no_foreign_control_reaches_either_stream() {
    let evil: String = ('\0'..='\u{a0}').chain(['\u{202e}', '\u{2066}', '\u{2028}']).collect();
    let (mut screen, out, err) = screen(true, true);
    screen.say(evil.as_str());
    screen.block("  ", &evil);
    screen.note(Line::styled(Style::Bad, evil.as_str()));
    screen.ask(evil.as_str());
    screen.fail(&crate::error::failed(evil.as_str()).line(evil.as_str()).help(evil.as_str()));
    screen.set_json(true);
    screen.json(&evil);
    screen.json_line(&[&evil]);
    for text in [out.taken(), err.taken()] {
        let acting: Vec<char> = text.chars().filter(|c| c.is_control() && *c != '\n').collect();
        assert!(acting.is_empty(), "{acting:?}");
        assert!(!text.contains(['\u{202e}', '\u{2066}', '\u{2028}']));
    }
}

#[test]
fn colour_is_only_for_terminals_that_take_it() {
    for (terminal, no_colour, coloured) in
        [(true, false, true), (true, true, false), (false, false, false), (false, true, false)]
    {
        let (mut screen, out, _) = screen(terminal, no_colour);
        screen.say(Line::styled(Style::Bad, "lost").and(" since 09:40"));
        let expected = if coloured { "\x1b[1;31mlost\x1b[0m since 09:40\n" } else { "lost since 09:40\n" };
        assert_eq!(out.taken(), expected);
    }
}

#[test]
fn a_colour_cannot_be_kept_on_by_the_text_it_colours() {
    let (mut screen, out, _) = screen(true, false);
    screen.say(Line::styled(Style::Dim, "a\x1b[31mb"));
    assert_eq!(out.taken(), "\x1b[2ma<U+001B>[31mb\x1b[0m\n");
}

#[test]
fn beside_json_all_prose_goes_to_stderr() {
    let (mut screen, out, err) = screen(false, false);
    screen.json(&1);
    screen.set_json(true);
    screen.say("prose");
    screen.json(&["value"]);
    assert_eq!((out.taken(), err.taken()), ("[\n  \"value\"\n]\n".to_owned(), "prose\n".to_owned()));
}

#[test]
fn a_failure_says_what_failed_and_then_the_help() {
    let (mut screen, out, err) = screen(false, false);
    let failure = crate::error::refused("the charter has no provision 9")
        .line("3.1 Access")
        .help("demarche breach 3.1");
    screen.fail(&failure);
    assert_eq!(
        err.taken(),
        "error: the charter has no provision 9\n  3.1 Access\nhelp: demarche breach 3.1\n"
    );
    screen.set_json(true);
    screen.fail(&failure);
    let said: serde_json::Value = serde_json::from_str(&out.taken()).unwrap();
    assert_eq!(said["exit"], 4);
    assert_eq!(said["help"][0], "demarche breach 3.1");
}

#[test]
fn the_bell_rings_only_on_a_terminal() {
    for (terminal, rung) in [(true, "\x07"), (false, "")] {
        let (mut screen, _, err) = screen(terminal, false);
        screen.ring();
        assert_eq!(err.taken(), rung);
    }
}
