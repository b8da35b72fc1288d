//! Sessions of browsers, and the one-time links that begin one. Both are in memory only: when the server is started again, people sign in
//! again. What a browser keeps is a secret, of which only the digest is here.

use crate::http::auth::digest;
use crate::http::requester::Requester;
use model::api::Principal;
use parking_lot::Mutex;
use std::collections::HashMap;

/// How long a session lasts at most.
pub(super) const SESSION_MS: u64 = 8 * 60 * 60 * 1_000;

/// How long a session lasts that nobody uses.
const IDLE_MS: u64 = 60 * 60 * 1_000;

/// How long a one-time link can be used.
pub(super) const LINK_MS: u64 = 60_000;

/// How many sessions there are at most: then one of whoever has most goes, the one that was not used for longest.
const SESSIONS_MAX: usize = 1_000;

/// How many of them are one person's: enough for many browsers, and too few to take the others' places.
const SESSIONS_EACH_MAX: usize = 50;

/// How many links there are at most: then the oldest goes of whoever has most.
const LINKS_MAX: usize = 1_000;

/// How many of them are one person's: a link lives for a minute.
const LINKS_EACH_MAX: usize = 20;

/// What a secret holds of chance, in bytes.
const CHANCE_BYTES: usize = 32;

/// Whose browser it is.
#[derive(Clone, Debug)]
pub(super) struct BrowserSession {
    /// How they were known when it began; looked up again at each request.
    pub(super) requester: Requester,
    /// The name that the history shows where none is proven.
    pub(super) author: String,
    /// What the forms of this session carry.
    pub(super) form_token: String,
    began_ms: u64,
    used_ms: u64,
}

/// Who has a one-time link made.
#[derive(Clone, Debug)]
struct OpenLink {
    requester: Requester,
    author: String,
    made_ms: u64,
}

/// The sessions of browsers.
#[derive(Clone, Debug, Default)]
pub(crate) struct PageSessions(std::sync::Arc<Mutex<SessionTable>>);

#[derive(Debug, Default)]
struct SessionTable {
    /// By the digest of what the browser keeps.
    sessions: HashMap<String, BrowserSession>,
    /// By the digest of the code in the link.
    links: HashMap<String, OpenLink>,
}

impl PageSessions {
    /// Begins a session: what the browser is to keep.
    pub(super) fn begin(&self, requester: Requester, author: String, now_ms: u64) -> String {
        let secret = secret();
        let mut table = self.0.lock();
        table.sweep(now_ms);
        let owner = requester.principal().cloned();
        let limits = (SESSIONS_EACH_MAX, SESSIONS_MAX);
        make_room(&mut table.sessions, &owner, limits, |one| {
            (one.requester.principal().cloned(), one.used_ms)
        });
        let session = BrowserSession {
            requester,
            author,
            form_token: self::secret(),
            began_ms: now_ms,
            used_ms: now_ms,
        };
        table.sessions.insert(digest(&secret), session);
        secret
    }

    /// The session of a browser, which is used now.
    pub(super) fn used(&self, secret: &str, now_ms: u64) -> Option<BrowserSession> {
        let mut table = self.0.lock();
        table.sweep(now_ms);
        let session = table.sessions.get_mut(&digest(secret))?;
        session.used_ms = now_ms;
        Some(session.clone())
    }

    /// Whether a session goes on; to look does not use it.
    pub(super) fn goes_on(&self, secret: &str, now_ms: u64) -> bool {
        let mut table = self.0.lock();
        table.sweep(now_ms);
        table.sessions.contains_key(&digest(secret))
    }

    /// Ends a session.
    pub(super) fn end(&self, secret: &str) {
        self.0.lock().sessions.remove(&digest(secret));
    }

    /// Makes a one-time link: its code.
    pub(super) fn make_link(&self, requester: Requester, author: String, now_ms: u64) -> String {
        let code = secret();
        let mut table = self.0.lock();
        table.sweep(now_ms);
        let owner = requester.principal().cloned();
        let limits = (LINKS_EACH_MAX, LINKS_MAX);
        make_room(&mut table.links, &owner, limits, |one| {
            (one.requester.principal().cloned(), one.made_ms)
        });
        let link = OpenLink {
            requester,
            author,
            made_ms: now_ms,
        };
        table.links.insert(digest(&code), link);
        code
    }

    /// Uses a link up: who has had it made, and their name.
    pub(super) fn use_link(&self, code: &str, now_ms: u64) -> Option<(Requester, String)> {
        let mut table = self.0.lock();
        table.sweep(now_ms);
        let link = table.links.remove(&digest(code))?;
        Some((link.requester, link.author))
    }
}

impl SessionTable {
    fn sweep(&mut self, now_ms: u64) {
        self.sessions.retain(|_, session| {
            now_ms.saturating_sub(session.began_ms) < SESSION_MS
                && now_ms.saturating_sub(session.used_ms) < IDLE_MS
        });
        self.links
            .retain(|_, link| now_ms.saturating_sub(link.made_ms) < LINK_MS);
    }
}

