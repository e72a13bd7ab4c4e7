//! `countermark backup` and `countermark restore`: on a machine with the master key and access to the store.

use std::fs::File;
use std::io::{BufWriter, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use super::machine::{OnTheMachine, StorePlace};
use super::master_key::read as master_key;
use super::unfinished::Unfinished;
use super::{ServeError, Signals, load, memory, setup};
use crate::account::Audience;
use crate::authority::Authority;
use crate::authority::backup::{
    Attempt, BackupError, FileError, Filling, Header, Into, NotFilled, RestorePlan, Survey, Taken, plan,
    restore_into_empty, take,
};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{Config, Overrides, SecretSource, StoreSource};
use crate::keyring::{CarriedOver, Carrying, MasterKey};

/// How often a backup is begun.
const TRIES: usize = 3;

/// A backup that was made.
pub struct BackedUp {
    /// What anybody can read of it.
    pub header: Header,
    /// What is in it.
    pub taken: Taken,
    /// How large it is.
    pub bytes: u64,
}

/// Writes a backup to a new file, mode 0600.
pub async fn backup(overrides: &Overrides, out: &Path, with_audit: bool) -> Result<BackedUp, ServeError> {
    let config = load(overrides).map_err(ServeError::of)?;
    let taken =
        || ServeError(format!("{} exists, and no backup is written over another file; name a new one", out.display()));
    if out.symlink_metadata().is_ok() {
        return Err(taken());
    }
    let machine = OnTheMachine::open(&config, "backup", false).await?;
    let failed = |error: std::io::Error| ServeError(format!("{}: {error}", out.display()));
    let writing = async {
        let unfinished = Unfinished::beside(out).map_err(failed)?;
        let backed_up = write(&machine.authority, &config, &unfinished.file, out, with_audit).await?;
        // Whoever takes it is in the audit before he has it.
        machine.authority.note_backup(&backed_up.header, &backed_up.taken, with_audit).await.map_err(ServeError::of)?;
        unfinished.becomes(out).map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => taken(),
            _ => failed(error),
        })?;
        Ok(backed_up)
    };
    let written = async {
        let mut signals = Signals::listen()?;
        tokio::select! {
            written = writing => written,
            () = signals.received() => Err(ServeError("it was interrupted; no backup was written".into())),
        }
    }
    .await;
    machine.close().await;
    written
}

async fn write(
    authority: &Authority,
    config: &Config,
    mut file: &File,
    out: &Path,
    with_audit: bool,
) -> Result<BackedUp, ServeError> {
    let failed = |error: std::io::Error| ServeError(format!("{}: {error}", out.display()));
    let master = master_key(&config.master_key)?;
    let mut why = "";
    for _ in 0..TRIES {
        file.set_len(0).and_then(|()| file.rewind()).map_err(failed)?;
        let header =
            Header::new(authority.dataset_id(), authority.issuer(), SystemClock.now(), &master).map_err(failed)?;
        let to = BufWriter::new(file.try_clone().map_err(failed)?);
        match take(authority.store(), &header, &master, to, with_audit).await {
            Ok(Attempt::Done(mut to, taken)) => {
                to.flush().and_then(|()| file.sync_all()).map_err(failed)?;
                let bytes = file.metadata().map_err(failed)?.len();
                return Ok(BackedUp { header, taken, bytes });
            }
            Ok(Attempt::Again(reason)) => why = reason,
            Err(BackupError::File(FileError::Io(error))) => return Err(failed(error)),
            Err(error) => return Err(ServeError::of(error)),
        }
    }
    Err(ServeError(format!(
        "{why}, {TRIES} times in a row; no backup was written. Try it again when there are fewer changes"
    )))
}

/// What is to be restored, and how.
pub struct ToRestore {
    /// The backup.
    pub file: PathBuf,
    /// A former master key, which opens it.
    pub backup_key_file: Option<PathBuf>,
    /// Whether nothing is to be changed.
    pub dry_run: bool,
}

/// What a restore has done.
pub struct Restored {
    /// What was to be done.
    pub plan: RestorePlan,
    /// Whether it was.
    pub is_done: bool,
}

/// Puts a backup back, after `agreed` was shown what that would do.
pub async fn restore<E: From<ServeError>>(
    overrides: &Overrides,
    what: &ToRestore,
    agreed: impl FnOnce(&RestorePlan) -> Result<(), E>,
) -> Result<Restored, E> {
    let config = load(overrides).map_err(ServeError::of).map_err(unchanged)?;
    memory::keep_to_ourselves(&config);
    let (survey, keys) = read(&config, what).map_err(unchanged)?;
    belongs_here(&config, &survey).map_err(unchanged)?;
    // A look makes no data directory, and starts nothing in one.
    let is_nowhere =
        matches!(config.store.source, StoreSource::Private { .. }) && !config.data_dir.join("redis").exists();
    if what.dry_run && is_nowhere {
        let plan = plan(&survey, &keys.document, None).await.map_err(ServeError::of).map_err(unchanged)?;
        return Ok(Restored { plan, is_done: false });
    }
    let place = StorePlace::open(&config).await.map_err(unchanged)?;
    let planned = match plan(&survey, &keys.document, Some(&place.store)).await {
        Ok(plan) if what.dry_run => Err(Ok(Restored { plan, is_done: false })),
        Ok(plan) => agreed(&plan).map(|()| plan).map_err(Err),
        Err(error) => Err(Err(unchanged(ServeError::of(error)).into())),
    };
    let plan = match planned {
        Ok(plan) => plan,
        Err(ended) => {
            place.close().await;
            return ended;
        }
    };
    let is_done = !plan.is_nothing();
    if is_done {
        put_back(place, &config, &survey, &keys, &plan).await?;
    } else {
        place.close().await;
    }
    Ok(Restored { plan, is_done })
}

