//! Commands that work on the machine itself and not through the API.

use std::process::ExitCode;

use super::Output;
use super::answer::{Answer, Failure};
use super::nodes::ForgetArgs;
use super::serve::{AclCommand, PlaceArgs, RecoverArgs, RotateMasterArgs, ServiceArgs};
use crate::authority::MasterKeyChange;
use crate::config::Overrides;
use crate::server::MasterKeyStep;
use crate::store::schema::Schema;

impl From<ServiceArgs> for Overrides {
    fn from(arguments: ServiceArgs) -> Self {
        Self {
            config: arguments.config,
            data_dir: arguments.data_dir,
            listen: arguments.listen,
            operations_listen: arguments.operations_listen,
            issuer: arguments.issuer,
            store: arguments.store,
            max_staleness: arguments.max_staleness,
            tls_cert: arguments.tls_cert,
            tls_key: arguments.tls_key,
            public_names: arguments.public_name,
            node_name: arguments.node_name,
            master_key_file: arguments.master_key_file,
        }
    }
}

impl From<PlaceArgs> for Overrides {
    fn from(place: PlaceArgs) -> Self {
        Self {
            config: place.config,
            data_dir: place.data_dir,
            store: place.store,
            master_key_file: place.master_key_file,
            ..Self::default()
        }
    }
}

/// `countermark recover`
pub async fn recover(arguments: RecoverArgs) -> ExitCode {
    let overrides = Overrides::from(arguments.place);
    match crate::server::recover(&overrides, &arguments.account, arguments.months, arguments.out).await {
        Ok(file) => {
            println!("{} has a new token, in {}. The older one is dead.", arguments.account, file.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// `countermark key rotate-master`
pub async fn rotate_master(arguments: RotateMasterArgs, output: Output) -> Result<Answer, Failure> {
    let overrides = Overrides::from(arguments.place);
    let new = arguments.new_master_key_file;
    let other = if arguments.abort { MasterKeyStep::Abort } else { MasterKeyStep::Finish };
    let step = new.clone().map_or(other, MasterKeyStep::Begin);
    let changed = crate::server::rotate_master(&overrides, &step).await;
    let file = new.map(|file| file.display().to_string()).unwrap_or_default();
    let next = format!(
        "Either master key opens the signing keys now. Put {file} in the place of the master key of every server, readable by the user \
         that it runs as, and back it up. Each says in its log, within ten seconds, that the master key was changed. Then run: countermark key \
         rotate-master --finish"
    );
    if output == Output::Json {
        let changed = changed.map_err(|error| Failure::new(error.to_string()))?;
        return Ok(Answer::yes(serde_json::json!({"change": changed.as_str()}).to_string()));
    }
    match changed {
        Ok(MasterKeyChange::Begun) => Ok(Answer::yes(next)),
        Ok(MasterKeyChange::BegunBefore) => Ok(Answer::yes(format!("This was done before. {next}"))),
        Ok(MasterKeyChange::Finished) => Ok(Answer::yes("Only this master key opens the signing keys from now on.")),
        Ok(MasterKeyChange::FinishedBefore) => {
            Ok(Answer::yes("This master key alone opens the signing keys already; nothing was changed."))
        }
        Err(error) => Err(Failure::new(error.to_string())),
    }
}

/// `countermark node forget`
pub async fn forget_issuer(arguments: ForgetArgs, output: Output) -> Result<Answer, Failure> {
    let overrides = Overrides::from(arguments.place);
    let forgotten = crate::server::forget_issuer(&overrides, &arguments.name).await;
    let (name, still) = forgotten.map_err(|error| Failure::new(error.to_string()))?;
    if output == Output::Json {
        return Ok(Answer::yes(serde_json::json!({"forgotten": name, "waits_for": still}).to_string()));
    }
    let next = match still.as_slice() {
        [] => "Nothing else is waited for: the store serves.".to_owned(),
        still => format!("The store still waits for {}.", still.join(", ")),
    };
    Ok(Answer::yes(format!(
        "{name} is waited for no more. What it alone has changed, and the store has lost, stays lost until it is started again with its \
         data directory: look at what was revoked, disabled and narrowed there lately. {next}"
    )))
}

/// `countermark acl …`
pub fn acl(command: AclCommand) -> ExitCode {
    let AclCommand::Verifier(arguments) = command;
    let plain = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    let prefix = arguments.prefix.as_deref().unwrap_or("cm");
    if !plain(&arguments.user) || !plain(prefix) {
        eprintln!("error: a user and a prefix consist of letters, digits, '-', '_' and '.'");
        return ExitCode::from(2);
    }
    let rules = Schema::new(prefix).verifier_rules().join(" ");
    println!("ACL SETUSER {} reset {rules}", arguments.user);
    eprintln!("Add a password before you use it: '>' and the password, as one more rule.");
    ExitCode::SUCCESS
}
