use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Logs go to standard error, a line each. What must never stand in one is named at the top of the crate.
pub(super) fn start(log: &Log) {
    // cryptoki takes each mechanism of a token that it does not know for an error.
    let filter = EnvFilter::new(format!("warn,cryptoki=off,countermark={}", log.level.name()));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // There is one already only in tests.
    let _ = match log.format {
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
        LogFormat::Readable => lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
    };
}
