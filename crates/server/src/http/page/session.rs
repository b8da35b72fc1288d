//! Sessions of browsers, and the one-time links that begin one. Both are in memory only: when the server is started again, people sign in
//! again. What a browser keeps is a secret, of which only the digest is here.

use crate::http::auth::digest;
use crate::http::requester::Requester;
use parking_lot::Mutex;
use std::collections::HashMap;

/// How long a session lasts at most.
pub(super) const SESSION_MS: u64 = 8 * 60 * 60 * 1_000;

/// How long a session lasts that nobody uses.
const IDLE_MS: u64 = 60 * 60 * 1_000;

/// How long a one-time link can be used.
pub(super) const LINK_MS: u64 = 60_000;

/// How many sessions there are at most: then the one goes that was not used for longest.
const SESSIONS_MAX: usize = 1_000;

/// How many links there are at most: then the oldest goes.
const LINKS_MAX: usize = 100;

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
        if table.sessions.len() >= SESSIONS_MAX {
            let longest = table.sessions.iter().min_by_key(|(_, one)| one.used_ms);
            let longest = longest.map(|(key, _)| key.clone());
            longest.and_then(|key| table.sessions.remove(&key));
        }
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
        if table.links.len() >= LINKS_MAX {
            let oldest = table.links.iter().min_by_key(|(_, one)| one.made_ms);
            let oldest = oldest.map(|(key, _)| key.clone());
            oldest.and_then(|key| table.links.remove(&key));
        }
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

    #[test]
    fn there_are_so_many_and_no_more() {
        let sessions = PageSessions::default();
        let first = begun(&sessions, 0);
        for at in 1..=SESSIONS_MAX as u64 {
            begun(&sessions, at);
        }
        assert!(!sessions.goes_on(&first, SESSIONS_MAX as u64));
        let code = sessions.make_link(Requester::TokenHolder, String::new(), 0);
        for at in 1..=LINKS_MAX as u64 {
            sessions.make_link(Requester::TokenHolder, String::new(), at);
        }
        assert!(sessions.use_link(&code, LINKS_MAX as u64).is_none());
        let table = sessions.0.lock();
        assert_eq!((table.sessions.len(), table.links.len()), (1_000, 100));
    }
}
