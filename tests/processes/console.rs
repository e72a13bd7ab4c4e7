//! The console, in a browser that nobody here wrote: the scripts of `tests/console`, each against a server of its own.
//!
//! Pictures of what they see lie in `target/console-screenshots` afterwards.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::machine::{Machine, finish_within};
use crate::scripts::node;

/// A script says itself, and sooner, what it could not do in time.
const WITHIN: Duration = Duration::from_secs(600);

#[test]
fn an_account_is_made_and_its_token_replaced_with_a_mouse() {
    play("story", &["mouse"]);
}

#[test]
fn the_same_is_done_without_scripts() {
    play("story", &["no-script"]);
}

#[test]
fn the_same_is_done_by_keyboard_alone() {
    play("story", &["keyboard"]);
}

#[test]
fn people_see_and_do_what_their_role_grants_and_nothing_else() {
    play("matrix", &[]);
}

#[test]
fn sessions_forms_frames_and_addresses_are_no_way_in() {
    play("attacks", &[]);
}

#[test]
fn text_from_elsewhere_is_text_in_every_field_and_on_every_page() {
    play("texts", &[]);
}

#[test]
fn every_page_is_accessible_wide_and_at_360_px_in_light_and_dark() {
    play("axe", &[]);
}

#[track_caller]
fn play(script: &str, words: &[&str]) {
    let machine = Machine::new();
    // Tokens that end soon are shown as such.
    let server = machine.serve().config("[tokens]\nvalid_for_months = [1, 6, 12, 24]").ready();
    let mut command =
        node(&machine, &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/console"), &format!("{script}.mjs"));
    command.arg(server.data("")).arg(screenshots()).args(words);
    // What the browser leaves behind goes with the machine.
    command.env("TMPDIR", machine.path("")).env("HOME", machine.path(""));
    if let Some(chromium) = std::env::var_os("COUNTERMARK_TEST_CHROMIUM") {
        command.env("COUNTERMARK_TEST_CHROMIUM", chromium);
    }
    let ended = finish_within(&mut command, "", WITHIN);
    assert_eq!(ended.code, 0, "{}\n{}", ended.err, server.log());
    server.stop();
}

fn screenshots() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/console-screenshots")
}
