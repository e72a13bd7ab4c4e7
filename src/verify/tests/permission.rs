//! Authority is resolved live, from the state and the roles, whatever the token says.

use super::*;

fn asked(scene: &mut Scene, permission: &str, team: Option<&str>) -> Option<Reason> {
    scene.demand.permission = Some(permission.parse().unwrap());
    scene.demand.team = team.map(|text| text.parse().unwrap());
    scene.reason()
}

#[test]
fn the_default_role_counts_everywhere_and_a_team_role_in_its_team() {
    let mut scene = Scene::new();
    let insufficient = Some(Reason::InsufficientPermission);
    for (permission, team, expected) in [
        ("deployments:create", None, None),
        ("deployments:create", Some("payments"), None),
        ("deployments:create", Some("a-team-of-others"), None),
        ("deployments:delete", None, insufficient),
        ("deployments:delete", Some("payments"), insufficient),
        ("releases:publish", Some("payments"), None),
        ("releases:publish", None, insufficient),
        ("releases:publish", Some("a-team-of-others"), insufficient),
        ("releases:publish", Some("payment"), insufficient),
    ] {
        assert_eq!(asked(&mut scene, permission, team), expected, "{permission} in {team:?}");
    }
}

#[test]
fn asked_for_nothing_a_good_token_is_enough() {
    let mut scene = Scene::new();
    scene.snapshot().roles.clear();
    scene.demand.permission = None;
    assert_eq!(scene.reason(), None);
}

#[test]
fn a_role_that_is_not_there_grants_nothing() {
    let mut scene = Scene::new();
    scene.snapshot().roles.remove("deployer");
    assert_eq!(asked(&mut scene, "deployments:create", None), Some(Reason::InsufficientPermission));
    assert_eq!(asked(&mut scene, "releases:publish", Some("payments")), None, "the other one is still there");
    scene.snapshot().roles.clear();
    assert_eq!(asked(&mut scene, "releases:publish", Some("payments")), Some(Reason::InsufficientPermission));
}

/// Not even a role called admin: what a role may do is its definition and not its name.
#[test]
fn a_name_grants_nothing() {
    let mut scene = Scene::new();
    scene.state(|state| state.role = "admin".parse().unwrap());
    assert_eq!(asked(&mut scene, "deployments:create", None), Some(Reason::InsufficientPermission));
}

#[test]
fn the_roles_in_the_token_are_hints_that_nobody_believes() {
    let mut scene = Scene::new();
    scene.claims.role = "releaser".parse().unwrap();
    scene.claims.teams = [("search".parse().unwrap(), "releaser".parse().unwrap())].into();
    assert_eq!(asked(&mut scene, "releases:publish", None), Some(Reason::InsufficientPermission));
    assert_eq!(asked(&mut scene, "releases:publish", Some("search")), Some(Reason::InsufficientPermission));
    assert_eq!(asked(&mut scene, "deployments:create", None), None);
    let verified = scene.decide(&scene.token()).unwrap();
    assert_eq!(verified.role().as_str(), "deployer");
    assert!(verified.teams().contains_key("payments") && !verified.teams().contains_key("search"));
}

#[test]
fn a_narrowed_role_takes_effect_without_a_new_token() {
    let mut scene = Scene::new();
    let token = scene.token();
    assert_eq!(scene.reason_for(&token), None);
    scene
        .snapshot()
        .roles
        .insert("deployer".parse().unwrap(), std::sync::Arc::new(["deployments:read".parse().unwrap()].into()));
    assert_eq!(scene.reason_for(&token), Some(Reason::InsufficientPermission));
    scene.snapshot().roles.insert("deployer".parse().unwrap(), std::sync::Arc::new(["*:*".parse().unwrap()].into()));
    assert_eq!(scene.reason_for(&token), None);
}

#[test]
fn a_refusal_for_want_of_a_permission_carries_the_good_token() {
    let mut scene = Scene::new();
    scene.demand.permission = Some("deployments:delete".parse().unwrap());
    let refusal = scene.decide(&scene.token()).unwrap_err();
    let verified = refusal.verified.unwrap();
    assert_eq!(verified.account(), scene.claims.account);
    assert_eq!(refusal.holder.unwrap().token.unwrap().id, verified.token_id());
    assert!(verified.powers().allow(&"deployments:create".parse().unwrap(), None));
}
