//! What the token says that it is bound to, what the account is bound to, what the caller has proven: all three agree.

use super::*;

fn binding(nth: usize) -> Option<Binding> {
    [
        None,
        Some(Binding::Certificate("aaaa".into())),
        Some(Binding::Key("aaaa".into())),
        Some(Binding::Key("bbbb".into())),
    ][nth]
        .clone()
}

fn scene(claimed: usize, bound: usize, proven: usize) -> Scene {
    let mut scene = Scene::new();
    scene.claims.confirmation = binding(claimed).map(|binding| match binding {
        Binding::Certificate(thumbprint) => Confirmation::Certificate { thumbprint },
        Binding::Key(jkt) => Confirmation::Key { jkt },
    });
    scene.state(|state| state.binding = binding(bound));
    scene.demand.presenter =
        Presenter::Holder { address: Some("10.1.2.3".parse().unwrap()), proof: binding(proven).map(Proof) };
    scene
}

#[test]
fn a_bound_token_is_good_only_with_its_own_proof() {
    for claimed in 0..4 {
        for bound in 0..4 {
            for proven in 0..4 {
                // A proof that nobody asked for does no harm: a client may always use its certificate.
                let agree = claimed == bound && (claimed == 0 || proven == claimed);
                let expected = if agree { None } else { Some(Reason::BindingMismatch) };
                let reason = scene(claimed, bound, proven).reason();
                assert_eq!(reason, expected, "claimed {claimed}, bound {bound}, proven {proven}");
            }
        }
    }
}

#[test]
fn who_only_asks_about_a_bound_token_proves_nothing() {
    for claimed in 0..4 {
        for bound in 0..4 {
            let mut scene = scene(claimed, bound, 0);
            scene.demand.presenter = Presenter::ThirdParty;
            // Not even he is told that a token is good which nobody could use.
            let expected = if claimed == bound { None } else { Some(Reason::BindingMismatch) };
            assert_eq!(scene.reason(), expected, "claimed {claimed}, bound {bound}");
        }
    }
}