/// The same, and that nothing was changed, which some errors say by themselves.
fn unchanged(ServeError(why): ServeError) -> ServeError {
    const SAYS: &str = "othing was changed";
    if why.contains(SAYS) {
        return ServeError(why);
    }
    ServeError(format!("{}. N{SAYS}", why.trim_end_matches('.')))
}

async fn put_back(
    place: StorePlace,
    config: &Config,
    survey: &Survey,
    keys: &CarriedOver,
    plan: &RestorePlan,
) -> Result<(), ServeError> {
    if plan.into == Into::Existing {
        let machine = OnTheMachine::at(place, config, "restore", false).await.map_err(unchanged)?;
        let refilled = machine.authority.refill(survey, plan).await.map_err(|error| {
            ServeError(format!(
                "{error}. What was put back before that stays: run the same command again, which goes on with what is missing"
            ))
        });
        machine.close().await;
        return refilled.map(|_| ());
    }
    let own_audiences = own_audiences(config, survey).map_err(unchanged)?;
    let filling = Filling { survey, plan, keys, own_audiences: &own_audiences };
    let filled = restore_into_empty(&place.store, &filling).await;
    place.close().await;
    filled.map_err(|error| match error {
        NotFilled::NotBegun(why) => unchanged(ServeError::of(why)),
        NotFilled::NotWhole(why) => ServeError(format!(
            "{why}. The store is not whole, and no server starts on it: run the same command again, which goes on"
        )),
        // A gap in a stream of the audit is not filled by what goes on at its end.
        NotFilled::Replaced if plan.audit_put_back => {
            ServeError(format!("{error}, and no server starts on it: empty it, and run the same command again"))
        }
        NotFilled::Replaced => ServeError(format!(
            "{error}, and no server starts on it: run the same command again, which puts back what is missing"
        )),
        NotFilled::Overtaken => ServeError(format!("{error}: look with --dry-run what is there now")),
        NotFilled::Unconfirmed(why) => ServeError(format!(
            "everything was put back, and yet: {why}. Look at the replicas, then run the same command again: it goes on, or finds \
             nothing missing"
        )),
    })
}

/// Reads all of the file, and its signing keys, sealed anew.
fn read(config: &Config, what: &ToRestore) -> Result<(Survey, CarriedOver), ServeError> {
    let present = master_key(&config.master_key)?;
    let former = what.backup_key_file.clone().map(|path| master_key(&SecretSource::File(path))).transpose()?;
    let masters: Vec<MasterKey> = former.into_iter().chain([present.clone()]).collect();
    let survey = Survey::of(&what.file, &masters).map_err(|error| match error {
        BackupError::File(FileError::MasterKey { sealed, .. }) => ServeError(format!(
            "{} is sealed under the master key {sealed}, and the one of this service is {}: name the former one with --backup-key-file",
            what.file.display(),
            present.id()
        )),
        BackupError::File(error) => ServeError(format!("{}: {error}", what.file.display())),
        other => ServeError::of(other),
    })?;
    let keyring = survey.keyring().map_err(ServeError::of)?;
    let least = u64::try_from(SystemClock.now().timestamp()).unwrap_or(0);
    let carrying = Carrying {
        dataset: &survey.header.dataset,
        version: keyring.0,
        sealed: keyring.1,
        former: survey.master(),
        present: &present,
        mark: Some(setup::keys_mark(config)),
        least,
    };
    let keys = carrying.over().map_err(|error| ServeError(format!("the signing keys of the backup: {error}")))?;
    Ok((survey, keys))
}

/// A data directory, and an issuer, that belong to another dataset would refuse to start on what was restored.
fn belongs_here(config: &Config, survey: &Survey) -> Result<(), ServeError> {
    let path = config.data_dir.join("dataset");
    let dataset = &survey.header.dataset;
    match std::fs::read_to_string(&path) {
        Ok(id) if id.trim_end() == dataset => {}
        Ok(id) => {
            return Err(ServeError(format!(
                "this data directory belongs to the dataset {}, and the backup is of {dataset}: name the data directory that it belongs \
                 to, or a new one, with --data-dir",
                id.trim_end()
            )));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(ServeError(format!("{}: {error}", path.display()))),
    }
    match &config.issuer {
        Some(issuer)
            if *issuer != survey.header.issuer && !config.also_accept_issuers.contains(&survey.header.issuer) =>
        {
            Err(ServeError(format!(
                "the issuer is {issuer} here, and {} in the backup: every token says so. Leave it out, or add also_accept_issuers = \
                 [\"{}\"]",
                survey.header.issuer, survey.header.issuer
            )))
        }
        _ => Ok(()),
    }
}

fn own_audiences(config: &Config, survey: &Survey) -> Result<Vec<Audience>, ServeError> {
    let issuers = [&survey.header.issuer].into_iter().chain(config.issuer.as_ref()).chain(&config.also_accept_issuers);
    issuers
        .map(|issuer| issuer.parse().map_err(|_| ServeError(format!("the issuer {issuer} can't be an audience"))))
        .collect()
}
