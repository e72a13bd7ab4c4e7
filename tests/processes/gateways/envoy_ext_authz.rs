use std::process::Command;

use super::gateway::{Place, Variables};
use super::{ALL, Kind};
use crate::machine::tool;

const KIND: Kind = Kind { identity: ALL, ..Kind::asking("envoy ext_authz", command) };

fn command(place: &Place, variables: &Variables) -> Command {
    envoy(place, variables, "envoy/ext_authz.yaml.template")
}

/// Without hot restart, for which all on one machine would share a region of memory.
pub fn envoy(place: &Place, variables: &Variables, name: &str) -> Command {
    let configuration = place.filled_in(name, "envoy.yaml", variables);
    let mut command = Command::new(tool("envoy/bin/envoy"));
    command.args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning", "-c"]).arg(configuration);
    command
}

super::tests!(connected);
