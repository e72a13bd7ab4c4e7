use std::process::Command;

use super::Kind;
use super::envoy_ext_authz::envoy;
use super::gateway::{Place, Variables};

const IDENTITY: &[&str] = &["x-countermark-account", "x-countermark-generation", "x-countermark-expires"];
const KIND: Kind = Kind { identity: IDENTITY, foreign_audience: 403, ..Kind::alone("envoy jwt_authn", command) };

fn command(place: &Place, variables: &Variables) -> Command {
    envoy(place, variables, "envoy/jwt_authn.yaml.template")
}

super::tests!(connected);
