//! Many calls over few connections, for what one curl for each call would take too long.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::server::Server;

#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    address: String,
    admin: String,
}

impl Client {
    pub fn new(server: &Server, admin: &str) -> Self {
        Self::at(server.address(0), &server.ca(), admin)
    }

    pub fn at(address: &str, ca: &Path, admin: &str) -> Self {
        // There may be one already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let ca = reqwest::Certificate::from_pem(&std::fs::read(ca).unwrap()).unwrap();
        let http = reqwest::Client::builder()
            .tls_certs_only([ca])
            .retry(reqwest::retry::never())
            .no_proxy()
            .timeout(Duration::from_secs(10));
        Self { http: http.build().unwrap(), address: address.to_owned(), admin: admin.to_owned() }
    }

    fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method.parse().unwrap(), format!("{}{path}", self.address))
    }

    /// Status and body.
    pub async fn send(request: reqwest::RequestBuilder) -> Result<(u16, Value), reqwest::Error> {
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        let body = answer.bytes().await?;
        Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
    }

    pub fn administer(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.request(method, &format!("/api/v1/{path}")).bearer_auth(&self.admin)
    }

    pub async fn verify(&self, token: &str) -> Result<(u16, Value), reqwest::Error> {
        Self::send(self.request("GET", "/verify").bearer_auth(token)).await
    }

    /// Why the token is refused; `None`: it is good.
    pub async fn refusal(&self, token: &str) -> Option<String> {
        let (status, body) = self.verify(token).await.unwrap();
        (status != 200).then(|| body["reason"].as_str().unwrap_or("?").to_owned())
    }
}
