//! The command line: a grammar, and a thin client of the HTTP API.
//!
//! Floor 4: it translates and never decides. What a command may do is the server's business; all that is decided
//! here is where a credential may be sent, and what is asked before something is destroyed.

mod accounts;
mod activity;
mod address;
mod answer;
mod audit;
mod backup;
mod client;
mod completions;
mod confirm;
mod connect;
mod doctor;
mod export;
mod import;
mod inspect;
mod issued;
mod json;
mod keys;
mod local;
mod login;
mod machine;
mod man;
mod nodes;
mod pages;
mod problem;
mod receipt;
mod roles;
mod secret;
mod serve;
mod stored;
mod table;
mod teams;
#[cfg(test)]
mod tests;
mod tokens;
mod usage;
mod users;
mod verify;
mod when;

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

pub use self::accounts::AccountCommand;
pub use self::audit::AuditCommand;
pub use self::backup::{BackupArgs, RestoreArgs};
pub use self::completions::CompletionsArgs;
pub use self::connect::ConnectionArgs;
pub use self::keys::KeyCommand;
pub use self::login::LoginArgs;
pub use self::machine::{acl, recover};
pub use self::man::ManArgs;
pub use self::nodes::NodeCommand;
pub use self::roles::RoleCommand;
pub use self::serve::{AclCommand, AclVerifierArgs, DoctorArgs, RecoverArgs, ServeArgs, ServiceArgs};
pub use self::teams::TeamCommand;
pub use self::tokens::TokenCommand;
pub use self::users::UserCommand;

use self::answer::{Answer, Failure};
use self::client::Session;

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "countermark", version, about = "Service-account tokens for APIs")]
pub struct Cli {
    /// Which server the administrative commands talk to, and as whom.
    #[command(flatten)]
    pub connection: ConnectionArgs,

    /// How answers are printed: for people, or as the server's JSON
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORM", help_heading = "Global options")]
    pub output: Output,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How answers are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Aligned text that reads well at 80 columns.
    #[default]
    Table,
    /// The body of the server's answer, indented.
    Json,
}

/// Every command. What runs on the machine of the service stands here by itself, what speaks HTTP in [`ClientCommand`].
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the service; in an empty data directory, set everything up first
    Serve(ServeArgs),
    /// Look for what is wrong with the service's surroundings, and say what to do about it
    Doctor(DoctorArgs),
    /// Give an account a new token when nobody is left who could (needs the master key and the store)
    Recover(RecoverArgs),
    /// Write accounts, roles, teams and keys to a sealed file (needs the master key and the store)
    Backup(BackupArgs),
    /// Put back what a backup has (needs the master key and the store)
    Restore(RestoreArgs),
    /// Print access rules for the store
    #[command(subcommand)]
    Acl(AclCommand),
    /// Print the script that completes commands in a shell
    Completions(CompletionsArgs),
    /// Print the manual page, or write the pages of all commands
    Man(ManArgs),
    /// The commands that go through the HTTP API.
    #[command(flatten)]
    Client(ClientCommand),
}

/// The commands that go through the HTTP API.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Create, look at and change accounts
    #[command(subcommand)]
    Account(AccountCommand),
    /// People, who sign in to the console
    #[command(subcommand)]
    User(UserCommand),
    /// Replace, revoke and look at tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// Roles: named sets of permissions
    #[command(subcommand)]
    Role(RoleCommand),
    /// Teams, in which an account can have a role of its own
    #[command(subcommand)]
    Team(TeamCommand),
    /// The keys that sign tokens
    #[command(subcommand)]
    Key(KeyCommand),
    /// Who did what, and what was refused
    #[command(subcommand)]
    Audit(AuditCommand),
    /// The processes that verify tokens
    #[command(subcommand)]
    Node(NodeCommand),
    /// Remember a server and a token for the commands that follow
    Login(LoginArgs),
}

/// `countermark completions`
pub fn completions(arguments: &CompletionsArgs) -> ExitCode {
    completions::run(arguments).map_or_else(Failure::report, Answer::deliver)
}

/// `countermark man`
pub fn man(arguments: &ManArgs) -> ExitCode {
    man::run(arguments).map_or_else(Failure::report, Answer::deliver)
}

/// `countermark doctor`
pub async fn doctor(arguments: DoctorArgs, output: Output) -> ExitCode {
    doctor::run(arguments, output).await.map_or_else(Failure::report, Answer::deliver)
}

/// `countermark backup`
pub async fn backup(arguments: BackupArgs, output: Output) -> ExitCode {
    backup::backup(arguments, output).await.map_or_else(Failure::report, Answer::deliver)
}

/// `countermark restore`
pub async fn restore(arguments: RestoreArgs, output: Output) -> ExitCode {
    backup::restore(arguments, output).await.map_or_else(Failure::report, Answer::deliver)
}

/// Does what a client command says, prints the answer, and says how the process should end: 0 yes, 1 no, 2 could not
/// be done. A rustls crypto provider must have been installed for the process.
pub async fn run(command: ClientCommand, connection: ConnectionArgs, output: Output) -> ExitCode {
    match dispatch(command, &connection, output).await {
        Ok(answer) => answer.deliver(),
        Err(failure) => failure.report(),
    }
}

async fn dispatch(command: ClientCommand, connection: &ConnectionArgs, output: Output) -> Result<Answer, Failure> {
    let session = || Session::open(connection, output);
    match command {
        ClientCommand::Account(command) => accounts::run(command, &session()?).await,
        ClientCommand::User(command) => users::run(command, &session()?).await,
        ClientCommand::Token(command) => tokens::run(command, connection, output).await,
        ClientCommand::Role(command) => roles::run(command, &session()?).await,
        ClientCommand::Team(command) => teams::run(command, &session()?).await,
        ClientCommand::Key(command) => keys::run(command, connection, output).await,
        ClientCommand::Audit(command) => audit::run(command, connection, output).await,
        ClientCommand::Node(command) => nodes::run(command, connection, output).await,
        ClientCommand::Login(args) => login::run(args, connection, output).await,
    }
}
