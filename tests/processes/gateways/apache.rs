use std::process::Command;

use super::Kind;
use super::gateway::{Place, Variables};

const IDENTITY: &[&str] = &[
    "x-countermark-account",
    "x-countermark-username",
    "x-countermark-role",
    "x-countermark-generation",
    "x-countermark-token-id",
    "x-countermark-expires",
];
const KIND: Kind = Kind { identity: IDENTITY, forwards: false, away: Some(401), ..Kind::asking("apache", command) };

fn command(place: &Place, _: &Variables) -> Command {
    let root = place.root().display();
    let modules: String = ["mpm_event", "authn_core", "authz_core", "authz_user"]
        .into_iter()
        .chain(["ssl", "proxy", "proxy_http", "headers", "setenvif", "auth_openidc"])
        .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
        .collect();
    // What /etc/apache2/apache2.conf says elsewhere, and a cache that could keep answers: the default one has no room for keys
    // as long as a token, an encrypted one hashes them.
    let main = place.write(
        "apache.conf",
        &format!(
            "ServerRoot {root}\nDefaultRuntimeDir {root}\nPidFile {root}/pid\nErrorLog {root}/error.log\n{modules}\
             User www-data\nGroup www-data\nServerName localhost\nMutex file:{root}\n<Directory />\nRequire all denied\n\
             </Directory>\nOIDCCacheEncrypt On\nOIDCCryptoPassphrase gateway\nInclude {}\n",
            Place::deployed("apache/countermark.conf").display()
        ),
    );
    let mut command = Command::new("apache2");
    command.args(["-D", "FOREGROUND", "-f"]).arg(main);
    command
}

super::tests!(connected);
