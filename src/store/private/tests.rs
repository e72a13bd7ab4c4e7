use std::os::unix::fs::PermissionsExt;

use rustix::process::test_kill_process;

use super::*;

async fn ask(socket: &Path, command: &str) -> String {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    probe::ask(&mut stream, &format!("{command}\r\n")).await.unwrap()
}

async fn until_ready(socket: &Path) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while probe::health(socket).await != Health::Ready {
        assert!(Instant::now() < deadline, "waited in vain");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn pid(redis: &PrivateRedis) -> Pid {
    Pid::from_raw(redis.pid().unwrap().try_into().unwrap()).unwrap()
}

fn lives(pid: Pid) -> bool {
    test_kill_process(pid).is_ok()
}

/// By another process: a test beside this one may fork while we have the file open for writing, and nobody can run it
/// until that fork has become something else.
pub(super) fn write_script(path: &Path, body: &str) {
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "printf '#!/bin/sh\\n%s\\n' \"$2\" > \"$1\" && chmod 755 \"$1\"", "sh"]).arg(path).arg(body);
    assert!(shell.status().unwrap().success());
}

#[tokio::test]
async fn it_is_durable_private_and_reads_no_other_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let data = DataDir::open(&directory.path().join("with space \"and quotes'")).unwrap();
    let redis = PrivateRedis::start(&data, None).await.unwrap();
    for (name, value) in [
        ("appendonly", "yes"),
        ("appendfsync", "always"),
        ("save", ""),
        ("rdbcompression", "no"),
        ("port", "0"),
        ("maxmemory-policy", "noeviction"),
        ("enable-debug-command", "no"),
        ("unixsocketperm", "700"),
    ] {
        let answer = ask(redis.socket(), &format!("CONFIG GET {name}")).await;
        assert_eq!(answer.lines().nth(4), Some(value), "{name}: {answer}");
    }
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(redis.socket()), mode(redis.socket().parent().unwrap())), (0o700, 0o700));
    redis.stop().await;
}

