//! Passwords: how good they must be, and how they are kept (argon2id, RFC 9106).

use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use chrono::{DateTime, Utc};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zeroize::Zeroizing;
use zxcvbn::{Score, zxcvbn};

use super::Error;
use super::shares::{Share, Shares};
use crate::account::AccountId;
use crate::clock::random;
use crate::name::Username;
use crate::store::StoredPassword;

/// The fewest characters of a password.
pub const PASSWORD_LENGTH: usize = 12;
/// The most.
const LONGEST: usize = 256;
/// RFC 9106, section 4, second recommended option: 64 MiB, three passes, four lanes.
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
const LANES: u32 = 4;
/// So many turns one account has, or waits for, at once: whoever knows his own password keeps nobody else waiting for long.
const TURNS: usize = 2;
/// So long somebody waits for his turn.
const PATIENCE: Duration = Duration::from_secs(5);

/// A password as somebody typed it.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// As it was typed.
    pub fn new(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }

    /// Whether it is good enough for this person; what is wrong, if not.
    fn weakness(&self, username: &Username) -> Option<String> {
        let length = self.0.chars().count();
        if length < PASSWORD_LENGTH {
            return Some(format!(
                "a password has at least {PASSWORD_LENGTH} characters; several words that have nothing to do with each other are easy to keep in mind"
            ));
        }
        if length > LONGEST {
            return Some(format!("a password has at most {LONGEST} characters"));
        }
        // Common passwords and what is easily made of them; what has to do with the account.
        let guessed = zxcvbn(&self.0, &[username.as_str(), "countermark"]);
        if guessed.score() >= Score::Three {
            return None;
        }
        let warning = guessed.feedback().and_then(|feedback| feedback.warning()).map(|warning| warning.to_string());
        let warning = warning.map_or_else(String::new, |warning| format!(" ({})", warning.trim_end_matches('.')));
        Some(format!(
            "this password is too easy to guess{warning}; take several words that have nothing to do with each other"
        ))
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(…)")
    }
}

/// Whose turn it is: whoever is known does not wait behind strangers, however many they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Somebody who was let in before: by this browser, by a session, by a link.
    Known,
    /// Anybody.
    Stranger,
}

/// Where passwords are hashed and compared: one of each lane at a time, as each takes 64 MiB and a tenth of a second.
pub struct Passwords {
    known: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
    /// Of those who are known: turns, and places among those who wait for one.
    turns: Arc<Shares>,
    /// What is compared with where there is no password, so that it takes as long.
    nobodys: Result<String, String>,
}

impl Default for Passwords {
    fn default() -> Self {
        let lane = || Arc::new(Semaphore::new(1));
        Self {
            known: lane(),
            strangers: lane(),
            turns: Shares::of(TURNS),
            nobodys: hash("nobody's password").map_err(|error| error.to_string()),
        }
    }
}

impl Passwords {
    /// What is kept of a new password, if it is good enough.
    pub async fn hashed(
        &self,
        field: &str,
        password: &Password,
        (account, username): (AccountId, &Username),
        now: DateTime<Utc>,
    ) -> Result<StoredPassword, Error> {
        let (password, username, field) = (password.clone(), username.clone(), field.to_owned());
        in_turn(self.turn(Lane::Known, Some(account)).await?, move || {
            if let Some(weakness) = password.weakness(&username) {
                return Err(Error::field(field, weakness));
            }
            Ok(StoredPassword { hash: hash(&password.0)?, set_at: now })
        })
        .await
    }

    /// Waits for a turn. `who`: whom he is known to be.
    pub async fn turn(&self, lane: Lane, who: Option<AccountId>) -> Result<Turn, Error> {
        let share = who.map(|who| self.turns.take(who).ok_or(Error::Busy)).transpose()?;
        let lane = Arc::clone(if lane == Lane::Known { &self.known } else { &self.strangers });
        let turn = tokio::time::timeout(PATIENCE, lane.acquire_owned()).await;
        turn.map_err(|_| Error::Busy)?
            .map(|place| Turn { _place: place, _share: share })
            .map_err(|error| Error::Internal(error.to_string()))
    }

    /// Whether it is the password. Where there is none it takes as long to say no.
    pub async fn matches(
        &self,
        turn: Turn,
        password: &Password,
        stored: Option<&StoredPassword>,
    ) -> Result<bool, Error> {
        let (password, is_somebodys) = (password.clone(), stored.is_some());
        let hash = match stored {
            Some(stored) => stored.hash.clone(),
            None => self.nobodys.clone().map_err(Error::Internal)?,
        };
        in_turn(turn, move || {
            // What is longer than a password may be is none, and is not worth the hashing.
            if password.0.chars().count() > LONGEST {
                return Ok(false);
            }
            let hash =
                PasswordHash::new(&hash).map_err(|_| Error::Internal("a stored password can't be read".into()))?;
            Ok(argon2()?.verify_password(password.0.as_bytes(), &hash).is_ok() && is_somebodys)
        })
        .await
    }
}

