//! The binary: parse, dispatch, exit code.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use countermark::cli::{Cli, Command};

/// A request takes and gives back some dozens of small pieces of memory: the system's allocator would be a tenth of its cost.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let Cli { connection, output, command } = Cli::parse();
    // One provider for the whole process; only the first call can win, and this is it.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    // Those who wait for disks are needed in bursts: what is idle goes soon.
    let mut threads = tokio::runtime::Builder::new_multi_thread();
    let runtime = match threads.enable_all().thread_keep_alive(Duration::from_secs(2)).build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the runtime can't be started: {error}");
            return ExitCode::from(2);
        }
    };
    match command {
        Command::Client(command) => runtime.block_on(countermark::cli::run(command, connection, output)),
        Command::Serve(arguments) => {
            let check = arguments.check;
            let code = runtime.block_on(countermark::server::serve(&arguments.service.into(), check));
            // A hardware token that hangs is not waited for; one that is well is left in good order.
            runtime.shutdown_timeout(Duration::from_secs(3));
            code
        }
        Command::Doctor(arguments) => {
            let code = runtime.block_on(countermark::cli::doctor(arguments, output));
            // A look at a file system that hangs is not waited for.
            runtime.shutdown_background();
            code
        }
        Command::Recover(arguments) => runtime.block_on(countermark::cli::recover(arguments)),
        Command::Backup(arguments) => runtime.block_on(countermark::cli::backup(arguments, output)),
        Command::Restore(arguments) => runtime.block_on(countermark::cli::restore(arguments, output)),
        Command::Acl(command) => countermark::cli::acl(command),
        Command::Completions(arguments) => countermark::cli::completions(&arguments),
        Command::Man(arguments) => countermark::cli::man(&arguments),
    }
}
