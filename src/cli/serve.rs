//! The grammar of what runs beside the service: `serve`, `doctor`, `recover`, `acl`. The work is done elsewhere.
//!
//! There are no defaults here on purpose: flags come last after the built-in defaults, the file and the environment,
//! so that "not given" has to stay visible.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What the service is told on its command line.
#[derive(Clone, Debug, Default, Args)]
pub struct ServiceArgs {
    /// Configuration file (default: ./countermark.toml, if there is one)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where keys, certificates and the private store live (default: ./data)
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Address to serve on: ADDR:PORT or https://… for TLS, http://… for plain, unix:/path (default: 127.0.0.1:8443)
    #[arg(long, value_name = "ADDR")]
    pub listen: Vec<String>,
    /// Address of metrics and health, plain HTTP (default: 127.0.0.1:9443)
    #[arg(long, value_name = "ADDR")]
    pub operations_listen: Option<String>,
    /// The issuer URL that tokens carry; fixed by the first start (default: https://localhost:PORT)
    #[arg(long, value_name = "URL")]
    pub issuer: Option<String>,
    /// The store (default: a private Redis in the data directory)
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// How old the state behind a decision may be; 0 looks it up every time (default: 500ms)
    #[arg(long, value_name = "DURATION")]
    pub max_staleness: Option<String>,
    /// Certificate chain, PEM (default: one from the local CA)
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// Private key of the certificate, PEM
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// A name or address that clients reach this server by; repeatable
    #[arg(long, value_name = "NAME")]
    pub public_name: Vec<String>,
    /// What this node is called in the audit and in `node list`
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,
    /// File with the master key that seals the signing keys
    #[arg(long, value_name = "FILE")]
    pub master_key_file: Option<PathBuf>,
}

/// `serve`: run the service.
#[derive(Clone, Debug, Default, Args)]
pub struct ServeArgs {
    /// How it runs.
    #[command(flatten)]
    pub service: ServiceArgs,
    /// Check the configuration and exit
    #[arg(long)]
    pub check: bool,
}

/// `doctor`: look at the service with the eyes of its operator.
#[derive(Clone, Debug, Default, Args)]
#[command(
    after_help = "Give it the configuration, flags and environment of `serve`, on the same machine and as the same user. It changes \
    nothing.\nExit code: 0 nothing was found, 1 something was, 2 it could not look."
)]
pub struct DoctorArgs {
    /// How the service runs.
    #[command(flatten)]
    pub service: ServiceArgs,
}

/// Where a service is, for what is done beside it.
#[derive(Clone, Debug, Args)]
pub struct PlaceArgs {
    /// Where the service keeps its data (default: ./data)
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Configuration file of the service (default: ./countermark.toml, if there is one)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The store, when it isn't the private one
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// File with the master key
    #[arg(long, value_name = "FILE")]
    pub master_key_file: Option<PathBuf>,
}

/// `recover`: give an account a new token without the API.
#[derive(Clone, Debug, Args)]
pub struct RecoverArgs {
    /// Where that is.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Which account gets a new token
    #[arg(long, value_name = "NAME", default_value = "admin")]
    pub account: String,
    /// How many months the token is good for
    #[arg(long, value_name = "N")]
    pub months: Option<u32>,
    /// Write the token to this new file (mode 0600; default: admin.token in the data directory)
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// `key rotate-master`: change the master key while servers run.
#[derive(Clone, Debug, Args)]
pub struct RotateMasterArgs {
    /// Where that is.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// First step: the new master key, which from then on opens the signing keys as well; made if there is no such file
    #[arg(long, value_name = "FILE", required_unless_present_any = ["finish", "abort"])]
    pub new_master_key_file: Option<PathBuf>,
    /// Second step, when every server has the new master key in the place of the old one: only the new one opens them
    #[arg(long, conflicts_with_all = ["new_master_key_file", "abort"])]
    pub finish: bool,
    /// Instead of the second step: leave it, and only the old master key opens them
    #[arg(long, conflicts_with = "new_master_key_file")]
    pub abort: bool,
}

/// `acl`: access rules for the store.
#[derive(Clone, Debug, Subcommand)]
pub enum AclCommand {
    /// Print the Redis ACL of a node that only verifies
    Verifier(AclVerifierArgs),
}

/// `acl verifier`.
#[derive(Clone, Debug, Args)]
pub struct AclVerifierArgs {
    /// Name of the Redis user
    #[arg(long, value_name = "NAME")]
    pub user: String,
    /// Prefix of Countermark's keys in the store (default: cm)
    #[arg(long, value_name = "PREFIX")]
    pub prefix: Option<String>,
}
