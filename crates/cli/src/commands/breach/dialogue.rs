//! The notice asked for on a terminal: provision, text, when; then a preview, and send, edit or keep. Whatever goes
//! wrong, what was typed is kept.

use std::{io::Write as _, process::Command as Process};

use demarche_control::{
    Serial, layout,
    types::{Case, Shown},
};
use demarche_protocol::{
    charter::Provision,
    dispatch::{Content, Dispatch, Statement},
    hash::DocumentId,
};

use super::{
    super::release::{self, Author, Typed},
    Breach, in_full, notice, occurred, provision, similar,
};
use crate::{
    args::{Globals, Sending},
    compose::{self, Tidied},
    error::{Failure, Result, failed, refused, unverified},
    exit::Exit,
    invocation::Invocation,
    reference::{Reference, Target},
    screen::{Line, Style},
    view, when,
    world::World,
};

/// `again` is the line as it was typed; what is asked and answered comes to it.
pub(super) async fn run(
    mut command: Breach,
    mut again: Invocation,
    globals: &Globals,
    world: &mut World,
) -> Result<Exit> {
    // Key and charter first: a wrong passphrase must not cost a typed text.
    let author = Author::of(globals, world, None).await?;
    let code = match &command.provision {
        Some(code) => provision(code, &author.pin.charter)?.code.clone(),
        None => ask_provision(&author, world).await?,
    };
    again.set("provision", &code);
    let keeping = release::keeping(&command.sending, world);
    // From here on there is something to lose.
    world.interrupts.heed();
    world.input.begin_typing();
    let interrupts = world.interrupts.clone();
    let mut told = Told { text: String::new(), whole: false, again };
    let chosen = interrupts.or(ask_whole(&mut command, &code, &mut told, &author, world)).await;
    if chosen.is_err() && !told.whole {
        told.text.push_str(&world.input.unfinished().await);
    }
    let done = match chosen {
        Ok(Chosen::Send(dispatch)) => release::release(*dispatch, &author, &command.sending, world).await,
        Ok(Chosen::Keep(dispatch)) => keep(&dispatch, &author, &command.sending, world).await,
        Err(failure) => Err(failure),
    };
    Typed::of_lines(&told.text).kept_if_failed(done, &keeping, &told.again)
}

/// What was typed and answered so far.
struct Told {
    text: String,
    /// Whether the dot has come.
    whole: bool,
    /// The line that says the rest without asking.
    again: Invocation,
}

/// What the officer wants done with the notice.
enum Chosen {
    Send(Box<Dispatch>),
    Keep(Box<Dispatch>),
}

/// Asks until the notice is whole. What was typed so far is in `told` at every moment.
async fn ask_whole(
    command: &mut Breach,
    code: &str,
    told: &mut Told,
    author: &Author,
    world: &mut World,
) -> Result<Chosen> {
    ask_text(command.title.is_some(), &mut told.text, world).await?;
    told.whole = true;
    if command.occurred.is_none() {
        let occurred = ask_when(world).await?;
        told.again.set("occurred", &occurred);
        command.occurred = Some(occurred);
    }
    let provision = provision(code, &author.pin.charter)?;
    let going_on = match similar::recent(author, code, command.nature, (world.now)()).await.first() {
        Some(case) => ask_same(case, author, world).await?,
        None => None,
    };
    if let Some(of) = &going_on {
        told.again = told.again.turned("say");
        told.again.set("case", of.serial.to_string());
    }
    let left_out = if going_on.is_some() { left_out(command) } else { Vec::new() };
    let text = &mut told.text;
    loop {
        let tidied = compose::tidy(text);
        let drafted = match &going_on {
            None => notice(command, provision, &tidied, author, world),
            Some(of) => statement(of, command, &tidied, author, world),
        };
        let choice = match &drafted {
            Ok((dispatch, changes)) => {
                preview(dispatch, provision, going_on.as_ref(), changes, world);
                if !left_out.is_empty() {
                    let line = Line::styled(Style::Warn, "left out, for a statement has no such fields: ");
                    world.screen.note(line.and(left_out.join(", ")));
                }
                ask_choice("[s]end [e]dit [k]eep: ", &['s', 'e', 'k'], world).await?
            }
            Err(failure) => {
                world.screen.note(Line::styled(Style::Bad, "not yet: ").and(failure.what.as_str()));
                ask_choice("[e]dit [k]eep: ", &['e', 'k'], world).await?
            }
        };
        match (choice, drafted) {
            ('s', Ok((dispatch, _))) => return Ok(Chosen::Send(Box::new(dispatch))),
            ('e', _) => match edit(text, world) {
                Ok(edited) => *text = edited,
                Err(failure) => world.screen.fail(&failure),
            },
            (_, Ok((dispatch, _))) => return Ok(Chosen::Keep(Box::new(dispatch))),
            (_, Err(failure)) => return Err(failure),
        }
    }
}

