use std::path::Path;

/// Where to go next, on standard output.
pub(super) fn print(
    addresses: &[String],
    operations: &str,
    ca_file: Option<&Path>,
    data_dir: &Path,
    first_admin: bool,
    setup: Option<&str>,
) {
    let token_file = data_dir.join("admin.token");
    let address = addresses.first().map_or("", String::as_str);
    println!("Countermark is running.");
    println!();
    println!("  address      {}", addresses.join(", "));
    println!("  operations   {operations}");
    if let Some(ca_file) = ca_file {
        println!("  CA file      {}", ca_file.display());
    }
    if token_file.exists() {
        let note = if first_admin { "  (the first admin's token; keep it safe)" } else { "" };
        println!("  admin token  {}{note}", token_file.display());
    }
    if let Some(setup) = setup {
        println!("  console      {setup}");
        println!("               (creates the first person who can sign in; works once, within 7 days)");
    } else if address.starts_with("http") {
        println!("  console      {address}/console");
    }
    println!();
    println!("Try, in another shell:");
    if let Some(ca_file) = ca_file
        && token_file.exists()
        && address.starts_with("https://")
    {
        println!(
            "  curl --cacert {} -H \"Authorization: Bearer $(cat {})\" {address}/api/v1/self",
            ca_file.display(),
            token_file.display()
        );
    }
    let command = command(data_dir, address, ca_file);
    println!("  {command} account create ci-audit --role auditor --months 12");
    println!("  {command} account activity ci-audit");
}

/// The command line as it can be typed here: without flags where `./data` says enough.
fn command(data_dir: &Path, address: &str, ca_file: Option<&Path>) -> String {
    let here = std::env::current_dir().ok().and_then(|directory| directory.canonicalize().ok());
    let program = std::env::current_exe().ok().map_or_else(
        || "countermark".to_owned(),
        |program| {
            let near = here.as_ref().and_then(|here| program.strip_prefix(here).ok());
            near.unwrap_or(&program).display().to_string()
        },
    );
    if here.is_some_and(|here| here.join("data") == data_dir) {
        return program;
    }
    let ca = ca_file.map_or(String::new(), |file| format!(" --ca-file {}", file.display()));
    format!("{program} --server {address}{ca} --token-file {}", data_dir.join("admin.token").display())
}
