//! What stands around every page, and the pages before one: signing in, refusals.

use crate::act::button;
use crate::assets::{FAVICON, SCRIPT, STYLE};
use crate::user::{PageUser, form_token};
use crate::words::{ago, encoded, visible_texts};
use maud::{DOCTYPE, Markup, html};
use model::api::Pause;

/// What stands around a page.
#[derive(Clone, Debug)]
pub struct PageFrame {
    /// What the page is about.
    pub title: String,
    /// The system's name; empty before there is one.
    pub system: String,
    /// Who looks.
    pub user: PageUser,
    /// The system's pause.
    pub paused: Option<Pause>,
    /// Why the server cannot store what changes, as long as it cannot.
    pub trouble: Option<String>,
    /// The server's time.
    pub now_ms: u64,
    /// The page's own path, by which its place in the navigation is marked.
    pub path: &'static str,
    /// Something that was done just now.
    pub done: Option<String>,
    /// It changes with the system: the script asks for it again.
    pub is_live: bool,
}

/// Where one gets from everywhere.
const PLACES: [(&str, &str); 3] = [("/", "Fleet"), ("/nodes", "Nodes"), ("/history", "History")];

/// A whole page.
#[must_use]
pub fn document(frame: &PageFrame, content: &Markup) -> Markup {
    let name = if frame.system.is_empty() {
        "Upstart"
    } else {
        &frame.system
    };
    visible_texts(html! {
        (DOCTYPE)
        html lang="en" {
            (head(&format!("{} \u{b7} {name}", frame.title), frame.is_live))
            body {
                a .skip href="#content" { "Skip to the content" }
                header .top {
                    a .system href="/" { (name) }
                    nav aria-label="Pages" {
                        @for (path, what) in PLACES {
                            a href=(path) aria-current=[(frame.path == path).then_some("page")] { (what) }
                        }
                    }
                    @if frame.is_live { span #live .live role="status" {} }
                    form .leave method="post" action="/logout" {
                        (form_token(&frame.user))
                        span .who { (frame.user.name) " \u{b7} " (frame.user.role) }
                        button .quiet type="submit" { "Sign out" }
                    }
                }
                @if frame.is_live {
                    // The script shows it: without one nothing here claims to be up to date.
                    div #stale .stale hidden {
                        p .banner .bad role="alert" {
                            "Not connected: what stands here is " span #age aria-hidden="true" {} " old. It is asked for again by itself."
                        }
                    }
                }
                main #content data-live=[frame.is_live.then_some("")] data-now=[frame.is_live.then_some(frame.now_ms)] {
                    (banners(frame))
                    h1 { (frame.title) }
                    (content)
                }
            }
        }
    })
}

/// What everybody has to know.
fn banners(frame: &PageFrame) -> Markup {
    html! {
        @if let Some(done) = &frame.done {
            p .banner .good role="status" { (done) }
        }
        @if let Some(trouble) = &frame.trouble {
            p .banner .bad role="alert" {
                "The server cannot store what changes (" (trouble) "): what nodes have told since is missing here."
            }
        }
        @if let Some(pause) = &frame.paused {
            div .banner .warn {
                p {
                    b { "Paused" } " by " (pause.author) ", " (ago(frame.now_ms, pause.since_ms))
                    @if !pause.reason.is_empty() { ": " (pause.reason) }
                    ". No node begins an upgrade."
                }
                @if frame.user.may_operate() { (button("resume", &[], "Go on")) }
            }
        }
    }
}

fn head(title: &str, has_script: bool) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            meta name="robots" content="noindex";
            title { (title) }
            link rel="stylesheet" href=(STYLE.path);
            link rel="icon" type=(FAVICON.media_type) href=(FAVICON.path);
            @if has_script { script src=(SCRIPT.path) defer {} }
        }
    }
}

/// A page for those who are not known yet.
fn outside(title: &str, content: &Markup) -> Markup {
    visible_texts(html! {
        (DOCTYPE)
        html lang="en" {
            (head(&format!("{title} \u{b7} Upstart"), false))
            body .outside {
                main #content {
                    h1 { (title) }
                    (content)
                }
            }
        }
    })
}

/// Where one signs in; `to` is where one goes then, and `said` what was wrong the last time.
#[must_use]
pub fn login_page(to: &str, said: Option<&str>) -> Markup {
    let form = html! {
        @if let Some(said) = said {
            p .banner .bad role="alert" { (said) }
        }
        p {
            "Run this where you are logged in, and open the link that it prints:"
        }
        pre { code { "upstart page" } }
        form method="post" action={ "/login?to=" (encoded(to)) } .stack {
            p { "Or paste a token: the server\u{2019}s own, or one of the issuer that the server knows." }
            label for="token" { "Token" }
            input #token type="password" name="token" required autocomplete="off" spellcheck="false";
            label for="name" { "Your name, for the history" }
            input #name type="text" name="name" maxlength="100" autocomplete="username" aria-describedby="name-hint";
            p #name-hint .hint { "It counts with the server\u{2019}s own token only; an issuer\u{2019}s token says who you are." }
            button type="submit" { "Sign in" }
        }
    };
    outside("Sign in", &form)
}

/// What a one-time link leads to. That somebody looks at a link, or a program does, uses it up for nobody: the button does.
#[must_use]
pub fn code_page(code: &str) -> Markup {
    let form = html! {
        p { "This link signs this browser in, once." }
        form method="post" action="/login" .stack {
            input type="hidden" name="code" value=(code);
            button type="submit" { "Sign in" }
        }
    };
    outside("Sign in", &form)
}

/// Why something was not done, or is not there.
#[must_use]
pub fn refusal_page(title: &str, detail: &str, is_known: bool) -> Markup {
    let content = html! {
        p .reason { (detail) }
        p {
            @if is_known { a href="/" { "To the fleet" } } @else { a href="/login" { "Sign in" } }
        }
    };
    outside(title, &content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::api::Role;

    const NASTY: &str = "\"><img src=x onerror=alert(1)><script>alert(1)</script>";

    pub(crate) fn user(role: Role) -> PageUser {
        PageUser {
            name: NASTY.to_owned(),
            role,
            form_token: "f0".to_owned(),
        }
    }

    #[test]
    fn whatever_people_write_is_text() {
        let frame = PageFrame {
            title: NASTY.to_owned(),
            system: NASTY.to_owned(),
            user: user(Role::Admin),
            paused: Some(Pause {
                reason: NASTY.to_owned(),
                author: NASTY.to_owned(),
                since_ms: 0,
            }),
            trouble: Some(NASTY.to_owned()),
            now_ms: 5,
            path: "/",
            done: Some(NASTY.to_owned()),
            is_live: true,
        };
        let pages = [
            document(&frame, &html! { p { (NASTY) } }),
            login_page(NASTY, Some(NASTY)),
            code_page(NASTY),
            refusal_page(NASTY, NASTY, true),
        ];
        for page in pages {
            let page = page.into_string();
            assert!(
                !page.contains("<img") && !page.contains("<script>"),
                "{page}"
            );
        }
    }

    #[test]
    fn who_may_only_look_is_offered_nothing_else() {
        assert!(!user(Role::Viewer).may_operate());
        assert!(!user(Role::Publisher).may_operate());
        assert!(user(Role::Operator).may_operate() && user(Role::Admin).may_operate());
    }
}