async fn keep(dispatch: &Dispatch, author: &Author, sending: &Sending, world: &mut World) -> Result<Exit> {
    let mut outgoing = release::sign(dispatch, author, sending, world).await?;
    let path = outgoing.keep().map_err(|why| failed(format!("the signed file could not be kept: {why}")))?;
    world.screen.say(format!("signed and kept, not sent: {}", outgoing.send_command(&path)));
    world.screen.json(&serde_json::json!({ "kept": path }));
    Ok(Exit::Done)
}

/// One answer; the end of input is one too, and leaves nothing unsaved behind it.
async fn ask(question: &str, world: &mut World) -> Result<Option<String>> {
    world.screen.ask(question);
    let line = typed_line(world).await?;
    Ok(line.map(|line| line.trim().to_owned()))
}

async fn typed_line(world: &mut World) -> Result<Option<String>> {
    let typed = world.input.typed_line().await;
    typed.map_err(|why| failed(format!("the terminal cannot be read: {why}")))
}

fn ended() -> Failure {
    refused("the answers ended before the notice was whole; nothing was sent")
}

async fn ask_provision(author: &Author, world: &mut World) -> Result<String> {
    let provisions = &author.pin.charter.provisions;
    world.screen.say(Line::styled(Style::Bold, "Which provision was breached?"));
    for (at, each) in provisions.iter().enumerate() {
        world.screen.say(format!("{:>4}  {}  {}", at + 1, each.code, each.title_in("en")));
    }
    loop {
        let answer = ask("Number or code: ", world).await?.ok_or_else(ended)?;
        // A code that looks like a number is still the code.
        let by_code = author.pin.charter.provision(&answer);
        let by_number =
            || answer.parse::<usize>().ok().and_then(|number| provisions.get(number.checked_sub(1)?));
        if let Some(found) = by_code.or_else(by_number) {
            world.screen.say(format!("      {}  {}", found.code, found.title_in("en")));
            return Ok(found.code.clone());
        }
        world.screen.note(format!("there is no `{answer}` in the list"));
    }
}

async fn ask_text(titled: bool, text: &mut String, world: &mut World) -> Result<()> {
    let first = if titled { "" } else { " Its first line is the title." };
    world.screen.say(
        Line::styled(Style::Bold, "What happened?")
            .and(format!("{first} End with a line that holds one dot.")),
    );
    loop {
        match typed_line(world).await? {
            None => return Ok(()),
            Some(line) if line == "." => return Ok(()),
            Some(line) => {
                text.push_str(&line);
                text.push('\n');
            }
        }
    }
}

async fn ask_when(world: &mut World) -> Result<String> {
    loop {
        let now = (world.now)();
        let answer = ask("When, in UTC? (Enter: now; or 09:31Z, 10m ago, FROM/TO): ", world).await?;
        let answer = answer.unwrap_or_default();
        let typed = if answer.is_empty() { now.to_string() } else { answer };
        match occurred(&typed, now) {
            Ok(occurred) => return Ok(in_full(occurred)),
            Err(failure) => world.screen.note(failure.what),
        }
    }
}

async fn ask_choice(question: &str, choices: &[char], world: &mut World) -> Result<char> {
    loop {
        // Whoever hangs up keeps what was written.
        let Some(answer) = ask(question, world).await? else { return Ok('k') };
        let first = answer.chars().next().map(|first| first.to_ascii_lowercase());
        if let Some(choice) = first.filter(|first| choices.contains(first)) {
            return Ok(choice);
        }
    }
}

/// The case to go on with, if that is what the officer wants; verified like everything that is answered.
async fn ask_same(case: &Case, author: &Author, world: &mut World) -> Result<Option<Dispatched>> {
    world.screen.say(Line::styled(
        Style::Warn,
        format!("{} was opened at {} under the same provision:", case.serial, when::shown(case.opened_at)),
    ));
    world.screen.say(format!("      {}", case.title));
    let question = "Go on with that case instead of opening another? [y]es [n]o: ";
    if ask_choice(question, &['y', 'n'], world).await? != 'y' {
        return Ok(None);
    }
    let reference = Reference { channel: None, target: Target::Serial(case.serial.clone()) };
    let (shown, original) = author.original(&reference).await?;
    let document = release::notice_of(&shown, &original)?;
    let nature = original.dispatch.nature;
    if nature != case.nature {
        let why = format!("{} is {nature}, not {} as the node said", case.serial, case.nature);
        return Err(
            unverified(why).help("nothing was signed; have the node looked at, and open a case of its own")
        );
    }
    Ok(Some(Dispatched { serial: case.serial.clone(), document, dispatch: original.dispatch }))
}

