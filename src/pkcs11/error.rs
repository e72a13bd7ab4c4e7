/// Why a hardware token does not do what is asked. No text holds anything of the PIN.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// This issuer has none.
    #[error("{}", not_configured())]
    NotConfigured,
    /// It has no such mechanism.
    #[error("the hardware token makes no keys for {algorithm}: it lacks {mechanism}; choose another algorithm")]
    Lacks {
        /// What was asked for.
        algorithm: crate::token::Algorithm,
        /// What it would take.
        mechanism: &'static str,
    },
    /// It makes no keys that are fit to sign tokens.
    #[error("the hardware token makes keys that can't be used: {0}; choose another algorithm, or another token")]
    Unfit(String),
    /// It can't be used now. The cause is for the log.
    #[error("{0}")]
    Away(String),
}

fn not_configured() -> &'static str {
    if super::BUILT_IN {
        "no hardware token is configured here: set signing.pkcs11.module, token_label and pin_file, and start again"
    } else {
        "this countermark is built without hardware tokens: build it with --features pkcs11, and configure [signing.pkcs11]"
    }
}
