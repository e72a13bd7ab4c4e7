//! The way to the token: module, slot, session, login; and once more where one of them was lost.

use std::collections::HashMap;
use std::sync::PoisonError;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11 as Module};
use cryptoki::error::{Error, RvError};
use cryptoki::object::ObjectHandle;
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;

use super::TokenError;
use super::hardware::Trouble;
use crate::config::{Pkcs11, Secret};

/// Why something was not done.
pub(super) enum Fault {
    /// The way to the token is lost: another session may do it, at once.
    Lost(String),
    /// It would be the same again now. Whoever asks later begins anew.
    Plain(String),
    /// It is no fault of the token's.
    Lacks(TokenError),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let text = told(&error);
        if is_loss(&error) { Self::Lost(text) } else { Self::Plain(text) }
    }
}

/// Whether it may be otherwise in a new session. Modules are not of one mind about what they call a token that was taken out.
fn is_loss(error: &Error) -> bool {
    matches!(
        error,
        Error::Pkcs11(
            RvError::SessionHandleInvalid
                | RvError::SessionClosed
                | RvError::UserNotLoggedIn
                | RvError::DeviceRemoved
                | RvError::DeviceError
                | RvError::TokenNotPresent
                | RvError::TokenNotRecognized
                | RvError::CryptokiNotInitialized
                | RvError::ObjectHandleInvalid
                | RvError::KeyHandleInvalid
                | RvError::GeneralError,
            _
        )
    )
}

/// Whether a login failed before the PIN was looked at.
fn is_on_the_way(error: &Error) -> bool {
    matches!(
        error,
        Error::Pkcs11(
            RvError::SessionHandleInvalid
                | RvError::SessionClosed
                | RvError::DeviceRemoved
                | RvError::TokenNotPresent
                | RvError::TokenNotRecognized
                | RvError::CryptokiNotInitialized
                | RvError::HostMemory
                | RvError::DeviceMemory,
            _
        )
    )
}

/// Short: the library's own texts are paragraphs of the standard.
fn told(error: &Error) -> String {
    match error {
        Error::Pkcs11(why, function) => format!("C_{function:?} says {why:?}"),
        other => other.to_string(),
    }
}

/// A session that is logged in.
pub(super) struct Open {
    pub(super) module: Module,
    pub(super) session: Session,
    pub(super) slot: Slot,
    /// Private keys that were found, by their `CKA_ID` in hex.
    pub(super) found: HashMap<String, ObjectHandle>,
}

pub(super) struct Connection {
    settings: Pkcs11,
    trouble: Trouble,
    module: Option<Module>,
    open: Option<Open>,
    /// Tokens lock themselves after a few wrong PINs: one that was refused is not tried again.
    refused: Option<Secret>,
}

impl Connection {
    pub(super) fn new(settings: Pkcs11, trouble: Trouble) -> Self {
        Self { settings, trouble, module: None, open: None, refused: None }
    }

    pub(super) fn label(&self) -> &str {
        &self.settings.token_label
    }

    /// Does something in a session. Where a session that there was has died meanwhile, it is tried in a new one, once.
    pub(super) fn with<T>(&mut self, work: impl Fn(&mut Open) -> Result<T, Fault>) -> Result<T, TokenError> {
        let was_open = self.open.is_some();
        let mut done = self.attempt(&work);
        if let Err(Fault::Lost(why)) = &done
            && was_open
        {
            tracing::warn!(%why, token = self.label(), "the session with the hardware token was lost; it is opened anew");
            done = self.attempt(&work);
        }
        let done = done.map_err(|fault| match fault {
            Fault::Lacks(error) => error,
            Fault::Lost(why) | Fault::Plain(why) => {
                TokenError::Away(format!("the hardware token {}: {why}", self.label()))
            }
        });
        self.remember(done.as_ref().err());
        done
    }