/// The notice of the case that goes on.
struct Dispatched {
    serial: Serial,
    document: DocumentId,
    dispatch: Dispatch,
}

/// What was said for a notice and has no place in a statement.
fn left_out(command: &Breach) -> Vec<String> {
    let said = [
        ("occurred", command.occurred.clone()),
        ("place", command.place.clone()),
        ("means", command.means.map(|means| means.to_string())),
        ("confidence", command.confidence.map(|confidence| confidence.to_string())),
        ("request", command.request.clone()),
        ("reply-by", command.reply_by.clone()),
    ];
    said.into_iter().filter_map(|(option, value)| Some(format!("--{option} {}", value?))).collect()
}

fn statement(
    of: &Dispatched,
    command: &Breach,
    text: &Tidied,
    author: &Author,
    world: &World,
) -> Result<(Dispatch, Vec<String>)> {
    compose::check_body("the text", &text.text)?;
    let mut changes = text.changes.clone();
    let title = command
        .title
        .as_deref()
        .map(|title| compose::tidy_line("--title", Some("title"), title, &mut changes))
        .transpose()?;
    let content = Content::Statement(Statement { case: Some(of.document), title, body: text.text.clone() });
    let precedence = command.precedence.unwrap_or(of.dispatch.precedence);
    Ok((author.dispatch(world, command.nature, precedence, content), changes))
}

/// What will be signed, every field of it.
fn preview(
    dispatch: &Dispatch,
    provision: &Provision,
    of: Option<&Dispatched>,
    changes: &[String],
    world: &mut World,
) {
    let screen = &mut world.screen;
    screen.say("");
    if let Some(banner) = view::banner(Some(dispatch.nature)) {
        screen.say(banner);
    }
    let precedence = view::precedence(Some(dispatch.precedence));
    screen
        .say(Line::styled(Style::Bold, format!("{precedence} {} from {}", dispatch.kind(), dispatch.party)));
    let mut field = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            screen.say(format!("  {name:<11} {value}"));
        }
    };
    if matches!(dispatch.content, Content::Breach(_)) {
        field("Provision", Some(format!("{} {}", provision.code, provision.title_in("en"))));
    }
    field("Case", of.map(|of| of.serial.to_string()));
    field("Title", dispatch.title().map(str::to_owned));
    for (name, value) in view::fields(&Shown::fields_of(dispatch)) {
        field(&name, Some(value));
    }
    if let Some(body) = dispatch.body() {
        screen.say("");
        screen.block("  | ", body);
    }
    screen.say("");
    release::tell_changes(changes, world);
}

/// Opens the officer's editor on the text, in a file that nobody else can read.
fn edit(text: &str, world: &World) -> Result<String> {
    let editor = world.env.get("VISUAL").or_else(|| world.env.get("EDITOR")).cloned();
    let editor = editor.unwrap_or_else(|| "vi".into());
    let broken = |why: &dyn std::fmt::Display| {
        failed(format!("the editor {} could not be used: {why}", editor.to_string_lossy()))
            .help("set EDITOR to the editor you use")
    };
    let directory = world.env.path("XDG_RUNTIME_DIR").unwrap_or_else(std::env::temp_dir);
    let path = directory.join(format!(
        "demarche-{}-{}.txt",
        std::process::id(),
        fresh().map_err(|why| broken(&why))?
    ));
    let edited = (|| {
        use std::os::unix::fs::OpenOptionsExt as _;
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(text.as_bytes())?;
        drop(file);
        // EDITOR may carry options, so a shell takes it apart; the path is an argument, not part of the command.
        let status = Process::new("sh").arg("-c").arg("exec $0 \"$1\"").arg(&editor).arg(&path).status()?;
        Ok((status, layout::read_bounded(&path, release::INPUT)?))
    })()
    .map_err(|why: std::io::Error| broken(&why));
    match edited {
        // An editor that was ended from outside may have saved what is nowhere else.
        Ok((status, bytes)) if !status.success() && bytes != text.as_bytes() => {
            let failure = broken(&format!("it ended with {status}"));
            Err(failure.line(format!("nothing is lost: what it had saved is kept in {}", path.display())))
        }
        edited => {
            let _ = std::fs::remove_file(&path);
            match edited? {
                (status, _) if !status.success() => Err(broken(&format!("it ended with {status}"))),
                (_, bytes) => compose::decode(bytes, "the edited text"),
            }
        }
    }
}

fn fresh() -> std::io::Result<String> {
    Ok(demarche_protocol::hash::hex(&*crate::keyfile::random::<8>()?))
}
