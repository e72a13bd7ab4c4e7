//! How much a test does.

/// Whether this is the long form (`scripts/test --long`): the same thing with more rounds.
pub fn long() -> bool {
    std::env::var_os("COUNTERMARK_TEST_LONG").is_some()
}

/// A count of rounds in the form that runs.
pub fn rounds(short: usize, long_form: usize) -> usize {
    if long() { long_form } else { short }
}
