//! The way to the token: module, slot, session, login; and once more where one of them was lost.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

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
pub(super) fn is_loss(error: &Error) -> bool {
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

/// Whether a login failed because of the PIN. Modules are not of one mind about what they call a wrong one: other failures may be that
/// too.
fn is_of_the_pin(error: &Error) -> bool {
    matches!(
        error,
        Error::Pkcs11(
            RvError::PinIncorrect
                | RvError::PinInvalid
                | RvError::PinLenRange
                | RvError::PinExpired
                | RvError::PinLocked
                | RvError::UserPinNotInitialized,
            _
        )
    )
}

/// A PIN with which nobody was let in.
struct Refused {
    pin: Secret,
    when: Instant,
    /// Whether that was because of the PIN, as far as the token says.
    is_wrong: bool,
}

impl Refused {
    /// Tokens lock themselves after a few wrong PINs: one that is wrong is not tried again, and one that may be only after a while, so
    /// that a token that was away for a moment is not given up.
    fn forbids(&self, pin: &Secret, is_count_low: bool) -> bool {
        self.pin == *pin && (self.is_wrong || is_count_low || self.when.elapsed() < LATER)
    }
}

/// When a login is tried again that failed for another reason than the PIN.
const LATER: Duration = Duration::from_secs(5);

/// Short: the library's own texts are paragraphs of the standard.
pub(super) fn told(error: &Error) -> String {
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
    pub(super) label: String,
    /// Private keys that were found, by their `CKA_ID` in hex.
    pub(super) found: HashMap<String, ObjectHandle>,
}

pub(super) struct Connection {
    settings: Pkcs11,
    trouble: Trouble,
    module: Option<Module>,
    open: Option<Open>,
    refused: Option<Refused>,
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
        Ok(Open { module, session, slot, label: self.settings.token_label.clone(), found: HashMap::new() })
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
        let info = module.get_token_info(slot).ok();
        let is_count_low = info.as_ref().is_none_or(|info| info.user_pin_count_low());
        if let Some(refused) = self.refused.as_ref().filter(|refused| refused.forbids(&pin, is_count_low)) {
            return Err(Fault::Plain(if refused.is_wrong || is_count_low {
                "it refused the PIN. That is not tried again, because tokens lock themselves: correct signing.pkcs11.pin_file, or \
                 start again"
                    .into()
            } else {
                "it let nobody in, and not because of the PIN; that is tried again in a while".into()
            }));
        }
        // Of several issuers with one wrong PIN none is to be the one that locks it.
        if info.is_some_and(|info| info.user_pin_final_try() || info.user_pin_locked()) {
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
                self.refused = Some(Refused { pin, when: Instant::now(), is_wrong: is_of_the_pin(&error) });
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
