//! A browser without a script: it keeps a cookie, follows nothing by itself, and says from where its forms come.

use crate::callers::Caller;
use crate::support::{Running, TOKEN};
use page::encoded;
use reqwest::header::{COOKIE, LOCATION, ORIGIN, SET_COOKIE};
use reqwest::{Method, RequestBuilder, StatusCode, redirect};

/// What was answered.
pub(super) struct Answered {
    pub(super) status: StatusCode,
    pub(super) headers: reqwest::header::HeaderMap,
    pub(super) text: String,
}

impl Answered {
    /// Where it sends the browser.
    pub(super) fn leads_to(&self) -> &str {
        let place = self.headers.get(LOCATION).expect("a place");
        place.to_str().expect("text")
    }

    /// What the browser is to keep, with what holds for it.
    pub(super) fn set_cookie(&self) -> &str {
        let cookie = self.headers.get(SET_COOKIE).expect("a cookie");
        cookie.to_str().expect("text")
    }

    /// What the forms of the page carry.
    pub(super) fn form_token(&self) -> String {
        let (_, rest) = (self.text)
            .split_once("name=\"form_token\" value=\"")
            .expect("a form");
        rest.split('"').next().expect("a value").to_owned()
    }
}

/// A browser.
pub(super) struct Browser {
    http: reqwest::Client,
    pub(super) url: String,
    pub(super) cookie: Option<String>,
}

impl Browser {
    /// One that has not signed in.
    pub(super) fn new(server: &Running) -> Self {
        let http = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .danger_accept_invalid_certs(true)
            .build();
        Self {
            http: http.expect("a client"),
            url: server.url.clone(),
            cookie: None,
        }
    }

    /// One that has signed in with the server's own token.
    pub(super) async fn signed_in(server: &Running) -> Self {
        let mut browser = Self::new(server);
        let form = [("token", TOKEN), ("name", "tester")];
        let answered = browser.post("/login", &form).await;
        browser.keep(&answered);
        browser
    }

    /// One that has signed in as an operator with a key, by a link that the operator has had made.
    pub(super) async fn of(server: &Running, operator: &Caller) -> Self {
        let mut browser = Self::new(server);
        let (_, link) = operator.client.page_link().await.expect("a link");
        let (_, code) = link.path.split_once("code=").expect("a code");
        let answered = browser.post("/login", &[("code", code)]).await;
        browser.keep(&answered);
        browser
    }

    /// Keeps what it is given.
    pub(super) fn keep(&mut self, answered: &Answered) {
        assert_eq!(answered.status, StatusCode::SEE_OTHER, "{}", answered.text);
        let pair = answered.set_cookie().split(';').next();
        self.cookie = Some(pair.expect("a pair").to_owned());
    }

    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url));
        match &self.cookie {
            Some(cookie) => request.header(COOKIE, cookie),
            None => request,
        }
    }

    pub(super) async fn get(&self, path: &str) -> Answered {
        answered(self.request(Method::GET, path)).await
    }

    /// A page that is there.
    pub(super) async fn page(&self, path: &str) -> String {
        let answered = self.get(path).await;
        assert_eq!(answered.status, StatusCode::OK, "{path}: {}", answered.text);
        answered.text
    }

    /// Sends a form as a page of the server does.
    pub(super) async fn post(&self, path: &str, values: &[(&str, &str)]) -> Answered {
        self.post_from(&self.url, path, values).await
    }

    /// Sends a form as a page from there does.
    pub(super) async fn post_from(
        &self,
        origin: &str,
        path: &str,
        values: &[(&str, &str)],
    ) -> Answered {
        let pairs = values
            .iter()
            .map(|(name, value)| format!("{name}={}", encoded(value)));
        let body = pairs.collect::<Vec<_>>().join("&");
        let request = self
            .request(Method::POST, path)
            .header(ORIGIN, origin)
            .header("Content-Type", "application/x-www-form-urlencoded");
        answered(request.body(body)).await
    }

    /// Opens the page that asks whether something is to be done, and sends its form.
    pub(super) async fn act(&self, action: &str, values: &[(&str, &str)]) -> Answered {
        let query = values
            .iter()
            .map(|(name, value)| format!("{name}={}", encoded(value)));
        let query = query.collect::<Vec<_>>().join("&");
        let asked = self.get(&format!("/act/{action}?{query}")).await;
        assert_eq!(asked.status, StatusCode::OK, "{}", asked.text);
        let token = asked.form_token();
        let form = [values, &[("form_token", token.as_str())]].concat();
        self.post(&format!("/act/{action}"), &form).await
    }
}

async fn answered(request: RequestBuilder) -> Answered {
    let answer = request.send().await.expect("answered");
    Answered {
        status: answer.status(),
        headers: answer.headers().clone(),
        text: answer.text().await.expect("text"),
    }
}
