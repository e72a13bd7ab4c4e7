//! Servers beside ours: the naive one, the empty one, HAProxy and nginx.

use std::path::{Path, PathBuf};

use countermark::token::{Algorithm, VerificationKey};
use serde_json::Value;

use super::node::{Certificate, ISSUER};
use super::processes::{Process, SERVER, free_port, pinned};

pub struct Peer {
    pub process: Process,
    pub plain: String,
    pub tls: String,
}

impl Peer {
    fn start(command: std::process::Command, directory: &Path, name: &str, ports: [u16; 2]) -> Self {
        let mut process = Process::start(command, directory, name);
        process.until("server that listens", || std::net::TcpStream::connect(("127.0.0.1", ports[0])).ok());
        let [plain, tls] = ports;
        Self { process, plain: format!("http://127.0.0.1:{plain}"), tls: format!("https://127.0.0.1:{tls}") }
    }

    /// The example, which lies beside this program's folder once it was built.
    fn naive_server(directory: &Path, name: &str, certificate: &Certificate, arguments: &[&str]) -> Self {
        let program = std::env::current_exe().unwrap();
        let program = program.parent().and_then(Path::parent).unwrap().join("examples/naive");
        assert!(program.exists(), "build it first: cargo build --release --example naive");
        let ports = [free_port(), free_port()];
        let mut command = pinned(SERVER, program);
        command.args(["--single-threaded", "--issuer", ISSUER, "--listen", &format!("127.0.0.1:{}", ports[0])]);
        command.args(["--listen-tls", &format!("127.0.0.1:{}", ports[1])]).args(arguments);
        command.arg("--tls-cert").arg(&certificate.chain).arg("--tls-key").arg(&certificate.key);
        Self::start(command, directory, name, ports)
    }

    /// 204, whatever comes.
    pub fn empty(directory: &Path, certificate: &Certificate) -> Self {
        Self::naive_server(directory, "empty", certificate, &["--answer", "nothing"])
    }

    /// One GET for each request.
    pub fn state(directory: &Path, certificate: &Certificate, redis: &str) -> Self {
        Self::naive_server(directory, "state", certificate, &["--answer", "state", "--redis", redis])
    }

    pub fn naive(directory: &Path, certificate: &Certificate, redis: &str, keys: &Value) -> Self {
        let path = write(directory, "jwks.json", &keys.to_string());
        let keys = path.to_str().unwrap();
        Self::naive_server(directory, "naive", certificate, &["--answer", "token", "--redis", redis, "--keys", keys])
    }

    /// HAProxy that looks at signature, issuer, audience and times, and answers itself.
    pub fn haproxy(directory: &Path, certificate: &Certificate, keys: &Value) -> Self {
        let key = serde_json::from_value(keys["keys"][0].clone()).unwrap();
        let key = VerificationKey::from_jwk(Algorithm::ES256, key).unwrap().to_pem().unwrap();
        let key = write(directory, "issuer.pem", &key);
        let ports = [free_port(), free_port()];
        let config = format!(
            r#"global
    nbthread 1
    tune.bufsize 32768
defaults
    mode http
    timeout connect 2s
    timeout client 30s
    timeout server 30s
frontend gateway
    bind 127.0.0.1:{plain}
    bind 127.0.0.1:{tls} ssl crt {certificate} alpn h2,http/1.1
    http-request set-var(txn.bearer) http_auth_bearer
    http-request set-var(txn.alg) var(txn.bearer),jwt_header_query('$.alg')
    http-request set-var(txn.iss) var(txn.bearer),jwt_payload_query('$.iss')
    http-request set-var(txn.aud) var(txn.bearer),jwt_payload_query('$.aud[0]')
    http-request set-var(txn.exp) var(txn.bearer),jwt_payload_query('$.exp','int')
    http-request set-var(txn.now) date()
    acl right_algorithm var(txn.alg) -m str ES256
    acl right_issuer var(txn.iss) -m str -- {ISSUER}
    acl right_audience var(txn.aud) -m str -- {ISSUER}
    acl not_expired var(txn.exp),sub(txn.now) gt 0
    acl signed var(txn.bearer),jwt_verify(txn.alg,"{key}") 1
    http-request return status 401 unless right_algorithm right_issuer right_audience not_expired signed
    http-request return status 204
"#,
            plain = ports[0],
            tls = ports[1],
            certificate = certificate.together.display(),
            key = key.display(),
        );
        let mut command = pinned(SERVER, "haproxy");
        command.args(["-db", "-f"]).arg(write(directory, "haproxy.cfg", &config));
        Self::start(command, directory, "haproxy", ports)
    }

    /// nginx that asks another server about each request. Plain text alone.
    pub fn nginx(directory: &Path, name: &str, asked: &str) -> Self {
        let port = free_port();
        let asked = asked.strip_prefix("http://").unwrap();
        let directory = directory.join(format!("nginx-{name}"));
        std::fs::create_dir_all(&directory).unwrap();
        let config = format!(
            "daemon off;
master_process off;
worker_processes 1;
pid {place}/pid;
error_log stderr;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {place}/body;
    proxy_temp_path {place}/proxy;
    fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi;
    scgi_temp_path {place}/scgi;
    upstream asked {{
        server {asked};
        keepalive 64;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            auth_request /_asked;
            empty_gif;
        }}
        location = /_asked {{
            internal;
            proxy_pass http://asked/verify;
            proxy_http_version 1.1;
            proxy_pass_request_body off;
            proxy_set_header Connection \"\";
            proxy_set_header Content-Length \"\";
        }}
    }}
}}
",
            place = directory.display(),
        );
        let mut command = pinned(SERVER, "nginx");
        command.arg("-p").arg(&directory).arg("-c").arg(write(&directory, "nginx.conf", &config));
        Self::start(command, &directory, name, [port, port])
    }
}

fn write(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path
}
