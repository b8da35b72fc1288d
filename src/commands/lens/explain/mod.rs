//! `upstart lens explain`: makes one call through lenses, as a node would, and says what happens to it step by step.

mod print;

use super::place;
use crate::connection::wait_for;
use crate::failure::{Advise, CommandEnd, CommandOutcome, failure};
use crate::globals::Globals;
use crate::output;
use call::Direction;
use clap::{Args, ValueEnum};
use conversation::{Content, Conversation, Exchange, Headers, Reply, Request};
use lens::explain::{Explanation, explain};
use std::path::PathBuf;

/// Arguments of `upstart lens explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The lens file
    #[arg(value_name = "LENS")]
    pub(crate) lens: PathBuf,
    /// The call's method
    #[arg(value_name = "METHOD", required_unless_present = "conversation")]
    pub(crate) method: Option<String>,
    /// The call's path and query, as on the wire
    #[arg(value_name = "PATH", required_unless_present = "conversation")]
    pub(crate) path: Option<String>,
    /// Which adapter: `past` for a caller of the old version (`old`), `future` for one of the new version (`new`)
    #[arg(
        long,
        value_name = "DIRECTION",
        required_unless_present = "conversation"
    )]
    pub(crate) direction: Option<LensWay>,
    /// The next lens of the chain, on the side of the software (repeatable)
    #[arg(long, value_name = "LENS")]
    pub(crate) then: Vec<PathBuf>,
    /// A header of the call, `NAME: VALUE` (repeatable); `content-type:` sends JSON without a media type
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    pub(crate) headers: Vec<String>,
    /// The call's body, or `@FILE`
    #[arg(short = 'd', long = "body", value_name = "BODY")]
    pub(crate) body: Option<String>,
    /// What the next in the chain answers; without it only the request is explained
    #[arg(long, value_name = "STATUS")]
    pub(crate) answer_status: Option<u16>,
    /// A header of that answer (repeatable)
    #[arg(long, value_name = "HEADER", requires = "answer_status")]
    pub(crate) answer_header: Vec<String>,
    /// The body of that answer, or `@FILE`
    #[arg(long, value_name = "BODY", requires = "answer_status")]
    pub(crate) answer_body: Option<String>,
    /// Take the call, its answers and the direction from a conversation file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["method", "path", "headers", "body", "answer_status"])]
    pub(crate) conversation: Option<PathBuf>,
}

/// A direction, also by the side that the caller speaks.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LensWay {
    /// The caller speaks the old version
    #[value(alias = "old")]
    Past,
    /// The caller speaks the new version
    #[value(alias = "new")]
    Future,
}

impl From<LensWay> for Direction {
    fn from(way: LensWay) -> Self {
        match way {
            LensWay::Past => Self::Past,
            LensWay::Future => Self::Future,
        }
    }
}

/// `upstart lens explain`.
pub(crate) fn run(globals: &Globals, arguments: &ExplainArgs) -> CommandOutcome {
    let conversation = conversation(arguments)?;
    let direction = arguments
        .direction
        .map(Direction::from)
        .or(conversation.direction);
    let direction = direction.ok_or_else(|| {
        failure(
            "the conversation is a direct one: no adapter takes part in it",
            "say which adapter is meant: --direction past or --direction future",
        )
    })?;
    let mut lenses = Vec::new();
    for path in [&arguments.lens].into_iter().chain(&arguments.then) {
        lenses.push((place::load(path)?, direction));
    }
    let answers = conversation
        .exchanges
        .into_iter()
        .map(|exchange| exchange.answers);
    let answers: Vec<Reply> = answers.collect();
    let explanation =
        wait_for(async { Ok(explain(&lenses, &conversation.sends, &answers).await) })?;
    if globals.json {
        output::json(&explanation)?;
    } else {
        print::explanation(&explanation)?;
    }
    Ok(if is_refused(&explanation) {
        CommandEnd::No
    } else {
        CommandEnd::Yes
    })
}

fn is_refused(explanation: &Explanation) -> bool {
    explanation.lenses.iter().any(|lens| lens.refused.is_some())
}

/// The call, and what is answered to it.
fn conversation(arguments: &ExplainArgs) -> anyhow::Result<Conversation> {
    if let Some(file) = &arguments.conversation {
        let shown = file.display().to_string();
        let text = crate::files::read_text(file)
            .advise(format!("cannot read {shown}"), "give a conversation file")?;
        let conversation = Conversation::parse(&shown, &text).advise(
            "the conversation cannot be read",
            "mend it; docs/reference/lenses.md has the format",
        )?;
        if !conversation.is_http() {
            return Err(failure(
                format!("{shown} is no call of HTTP"),
                "lenses understand no other; `upstart adapter test` plays it through a component",
            ));
        }
        return Ok(conversation);
    }
    // The same reader checks what the arguments say.
    let written = Conversation {
        sends: Request {
            form: call::Form::Http,
            method: method(arguments)?,
            target: arguments.path.clone().unwrap_or_default(),
            headers: headers(&arguments.headers)?,
            body: body(arguments.body.as_deref())?,
        },
        ..Conversation::default()
    };
    let mut conversation = with_media_type(written);
    if !conversation.sends.target.starts_with('/') {
        return Err(failure(
            format!("`{}` is not a path", conversation.sends.target),
            "give the path and the query as on the wire, as in /items/1?limit=2",
        ));
    }
    if let Some(status) = arguments.answer_status {
        let reply = Reply {
            status: http::StatusCode::from_u16(status).advise(
                format!("{status} is not a status"),
                "give one from 200 to 599",
            )?,
            headers: headers(&arguments.answer_header)?,
            body: body(arguments.answer_body.as_deref())?,
        };
        conversation.exchanges = vec![Exchange {
            gets: Request::default(),
            answers: reply,
        }];
    }
    Ok(conversation)
}

fn with_media_type(mut conversation: Conversation) -> Conversation {
    let sends = &mut conversation.sends;
    if sends.body.json().is_some() && !sends.headers.contains_key("content-type") {
        let media = vec!["application/json".to_owned()];
        sends.headers.insert("content-type".to_owned(), media);
    }
    conversation
}

fn method(arguments: &ExplainArgs) -> anyhow::Result<http::Method> {
    let method = arguments.method.as_deref().unwrap_or_default();
    http::Method::from_bytes(method.as_bytes()).advise(
        format!("`{method}` is not a method"),
        "give one as in GET or POST",
    )
}

fn headers(written: &[String]) -> anyhow::Result<Headers> {
    let mut headers = Headers::new();
    for line in written {
        let Some((name, value)) = line.split_once(':') else {
            return Err(failure(
                format!("`{line}` is not a header"),
                "write it as in -H 'x-colour: red'",
            ));
        };
        let name = name.trim().to_ascii_lowercase();
        let values = headers.entry(name.clone()).or_default();
        // As a client without one, not as one with an empty one.
        if name != "content-type" || !value.trim().is_empty() {
            values.push(value.trim().to_owned());
        }
    }
    Ok(headers)
}

/// A body given in place, or as `@FILE`.
fn body(written: Option<&str>) -> anyhow::Result<Content> {
    let Some(written) = written else {
        return Ok(Content::default());
    };
    match written.strip_prefix('@') {
        None => Ok(Content(written.as_bytes().to_vec())),
        Some(file) => crate::files::read(file.as_ref())
            .map(Content)
            .advise(format!("cannot read {file}"), "give a file behind the @"),
    }
}