/// The turn of one who waited for it.
pub struct Turn {
    _place: OwnedSemaphorePermit,
    _share: Option<Share>,
}

async fn in_turn<T: Send + 'static>(
    turn: Turn,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(move || {
        // Whoever goes away does not make room for the next one: what he began goes on.
        let _turn = turn;
        work()
    });
    done.await.map_err(|_| Error::Internal("a password could not be hashed".into()))?
}

fn argon2() -> Result<Argon2<'static>, Error> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|error| Error::Internal(error.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash(password: &str) -> Result<String, Error> {
    let hash = argon2()?.hash_password_with_salt(password.as_bytes(), &random::<16>()?);
    let hash: PasswordHash = hash.map_err(|error| Error::Internal(error.to_string()))?;
    Ok(hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weakness(password: &str) -> Option<String> {
        Password::new(password).weakness(&"margarethe".parse().unwrap())
    }

    #[test]
    fn common_short_and_own_passwords_are_refused_and_it_is_said_why() {
        assert!(weakness("Tr0ub4dor&3").unwrap().contains("at least 12"));
        assert!(weakness(&"é".repeat(11)).unwrap().contains("at least 12"));
        assert!(weakness(&"x7".repeat(200)).unwrap().contains("at most"));
        for easy in
            ["password1234", "qwertyuiop123", "aaaaaaaaaaaaaaaa", "123456789012", "margarethe1990", "countermark2026"]
        {
            assert!(weakness(easy).unwrap().contains("easy to guess"), "{easy}");
        }
        assert_eq!(weakness("violet harbour teacup nine"), None);
        assert_eq!(weakness("Ärger mit Übersee 7 Pfützen"), None);
    }

    #[tokio::test]
    async fn a_password_is_kept_as_argon2id_with_the_parameters_of_the_rfc_and_no_two_alike() {
        let passwords = Passwords::default();
        let password = Password::new("violet harbour teacup nine");
        let username: Username = "ada".parse().unwrap();
        let who = (AccountId::nobody(), &username);
        let hashed = async || passwords.hashed("password", &password, who, DateTime::UNIX_EPOCH).await.unwrap();
        let (one, other) = (hashed().await, hashed().await);
        assert!(one.hash.starts_with("$argon2id$v=19$m=65536,t=3,p=4$"), "{}", one.hash);
        assert_ne!(one.hash, other.hash);
        assert!(!format!("{one:?}{password:?}").contains("argon2id") && !format!("{password:?}").contains("violet"));
        let matches = async |password: &Password, stored| {
            let turn = passwords.turn(Lane::Stranger, None).await.unwrap();
            passwords.matches(turn, password, stored).await.unwrap()
        };
        assert!(matches(&password, Some(&one)).await);
        for wrong in ["violet harbour teacup nine ", "", "Violet harbour teacup nine"] {
            assert!(!matches(&Password::new(wrong), Some(&one)).await, "{wrong}");
        }
        assert!(!matches(&Password::new("nobody's password"), None).await);
    }

    #[tokio::test]
    async fn strangers_do_not_keep_those_waiting_who_are_known() {
        let passwords = Passwords::default();
        let _stranger = passwords.turn(Lane::Stranger, None).await.unwrap();
        assert!(passwords.turn(Lane::Known, None).await.is_ok());
    }

    #[tokio::test]
    async fn nobody_who_knows_his_own_password_takes_all_turns() {
        let passwords = Arc::new(Passwords::default());
        let [one, other] = [AccountId::new(DateTime::UNIX_EPOCH), AccountId::nobody()];
        let first = passwords.turn(Lane::Known, Some(one)).await.unwrap();
        let waits = |who| {
            let passwords = Arc::clone(&passwords);
            tokio::spawn(async move { passwords.turn(Lane::Known, Some(who)).await.map(drop) })
        };
        let (second, others) = (waits(one), waits(other));
        tokio::task::yield_now().await;
        assert!(matches!(passwords.turn(Lane::Known, Some(one)).await, Err(Error::Busy)));
        drop(first);
        assert!(second.await.unwrap().is_ok() && others.await.unwrap().is_ok());
        assert!(passwords.turn(Lane::Known, Some(one)).await.is_ok());
    }
}
