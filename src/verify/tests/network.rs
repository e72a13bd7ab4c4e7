//! Where a token may be used from.

use super::*;

fn refused_from(networks: &[&str], addresses: &[Option<&str>]) -> Vec<bool> {
    let mut scene = Scene::new();
    scene.state(|state| state.allowed_networks = networks.iter().map(|text| text.parse().unwrap()).collect());
    addresses
        .iter()
        .map(|address| {
            scene.presented_from(*address);
            match scene.reason() {
                None => false,
                Some(Reason::NetworkNotAllowed) => true,
                Some(other) => panic!("{other}"),
            }
        })
        .collect()
}

#[test]
fn an_account_without_networks_may_call_from_everywhere() {
    let from = [Some("10.1.2.3"), Some("2001:db8::1"), Some("::ffff:10.1.2.3"), None];
    assert_eq!(refused_from(&[], &from), [false; 4]);
}

#[test]
fn an_address_outside_every_network_is_refused() {
    let networks = ["10.0.0.0/8", "192.0.2.7/32"];
    let inside = [Some("10.0.0.0"), Some("10.255.255.255"), Some("192.0.2.7")];
    let outside = [Some("9.255.255.255"), Some("11.0.0.0"), Some("192.0.2.6"), Some("::1"), Some("2001:db8::1")];
    assert_eq!(refused_from(&networks, &inside), [false; 3]);
    assert_eq!(refused_from(&networks, &outside), [true; 5]);
}

#[test]
fn the_sixth_version_is_matched_like_the_fourth() {
    let networks = ["2001:db8:1::/48"];
    assert_eq!(refused_from(&networks, &[Some("2001:db8:1::1"), Some("2001:db8:1:ffff::")]), [false; 2]);
    assert_eq!(refused_from(&networks, &[Some("2001:db8:2::1"), Some("10.0.0.1"), Some("::")]), [true; 3]);
}

/// What a socket of both versions says of a caller of the fourth.
#[test]
fn a_mapped_address_counts_as_the_address_that_it_maps() {
    assert_eq!(refused_from(&["10.0.0.0/8"], &[Some("::ffff:10.1.2.3"), Some("::ffff:0a01:0203")]), [false; 2]);
    assert_eq!(refused_from(&["10.0.0.0/8"], &[Some("::ffff:11.1.2.3"), Some("::10.1.2.3")]), [true; 2]);
    assert_eq!(refused_from(&["0.0.0.0/0"], &[Some("::ffff:11.1.2.3"), Some("2001:db8::1")]), [false, true]);
    assert_eq!(
        refused_from(&["::/0"], &[Some("2001:db8::1"), Some("10.1.2.3"), Some("::ffff:10.1.2.3")]),
        [false, true, true]
    );
}

#[test]
fn an_address_that_is_not_known_is_in_no_network() {
    assert_eq!(refused_from(&["0.0.0.0/0", "::/0"], &[None]), [true]);
}

#[test]
fn who_only_asks_about_a_token_may_be_anywhere() {
    let mut scene = Scene::new();
    scene.state(|state| state.allowed_networks = vec!["192.0.2.0/24".parse().unwrap()]);
    scene.demand.presenter = Presenter::ThirdParty;
    assert_eq!(scene.reason(), None);
}
