//! Somebody at a browser: he keeps cookies, follows where he is sent, and sends the forms of the pages that he was given.

use std::collections::BTreeMap;
use std::sync::Mutex;

use axum::body::Body;
use axum::http::Request;
use serde_json::Value;

use crate::app::{Answer, App, Client};

/// A browser without script.
pub struct Browser {
    client: Client,
    pub cookies: Mutex<BTreeMap<String, String>>,
    form_token: Mutex<String>,
}

/// As a form encodes its fields.
pub fn encoded(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

impl App {
    /// A browser that nobody has used.
    pub fn browser(&self) -> Browser {
        Browser { client: self.client.clone(), cookies: Mutex::default(), form_token: Mutex::default() }
    }

    /// A browser at which somebody has signed in with this token.
    pub async fn signed_in(&self, token: &str) -> Browser {
        let browser = self.browser();
        browser.post("/console/sign-in", &[("token", token)], 303).await;
        browser.get("/console/me", 200).await;
        browser
    }
}

impl Browser {
    /// The same, from this address.
    pub fn at(mut self, address: &str) -> Self {
        self.client.peer = crate::app::a_peer(countermark::listen::Transport::Tls, Some(address));
        self
    }

    /// Shows a page.
    pub async fn get(&self, path: &str, expected: u16) -> Answer {
        self.send("GET", path, None, &[]).await.expect(expected)
    }

    /// Sends a form of the last page that had one, with the form token that stood in it.
    pub async fn post(&self, path: &str, fields: &[(&str, &str)], expected: u16) -> Answer {
        let token = self.form_token.lock().unwrap().clone();
        let fields: Vec<_> = fields.iter().copied().chain([("form_token", token.as_str())]).collect();
        self.send("POST", path, Some(&encoded(&fields)), &[("sec-fetch-site", "same-origin")]).await.expect(expected)
    }

    /// Sends whatever, from wherever.
    pub async fn send(&self, method: &str, path: &str, form: Option<&str>, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", "countermark.test");
        let cookies = self.cookie();
        if !cookies.is_empty() {
            request = request.header("cookie", cookies);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = match form {
            Some(form) => {
                request.header("content-type", "application/x-www-form-urlencoded").body(Body::from(form.to_owned()))
            }
            None => request.body(Body::empty()),
        };
        let answer = self.client.answer(request.unwrap()).await;
        self.keep(&answer);
        answer
    }

    /// What a script of a page sends.
    pub async fn send_json(&self, method: &str, path: &str, body: Value, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("cookie", self.cookie());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.client.answer(request.body(Body::from(body.to_string())).unwrap()).await
    }

    /// The header that it sends its cookies in.
    pub fn cookie(&self) -> String {
        let cookies = self.cookies.lock().unwrap();
        cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    fn keep(&self, answer: &Answer) {
        let mut cookies = self.cookies.lock().unwrap();
        for cookie in answer.headers.get_all("set-cookie") {
            let cookie = cookie.to_str().unwrap();
            assert!(cookie.starts_with("__Host-") && cookie.contains("; Path=/;"), "{cookie}");
            assert!(["Secure", "HttpOnly", "SameSite="].iter().all(|word| cookie.contains(word)), "{cookie}");
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            if cookie.contains("Max-Age=0") {
                cookies.remove(name);
            } else {
                cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        if let Some((_, rest)) = answer.text.split_once(r#"name="form_token" value=""#) {
            *self.form_token.lock().unwrap() = rest.split('"').next().unwrap().to_owned();
        }
    }

    /// The secret of the session.
    pub fn session(&self) -> Option<String> {
        self.cookies.lock().unwrap().get("__Host-countermark").cloned()
    }

    /// The form token of the last page.
    pub fn form_token(&self) -> String {
        self.form_token.lock().unwrap().clone()
    }
}

/// Where an answer sends somebody.
pub fn sent_to(answer: &Answer) -> &str {
    answer.header("location")
}