    fn attempt<T>(&mut self, work: &impl Fn(&mut Open) -> Result<T, Fault>) -> Result<T, Fault> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.connect()?,
        };
        let done = work(&mut open);
        // Handles may be stale, and another token may lie there by now: what failed is not tried with them again.
        if matches!(done, Ok(_) | Err(Fault::Lacks(_))) {
            self.open = Some(open);
        }
        done
    }

    /// Logged once, and not again until it is another trouble or none.
    fn remember(&self, error: Option<&TokenError>) {
        let trouble = match error {
            Some(TokenError::Away(why)) => Some(why.clone()),
            _ => None,
        };
        let mut known = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*known, &trouble) {
            (known, Some(why)) if known.as_ref() != Some(why) => {
                tracing::error!("{why}. No key in it signs until that is mended; checking tokens goes on");
            }
            (Some(_), None) => tracing::info!(token = self.label(), "the hardware token can be used again"),
            _ => {}
        }
        *known = trouble;
    }

    fn connect(&mut self) -> Result<Open, Fault> {
        let module = self.initialized()?;
        let slot = self.slot(&module)?;
        let session = module.open_rw_session(slot)?;
        self.log_in(&module, slot, &session)?;
        Ok(Open { module, session, slot, found: HashMap::new() })
    }

    /// Begun anew each time: modules look for tokens when they are initialized, and some only then.
    fn initialized(&mut self) -> Result<Module, Fault> {
        let path = &self.settings.module;
        let module = match self.module.take() {
            Some(module) => {
                // It may have ended by itself.
                let _ = module.clone().finalize();
                module
            }
            None => Module::new(path).map_err(|error| {
                let why = told(&error);
                Fault::Plain(format!("signing.pkcs11.module {} can't be loaded: {why}", path.display()))
            })?,
        };
        match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(error) => return Err(Fault::Plain(told(&error))),
        }
        self.module = Some(module.clone());
        Ok(module)
    }

    fn slot(&self, module: &Module) -> Result<Slot, Fault> {
        let (mut found, mut labels) = (Vec::new(), Vec::new());
        for slot in module.get_slots_with_token()? {
            let Ok(info) = module.get_token_info(slot) else { continue };
            if info.label().trim_end() == self.settings.token_label {
                found.push(slot);
            } else if info.token_initialized() {
                labels.push(info.label().trim_end().to_owned());
            }
        }
        match found.as_slice() {
            [slot] => Ok(*slot),
            [] => Err(Fault::Plain(format!(
                "the module knows no token of this label; signing.pkcs11.token_label could be one of [{}]",
                labels.join(", ")
            ))),
            several => Err(Fault::Plain(format!(
                "{} tokens have this label: give the one for Countermark another",
                several.len()
            ))),
        }
    }

    fn log_in(&mut self, module: &Module, slot: Slot, session: &Session) -> Result<(), Fault> {
        let pin = self.settings.pin.read().map_err(|error| Fault::Plain(format!("its PIN: {error}")))?;
        if self.refused.as_ref() == Some(&pin) {
            return Err(Fault::Plain(
                "it refused the PIN. That is not tried again, because tokens lock themselves: correct signing.pkcs11.pin_file, or \
                 start again"
                    .into(),
            ));
        }
        // Of several issuers with one wrong PIN none is to be the one that locks it.
        if let Ok(info) = module.get_token_info(slot)
            && (info.user_pin_final_try() || info.user_pin_locked())
        {
            return Err(Fault::Plain(
                "its PIN is locked, or would be after one more wrong one: log in by hand with the right one first"
                    .into(),
            ));
        }
        match session.login(UserType::User, Some(&AuthPin::new(pin.expose().into()))) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {
                self.refused = None;
                Ok(())
            }
            Err(error) => {
                // Modules are not of one mind about what they call a wrong PIN.
                if !is_on_the_way(&error) {
                    self.refused = Some(pin);
                }
                Err(Fault::Plain(format!("it lets nobody in with the PIN of signing.pkcs11: {}", told(&error))))
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.open = None;
        if let Some(module) = self.module.take() {
            let _ = module.finalize();
        }
    }
}
