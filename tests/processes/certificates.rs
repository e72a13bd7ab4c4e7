//! Certificates as an operator makes them: by openssl.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::machine::Machine;

/// A CA of the test's own.
pub struct Authority<'a> {
    machine: &'a Machine,
    name: &'a str,
    /// Of the CA and of all that it issues, as openssl says it.
    key: &'a [&'a str],
}

impl<'a> Authority<'a> {
    /// On P-256.
    pub fn new(machine: &'a Machine, name: &'a str) -> Self {
        Self::with(machine, name, &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
    }

    /// With RSA keys of 2048 bits.
    pub fn rsa(machine: &'a Machine, name: &'a str) -> Self {
        Self::with(machine, name, &["rsa:2048"])
    }

    fn with(machine: &'a Machine, name: &'a str, key: &'a [&'a str]) -> Self {
        let ca = Self { machine, name, key };
        openssl(
            Command::new("openssl")
                .args(["req", "-x509", "-nodes", "-days", "2", "-newkey"])
                .args(key)
                .args(["-addext", "keyUsage=critical,keyCertSign,cRLSign"])
                .args(["-subj", &format!("/CN={name}"), "-keyout"])
                .arg(ca.file("key"))
                .arg("-out")
                .arg(ca.file("pem")),
        );
        ca
    }

    fn file(&self, kind: &str) -> PathBuf {
        self.machine.path(&format!("{}.{kind}", self.name))
    }

    pub fn pem(&self) -> PathBuf {
        self.file("pem")
    }

    /// A certificate for a name (`DNS:…` or `IP:…`, comma separated), and its key, mode 0600.
    pub fn issue(&self, name: &str, names: &str) -> (PathBuf, PathBuf) {
        let path = |kind: &str| self.machine.path(&format!("{name}.{kind}"));
        let (certificate, key) = (path("pem"), path("key"));
        openssl(
            Command::new("openssl")
                .args(["req", "-x509", "-nodes", "-days", "1", "-newkey"])
                .args(self.key)
                .args(["-subj", &format!("/CN={name}"), "-addext", &format!("subjectAltName={names}")])
                .args(["-addext", "basicConstraints=critical,CA:FALSE", "-CA"])
                .arg(self.file("pem"))
                .arg("-CAkey")
                .arg(self.file("key"))
                .arg("-keyout")
                .arg(&key)
                .arg("-out")
                .arg(&certificate),
        );
        (certificate, key)
    }
}

/// The certificate that a server shows, as text.
pub fn shown_at(port: u16) -> String {
    let shown = Command::new("openssl")
        .args(["s_client", "-connect", &format!("127.0.0.1:{port}"), "-showcerts"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .unwrap();
    let mut text = Command::new("openssl")
        .args(["x509", "-noout", "-text"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // A server that showed none leaves nothing to read.
    let _ = std::io::Write::write_all(&mut text.stdin.take().unwrap(), &shown.stdout);
    String::from_utf8_lossy(&text.wait_with_output().unwrap().stdout).into_owned()
}

fn openssl(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().expect("openssl is needed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
