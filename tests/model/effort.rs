//! How much is searched.

/// Whether this is the long form (`scripts/test --long`): the same claims in larger scenes.
pub fn long() -> bool {
    std::env::var_os("COUNTERMARK_TEST_LONG").is_some()
}
