//! `demarche breach`: the notice that opens a case. Asked on a terminal, or from flags and stdin.

mod dialogue;
mod similar;

use std::path::PathBuf;

use clap::Args;
use demarche_protocol::{
    charter::{Charter, Provision},
    dispatch::{
        Breach as Notice, Confidence, Content, Dispatch, Means, Nature, Occurred, Precedence, ReplyBy,
    },
    time::Timestamp,
};

use super::{
    release::{self, Author, Typed},
    reply::PRECEDENCES,
    say::NATURES,
};
use crate::{
    args::{Globals, Sending, term},
    compose::{self, Tidied},
    error::{Result, refused, usage},
    exit::Exit,
    invocation::Invocation,
    when,
    world::World,
};

/// Report a breach.
#[derive(Args, Debug)]
pub struct Breach {
    /// The code of the provision; asked on a terminal.
    pub provision: Option<String>,
    /// The title; else the text's first line.
    #[arg(long, value_name = "TEXT")]
    pub title: Option<String>,
    /// The file that holds the text, instead of stdin.
    #[arg(long, value_name = "FILE")]
    pub body_file: Option<PathBuf>,
    /// Order of service [default: the provision's, else immediate].
    #[arg(long, value_name = "PRECEDENCE", value_parser = term::<Precedence>(&PRECEDENCES))]
    pub precedence: Option<Precedence>,
    /// Whether it is meant.
    #[arg(long, value_name = "NATURE", value_parser = term::<Nature>(&NATURES), default_value = "real")]
    pub nature: Nature,
    /// When it happened: 2026-11-23T09:31Z, 09:31Z for today, 10m for ten minutes ago; FROM/TO if it lasted.
    #[arg(long, value_name = "TIME[/TIME]")]
    pub occurred: Option<String>,
    /// Where it happened.
    #[arg(long, value_name = "TEXT")]
    pub place: Option<String>,
    /// How it became known.
    #[arg(long, value_name = "MEANS", value_parser = term::<Means>(&["seen", "heard", "sensor", "reported"]))]
    pub means: Option<Means>,
    /// How sure it is.
    #[arg(long, value_name = "HOW", value_parser = term::<Confidence>(&["confirmed", "probable", "possible"]))]
    pub confidence: Option<Confidence>,
    /// What is asked of the other side.
    #[arg(long, value_name = "TEXT")]
    pub request: Option<String>,
    /// By when a reply is asked: 6h after delivery, or a UTC time.
    #[arg(long, value_name = "SPAN|TIME")]
    pub reply_by: Option<String>,
    /// How to send.
    #[command(flatten)]
    pub sending: Sending,
}

pub(super) async fn run(mut command: Breach, globals: &Globals, world: &mut World) -> Result<Exit> {
    let mut again = globals.invocation.clone();
    let settled = settle(&mut command, &mut again, (world.now)());
    if world.is_asked() && command.body_file.is_none() {
        settled?;
        return dialogue::run(command, again, globals, world).await;
    }
    let typed = Typed::read(command.body_file.as_ref(), world).await?;
    let keeping = release::keeping(&command.sending, world);
    let interrupts = world.interrupts.clone();
    let drafting = async {
        settled?;
        draft(&command, &typed, globals, world).await
    };
    let drafted = interrupts.or(drafting).await;
    let done = release::drafted(drafted, &command.sending, world).await;
    typed.kept_if_failed(done, &keeping, &again)
}

/// Says times as moments: `10m ago` must move neither while the officer reads the preview, nor when the line is typed again.
fn settle(command: &mut Breach, again: &mut Invocation, now: Timestamp) -> Result<()> {
    if let Some(typed) = &command.occurred {
        let moments = in_full(occurred(typed, now)?);
        again.set("occurred", &moments);
        command.occurred = Some(moments);
    }
    if let Some(typed) = &command.reply_by
        && let ReplyBy::At(at) = reply_by(typed, now)?
    {
        again.set("reply_by", at.to_string());
        command.reply_by = Some(at.to_string());
    }
    Ok(())
}