#[tokio::test]
async fn killed_it_comes_back_with_its_data() {
    let directory = tempfile::tempdir().unwrap();
    let data = DataDir::open(directory.path()).unwrap();
    let redis = PrivateRedis::start(&data, None).await.unwrap();
    assert!(ask(redis.socket(), "SET a 1").await.starts_with("+OK"));
    let first = pid(&redis);
    rustix::process::kill_process(first, Signal::KILL).unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while redis.restarts() == 0 {
        assert!(Instant::now() < deadline, "not restarted");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    until_ready(redis.socket()).await;
    assert_eq!(ask(redis.socket(), "GET a").await, "$1\r\n1\r\n");
    assert_eq!(redis.restarts(), 1);
    assert_ne!(pid(&redis), first);
    redis.stop().await;
}

#[tokio::test]
async fn stopped_it_leaves_no_process_and_starts_again_with_its_data() {
    let directory = tempfile::tempdir().unwrap();
    let data = DataDir::open(directory.path()).unwrap();
    let redis = PrivateRedis::start(&data, None).await.unwrap();
    ask(redis.socket(), "SET a 1").await;
    let (child, socket) = (pid(&redis), redis.socket().to_owned());
    redis.stop().await;
    assert!(!lives(child) && UnixStream::connect(&socket).await.is_err());
    let redis = PrivateRedis::start(&data, None).await.unwrap();
    assert_eq!(ask(redis.socket(), "GET a").await, "$1\r\n1\r\n");
    redis.stop().await;
}

#[tokio::test]
async fn a_stop_between_two_restarts_ends_it_too() {
    let directory = tempfile::tempdir().unwrap();
    let data = DataDir::open(directory.path()).unwrap();
    let redis = PrivateRedis::start(&data, None).await.unwrap();
    let child = pid(&redis);
    rustix::process::kill_process(child, Signal::KILL).unwrap();
    let socket = redis.socket().to_owned();
    redis.stop().await;
    assert!(UnixStream::connect(&socket).await.is_err());
}

#[tokio::test]
async fn an_orphan_is_ended_before_a_new_one_starts() {
    let directory = tempfile::tempdir().unwrap();
    let data = DataDir::open(directory.path()).unwrap();
    let place = Place::prepare(&data).unwrap();
    // What a killed server would leave where the kernel does not end its child.
    let (orphans, _) = Supervisor::start(binary::find(None).unwrap(), place.clone()).unwrap();
    until_ready(&place.socket).await;
    ask(&place.socket, "SET a 1").await;
    let orphan = Pid::from_raw(orphans.pid().unwrap().try_into().unwrap()).unwrap();
    // Its parent must not bring it back.
    orphans.leave();
    let redis = PrivateRedis::start(&data, None).await.unwrap();
    assert!(!lives(orphan) && pid(&redis) != orphan);
    assert_eq!(ask(redis.socket(), "GET a").await, "$1\r\n1\r\n");
    redis.stop().await;
}

#[test]
fn a_process_that_ended_and_was_not_reaped_is_not_running() {
    let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let pid = Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    assert!(is_running(pid));
    child.kill().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while is_running(pid) {
        assert!(Instant::now() < deadline, "it still runs");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(lives(pid), "its number is still taken");
    child.wait().unwrap();
    assert!(!is_running(pid));
}

#[tokio::test]
async fn the_kernel_ends_it_when_its_thread_ends() {
    let directory = tempfile::tempdir().unwrap();
    let data = DataDir::open(directory.path()).unwrap();
    let place = Place::prepare(&data).unwrap();
    let socket = place.socket.clone();
    let mut child =
        std::thread::spawn(move || child::spawn(&binary::find(None).unwrap(), &place).unwrap()).join().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("it lives on");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    // By SIGTERM, before or after Redis learned to handle it.
    assert!(status.code() == Some(0) || status.code().is_none(), "{status:?}");
    assert!(UnixStream::connect(socket).await.is_err());
}

#[tokio::test]
async fn damaged_data_is_reported_with_the_log_and_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let data = DataDir::open(directory.path()).unwrap();
    let redis = PrivateRedis::start(&data, None).await.unwrap();
    for _ in 0..20 {
        ask(redis.socket(), "SET a 1").await;
    }
    redis.stop().await;
    let files = std::fs::read_dir(data.path().join("redis/appendonlydir")).unwrap();
    let incr =
        files.map(|file| file.unwrap().path()).find(|path| path.to_string_lossy().ends_with("incr.aof")).unwrap();
    let mut bytes = std::fs::read(&incr).unwrap();
    bytes[40..60].fill(b'!');
    std::fs::write(&incr, bytes).unwrap();
    let text = PrivateRedis::start(&data, None).await.unwrap_err().to_string();
    assert!(
        text.contains("damaged") && text.contains("redis-check-aof --fix") && text.contains("Bad file format"),
        "{text}"
    );
}

#[tokio::test]
async fn a_binary_that_ends_at_once_is_reported_with_what_it_said() {
    let directory = tempfile::tempdir().unwrap();
    let data = DataDir::open(&directory.path().join("data")).unwrap();
    let binary = directory.path().join("redis-server");
    write_script(
        &binary,
        "[ \"$1\" = --version ] && echo Redis server v=7.2.0 && exit 0; echo no luck today >&2; exit 3",
    );
    let text = PrivateRedis::start(&data, Some(&binary)).await.unwrap_err().to_string();
    assert!(text.contains("ended with code 3") && text.contains("no luck today"), "{text}");
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_gets_a_short_one() {
    let directory = tempfile::tempdir().unwrap();
    let data = DataDir::open(&directory.path().join("x".repeat(120))).unwrap();
    let redis = PrivateRedis::start(&data, None).await.unwrap();
    let short = redis.socket().parent().unwrap().to_owned();
    assert!(short.starts_with("/tmp"), "{short:?}");
    assert!(ask(redis.socket(), "PING").await.starts_with("+PONG"));
    redis.stop().await;
    std::fs::set_permissions(&short, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(matches!(PrivateRedis::start(&data, None).await, Err(PrivateRedisError::NotPrivate { .. })));
    std::fs::remove_dir_all(short).unwrap();
}
