//! Reads what wrk and h2load print, and what the kernel says of a process.

/// What one load came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Answered {
    pub requests: f64,
    pub seconds: f64,
    pub p50_us: Option<f64>,
    pub p99_us: Option<f64>,
    /// Answers other than 2xx, and requests without one.
    pub failed: u64,
}

/// The line that `drive.lua` prints.
pub fn of_wrk(output: &str) -> Option<Answered> {
    let line = output.lines().find_map(|line| line.strip_prefix("summary "))?;
    let number = |name: &str| -> Option<f64> {
        let word = line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='))?;
        word.parse().ok()
    };
    let failed = ["connect", "read", "write", "status", "timeout"].iter().map(|name| number(name));
    Some(Answered {
        requests: number("requests")?,
        seconds: number("duration_us")? / 1e6,
        p50_us: Some(number("p50_us")?),
        p99_us: Some(number("p99_us")?),
        failed: failed.sum::<Option<f64>>()? as u64,
    })
}

/// What h2load prints after `-D`. It says nothing of quantiles.
pub fn of_h2load(output: &str, seconds: f64) -> Option<Answered> {
    let line = |name: &str| output.lines().find_map(|line| line.strip_prefix(name));
    let count = |line: &str, name: &str| -> Option<u64> {
        line.split(',').find_map(|part| part.trim().strip_suffix(name)?.trim().parse().ok())
    };
    let (requests, statuses) = (line("requests: ")?, line("status codes: ")?);
    let good = count(statuses, "2xx")?;
    let refused = count(statuses, "3xx")? + count(statuses, "4xx")? + count(statuses, "5xx")?;
    let lost = count(requests, "errored")? + count(requests, "timeout")?;
    // There is no load without an answer.
    let none = u64::from(good == 0);
    Some(Answered { requests: good as f64, seconds, p50_us: None, p99_us: None, failed: refused + lost + none })
}

/// Ticks of processor time, its own and the kernel's for it, in `/proc/PID/stat`.
pub fn ticks(stat: &str) -> Option<u64> {
    // The second field is the name in parentheses, which may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

/// A line such as `VmRSS:   12345 kB` of `/proc/PID/status`, or `used_memory:123` of Redis' `INFO`.
pub fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Calls of these commands in Redis' `INFO commandstats`, and of all others.
pub fn commands(info: &str, these: &[&str]) -> (f64, f64) {
    let of_line = |line: &str| -> Option<(bool, f64)> {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        // A command of two words is told by both.
        let name = name.split('|').next()?;
        Some((these.contains(&name), rest.split(',').next()?.parse().ok()?))
    };
    info.lines().filter_map(of_line).fold((0.0, 0.0), |(these, others), (is_one, calls)| {
        if is_one { (these + calls, others) } else { (these, others + calls) }
    })
}
