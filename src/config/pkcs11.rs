//! The hardware token that signing keys may lie in.

use super::check::check_private_file;
use super::reader::{Placed, Reader};
use super::{Pkcs11, SecretSource};

/// All of it, or nothing.
pub(super) fn read(reader: &mut Reader, is_built_in: bool) -> Option<Pkcs11> {
    let before = reader.problems();
    let module = reader.path("signing.pkcs11.module");
    let label = reader.text("signing.pkcs11.token_label");
    let pin = reader.secret("signing.pkcs11.pin");
    let given = [
        ("signing.pkcs11.module", module.as_ref().map(|given| &given.origin)),
        ("signing.pkcs11.token_label", label.as_ref().map(|given| &given.origin)),
        ("signing.pkcs11.pin", pin.as_ref().map(|given| &given.origin)),
    ];
    let (first, origin) = given.iter().find_map(|(setting, origin)| Some((*setting, (*origin)?.clone())))?;
    if !is_built_in {
        let problem =
            "this countermark is built without hardware tokens: build it with --features pkcs11, or leave it out";
        reader.problem(first, &origin, problem);
        return None;
    }
    let (Some(module), Some(label), Some(pin)) = (module, label, pin) else {
        // One that is wrong by itself is told already.
        if reader.problems() == before {
            reader.problem(
                first,
                &origin,
                "a hardware token needs module, token_label and pin_file (or pin), all three",
            );
        }
        return None;
    };
    if let SecretSource::File(path) = &pin.value {
        check_private_file(reader, "signing.pkcs11.pin_file", &Placed { value: path.clone(), origin: pin.origin });
    }
    Some(Pkcs11 { module: module.value, token_label: label.value, pin: pin.value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::sources::Sources;

    fn read_of(text: &str, is_built_in: bool) -> (Option<Pkcs11>, String) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("c.toml");
        std::fs::write(&path, format!("[signing.pkcs11]\n{text}")).unwrap();
        let mut sources = Sources::default();
        sources.file(&path).unwrap();
        let mut reader = Reader::new(sources, Vec::new());
        let found = read(&mut reader, is_built_in);
        let problems: Vec<String> = reader.finish().iter().map(ToString::to_string).collect();
        (found, problems.join("\n"))
    }

    const WHOLE: &str = "module = \"/m.so\"\ntoken_label = \"t\"\npin = \"sesame\"\n";

    #[test]
    fn a_token_has_a_module_a_label_and_a_pin_that_is_shown_nowhere() {
        let (found, problems) = read_of(WHOLE, true);
        let found = found.unwrap();
        assert_eq!((found.module.to_str(), found.token_label.as_str(), problems.as_str()), (Some("/m.so"), "t", ""));
        assert!(!format!("{found:?}").contains("sesame"));
        assert_eq!(read_of("", true), (None, String::new()));
    }

    #[test]
    fn a_part_of_it_and_two_pins_and_a_pin_that_others_read_are_one_problem_each() {
        let (found, problems) = read_of("module = \"/m.so\"\npin = \"sesame\"\n", true);
        assert!(found.is_none() && problems.contains("all three") && problems.lines().count() == 1, "{problems}");
        let (found, problems) = read_of(&format!("{WHOLE}pin_file = \"/p\"\n"), true);
        assert!(found.is_none() && problems.contains("given twice") && problems.lines().count() == 1, "{problems}");
        assert!(!problems.contains("sesame"), "{problems}");
        let open = tempfile::NamedTempFile::new().unwrap();
        std::fs::set_permissions(open.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        let path = open.path().display();
        let (_, problems) = read_of(&format!("module = \"/m.so\"\ntoken_label = \"t\"\npin_file = \"{path}\"\n"), true);
        assert!(problems.contains(&format!("chmod 600 {path}")), "{problems}");
    }

    #[test]
    fn a_build_without_it_says_how_to_build_one_that_has_it() {
        let (found, problems) = read_of(WHOLE, false);
        assert!(
            found.is_none() && problems.contains("--features pkcs11") && problems.lines().count() == 1,
            "{problems}"
        );
        assert!(read_of("pin_file = \"/p\"\n", false).1.contains("--features pkcs11"));
    }
}
