//! All of the audit, written to a file by the command line, and checked there.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::super::dataset::Dataset;
use super::super::figures::Figure;
use super::super::node::Node;
use super::super::reading;

/// How fast, and in how much memory of the client's and the server's.
pub fn figures(node: &Node, dataset: &Dataset, directory: &Path) -> Vec<Figure> {
    let token = directory.join("export.token");
    std::fs::write(&token, &dataset.admin).unwrap();
    let (file, keys) = (directory.join("export.jsonl"), directory.join("export.keys.json"));
    std::fs::write(&keys, node.keys().to_string()).unwrap();
    let countermark = || Command::new(env!("CARGO_BIN_EXE_countermark"));
    let mut command = countermark();
    command.args(["audit", "export", "--server", &node.plain, "--token-file"]).arg(&token).arg("--out").arg(&file);
    let before = status(node.process.pid(), "VmRSS").unwrap();
    let (wrote, of_client) = run(command);
    let after = status(node.process.pid(), "VmRSS").unwrap();
    let bytes = std::fs::metadata(&file).unwrap().len() as f64;
    let mut command = countermark();
    command.args(["audit", "verify"]).arg(&file).arg("--keys").arg(&keys);
    let (checked, of_check) = run(command);
    let entries = lines(&file) as f64;
    std::fs::remove_file(&file).unwrap();
    let from = format!("{:.1} million entries, {:.1} GB", entries / 1e6, bytes / 1e9);
    vec![
        Figure::new("export", bytes / 1e6 / wrote.as_secs_f64(), "MB/s").of(from.clone()).at_least(100.0),
        Figure::new("export: the client's memory", of_client as f64 / 1e3, "MB").of(from.clone()),
        Figure::new("export: what the server's memory grew by", after.saturating_sub(before) as f64 / 1e3, "MB")
            .of(from.clone()),
        Figure::new("verify of the export", entries / checked.as_secs_f64() / 1e3, "thousand/s")
            .of(from.clone())
            .at_least(300.0),
        Figure::new("verify: memory", of_check as f64 / 1e3, "MB").of(from),
    ]
}

/// How long it takes, and its most memory in kB (proc(5)).
fn run(mut command: Command) -> (Duration, u64) {
    let began = Instant::now();
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    let mut peak = 0;
    loop {
        peak = status(child.id(), "VmHWM").unwrap_or(peak);
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{command:?}");
            return (began.elapsed(), peak);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn status(process: u32, name: &str) -> Option<u64> {
    reading::field(&std::fs::read_to_string(format!("/proc/{process}/status")).ok()?, name)
}

fn lines(file: &Path) -> usize {
    use std::io::BufRead as _;
    let mut reader = std::io::BufReader::with_capacity(1 << 20, std::fs::File::open(file).unwrap());
    let mut count = 0;
    loop {
        let part = reader.fill_buf().unwrap();
        let length = part.len();
        if length == 0 {
            return count;
        }
        count += part.iter().filter(|byte| **byte == b'\n').count();
        reader.consume(length);
    }
}
