//! Commands that work on the machine itself and not through the API.

use std::process::ExitCode;

use super::serve::{AclCommand, RecoverArgs, ServiceArgs};
use crate::config::Overrides;
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

/// `countermark recover`
pub async fn recover(arguments: RecoverArgs) -> ExitCode {
    let overrides = Overrides {
        config: arguments.config,
        data_dir: arguments.data_dir,
        store: arguments.store,
        master_key_file: arguments.master_key_file,
        ..Overrides::default()
    };
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
