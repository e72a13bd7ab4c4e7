use std::process::Command;

use super::gateway::{Place, Variables};
use super::{ALL, Kind};

const KIND: Kind = Kind { identity: ALL, away: Some(502), ..Kind::asking("caddy", command) };

fn command(_: &Place, _: &Variables) -> Command {
    let mut command = Command::new("caddy");
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(Place::deployed("caddy/Caddyfile"));
    command
}

super::tests!(connected);