/// Makes room for one more of an owner's. Whoever has their share loses their own oldest; when all places are taken, it is the oldest of
/// whoever has most. So nobody takes what others have, however often they come.
fn make_room<T>(
    all: &mut HashMap<String, T>,
    owner: &Option<Principal>,
    (each_max, max): (usize, usize),
    about: impl Fn(&T) -> (Option<Principal>, u64),
) {
    let mut counts: HashMap<Option<Principal>, usize> = HashMap::new();
    for one in all.values() {
        *counts.entry(about(one).0).or_default() += 1;
    }
    let most = counts.iter().max_by_key(|(_, count)| **count);
    let from = match most {
        _ if counts.get(owner).is_some_and(|own| *own >= each_max) => owner,
        Some((most, _)) if all.len() >= max => most,
        _ => return,
    };
    let of_them = all.iter().filter(|(_, one)| about(one).0 == *from);
    let oldest = of_them.min_by_key(|(_, one)| about(one).1);
    if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
        all.remove(&oldest);
    }
}

fn secret() -> String {
    hex::encode(rand::random::<[u8; CHANCE_BYTES]>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(sessions: &PageSessions, now_ms: u64) -> String {
        sessions.begin(Requester::TokenHolder, "ann".to_owned(), now_ms)
    }

    #[test]
    fn a_session_ends_when_nobody_uses_it_and_in_any_case() {
        let sessions = PageSessions::default();
        let secret = begun(&sessions, 0);
        let forms = |now_ms| Some(sessions.used(&secret, now_ms)?.form_token);
        assert!(forms(IDLE_MS - 1).is_some());
        assert_eq!(forms(2 * IDLE_MS - 2), forms(2 * IDLE_MS - 1));
        // That its stream looks for it does not keep it.
        assert!(sessions.goes_on(&secret, 3 * IDLE_MS - 2));
        assert!(forms(3 * IDLE_MS - 1).is_none());
        let used = begun(&sessions, 0);
        let mut now_ms = 0;
        while sessions.used(&used, now_ms).is_some() {
            now_ms += IDLE_MS / 2;
        }
        assert_eq!(now_ms, SESSION_MS);
        let ended = begun(&sessions, 0);
        sessions.end(&ended);
        assert!(!sessions.goes_on(&ended, 0));
    }

    #[test]
    fn a_link_is_used_once_and_within_its_time() {
        let sessions = PageSessions::default();
        let make = || sessions.make_link(Requester::TokenHolder, "ann".to_owned(), 0);
        let code = make();
        assert!(sessions.use_link("another", 0).is_none());
        let (_, author) = sessions.use_link(&code, LINK_MS - 1).expect("good");
        assert_eq!(author, "ann");
        assert!(sessions.use_link(&code, LINK_MS - 1).is_none());
        assert!(sessions.use_link(&make(), LINK_MS).is_none());
    }

    fn someone(name: &str) -> Requester {
        Requester::Claimed(crate::http::requester::ClaimedCaller {
            principal: Principal::operator(name),
            role: model::api::Role::Viewer,
            expires_at_ms: u64::MAX,
        })
    }

    #[test]
    fn nobody_takes_what_others_have() {
        let sessions = PageSessions::default();
        let admins = begun(&sessions, 0);
        let admins_link = sessions.make_link(Requester::TokenHolder, "ann".to_owned(), 0);
        let first = sessions.begin(someone("eve"), String::new(), 0);
        for at in 1..=2_000 {
            sessions.begin(someone("eve"), String::new(), at);
            sessions.make_link(someone("eve"), String::new(), at);
        }
        assert!(!sessions.goes_on(&first, 2_000));
        assert!(sessions.goes_on(&admins, 2_000));
        assert!(sessions.use_link(&admins_link, 2_000).is_some());
        let table = sessions.0.lock();
        let sizes = (table.sessions.len(), table.links.len());
        assert_eq!(sizes, (SESSIONS_EACH_MAX + 1, LINKS_EACH_MAX));
    }

    #[test]
    fn there_are_so_many_and_no_more() {
        let sessions = PageSessions::default();
        let first = begun(&sessions, 0);
        for at in 1..=50 {
            begun(&sessions, at);
        }
        assert!(!sessions.goes_on(&first, 50));
        for person in 0..SESSIONS_MAX {
            let name = format!("p{person}");
            sessions.begin(someone(&name), String::new(), 52);
        }
        // Whoever has most gives way first.
        let table = sessions.0.lock();
        assert_eq!(table.sessions.len(), SESSIONS_MAX);
        let tokens = table.sessions.values();
        let tokens = tokens.filter(|one| one.requester.principal().is_none());
        assert_eq!(tokens.count(), 1);
    }
}
