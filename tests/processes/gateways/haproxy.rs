use std::process::Command;

use super::Kind;
use super::gateway::{Place, Variables};

const IDENTITY: &[&str] =
    &["x-countermark-account", "x-countermark-generation", "x-countermark-token-id", "x-countermark-expires"];
const KIND: Kind = Kind { identity: IDENTITY, ..Kind::alone("haproxy", command) };

fn command(_: &Place, _: &Variables) -> Command {
    let mut command = Command::new("haproxy");
    // Without -db it would be the same with one more process.
    command.args(["-db", "-f"]).arg(Place::deployed("haproxy/haproxy.cfg"));
    command
}

super::tests!();
