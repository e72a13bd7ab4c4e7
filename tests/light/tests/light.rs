//! What an API takes in with the library, and what it does not.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::process::Command;

/// Names of the packages that end in an API's program.
fn packages() -> Vec<String> {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--package", "countermark-light", "--edges", "normal"])
        .args(["--prefix", "none", "--format", "{p}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let text = String::from_utf8(tree.stdout).unwrap();
    text.lines().filter_map(|line| line.split(' ').next().map(str::to_owned)).collect()
}

#[test]
fn nothing_of_the_service_comes_along() {
    let packages = packages();
    assert!(packages.iter().any(|name| name == "redis") && packages.len() > 50, "{packages:?}");
    let of_the_service = [
        "axum",
        "axum-core",
        "clap",
        "askama",
        "rcgen",
        "utoipa",
        "toml",
        "prometheus-client",
        "tracing-subscriber",
        "comfy-table",
        "rpassword",
    ];
    for name in of_the_service {
        assert!(!packages.iter().any(|package| package == name), "{name} comes along");
    }
    for other in ["ring", "openssl-sys", "native-tls"] {
        assert!(!packages.iter().any(|package| package == other), "{other} is a second provider of cryptography");
    }
}

#[tokio::test]
async fn what_is_wrong_is_told_before_anything_begins() {
    let wrong = light("https://tokens.example.com", "http://127.0.0.1").await;
    assert!(wrong.contains("rediss://"), "{wrong}");
    let plain = light("http://tokens.example.com", "redis://127.0.0.1").await;
    assert!(plain.contains("https://"), "{plain}");
}

async fn light(issuer: &str, redis: &str) -> String {
    countermark_light::verifier(issuer, redis).await.unwrap_err().to_string()
}