/// As a person may type it, whenever that is.
fn in_full(occurred: Occurred) -> String {
    let to = occurred.to.map(|to| format!("/{to}")).unwrap_or_default();
    format!("{}{to}", occurred.from)
}

async fn draft(
    command: &Breach,
    typed: &Typed,
    globals: &Globals,
    world: &mut World,
) -> Result<(Author, Dispatch)> {
    let text = typed.tidied()?;
    let author = Author::of(globals, world, None).await?;
    let Some(code) = &command.provision else {
        let failure = usage("it is not said which provision was breached")
            .help("name one of these with everything else as it was")
            .wrong("provision");
        return Err(failure.lines(listed(&author.pin.charter)));
    };
    let provision = provision(code, &author.pin.charter)?;
    let (dispatch, changes) = notice(command, provision, &text, &author, world)?;
    if let Some((newest, others)) =
        similar::recent(&author, code, command.nature, (world.now)()).await.split_first()
    {
        let others = match others.len() {
            0 => String::new(),
            count => format!(" (and {count} more before it; see demarche cases)"),
        };
        world.screen.note(format!(
            "note: {} was opened minutes ago under the same provision: {}{others}",
            newest.serial, newest.title
        ));
    }
    release::tell_changes(&changes, world);
    Ok((author, dispatch))
}

/// The provision of this code in the pinned charter, or a refusal that lists those there are.
fn provision<'a>(code: &str, charter: &'a Charter) -> Result<&'a Provision> {
    charter.provision(code).ok_or_else(|| {
        refused(format!("the charter has no provision {code}"))
            .lines(listed(charter))
            .help("name one of these with everything else as it was")
            .wrong("provision")
    })
}

fn listed(charter: &Charter) -> Vec<String> {
    charter.provisions.iter().map(|each| format!("{}  {}", each.code, each.title_in("en"))).collect()
}

/// The notice, and what was changed to make it fit for signing.
fn notice(
    command: &Breach,
    provision: &Provision,
    text: &Tidied,
    author: &Author,
    world: &World,
) -> Result<(Dispatch, Vec<String>)> {
    let mut changes = text.changes.clone();
    let (title, body) = match &command.title {
        Some(title) => (title.as_str(), text.text.as_str()),
        None => compose::split_title(&text.text),
    };
    let option = command.title.as_ref().map(|_| "title");
    if title.is_empty() && option.is_none() {
        return Err(
            refused("there is no title: the text is empty").help("--title TEXT, or a first line on stdin")
        );
    }
    let what = if option.is_some() { "--title" } else { "the title (first line)" };
    let title = compose::tidy_line(what, option, title, &mut changes)?;
    if !body.trim().is_empty() {
        compose::check_body("the text", body)?;
    }
    let now = (world.now)();
    let mut line = |option: &str, id, typed: &Option<String>| {
        typed.as_deref().map(|typed| compose::tidy_line(option, Some(id), typed, &mut changes)).transpose()
    };
    let content = Content::Breach(Notice {
        provision: provision.code.clone(),
        title,
        body: Some(body.to_owned()).filter(|body| !body.trim().is_empty()),
        occurred: command.occurred.as_deref().map(|typed| occurred(typed, now)).transpose()?,
        place: line("--place", "place", &command.place)?,
        means: command.means,
        confidence: command.confidence,
        request: line("--request", "request", &command.request)?,
        reply_by: command.reply_by.as_deref().map(|typed| reply_by(typed, now)).transpose()?,
    });
    let precedence = command.precedence.or(provision.precedence).unwrap_or(Precedence::Immediate);
    Ok((author.dispatch(world, command.nature, precedence, content), changes))
}

fn occurred(typed: &str, now: Timestamp) -> Result<Occurred> {
    when::occurred(typed, now).map_err(|why| usage(format!("--occurred: {why}")).wrong("occurred"))
}

fn reply_by(typed: &str, now: Timestamp) -> Result<ReplyBy> {
    when::reply_by(typed, now).map_err(|why| usage(format!("--reply-by: {why}")).wrong("reply_by"))
}
