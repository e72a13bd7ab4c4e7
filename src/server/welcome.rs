use std::path::Path;

/// Where to go next, on standard output.
pub(super) fn print(
    addresses: &[String],
    operations: &str,
    ca_file: Option<&Path>,
    data_dir: &Path,
    first_admin: bool,
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
    println!();
    println!("Try:");
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
    println!("  countermark account create ci-deploy --role auditor --months 12");
    println!("  countermark account list");
}
