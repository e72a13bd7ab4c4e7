//! What runs in a process of its own, asked for by other tests: see `SoftHsm::alone`. Run with the others it does nothing.

use std::path::PathBuf;

use countermark::config::{Pkcs11, Secret, SecretSource};
use countermark::pkcs11::HardwareToken;
use countermark::token::Algorithm;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11 as Module};
use cryptoki::object::{Attribute, AttributeType, ObjectClass};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use serde_json::{Value, json};

use super::PIN;

fn module() -> Option<PathBuf> {
    std::env::var_os("ALONE_WITH_MODULE").map(PathBuf::from)
}

fn tell(what: &Value) {
    println!("\nTOLD {what}");
}

fn logged_in(module: &Module) -> Session {
    let slots = module.get_slots_with_token().unwrap();
    let is_signing = |slot: &cryptoki::slot::Slot| module.get_token_info(*slot).unwrap().label() == "signing";
    let session = module.open_ro_session(slots.into_iter().find(is_signing).unwrap()).unwrap();
    let _ = session.login(UserType::User, Some(&AuthPin::new(PIN.into())));
    session
}

#[test]
fn a_look_into_the_token() {
    let Some(path) = module() else { return };
    let module = Module::new(path).unwrap();
    module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
    let session = logged_in(&module);
    let objects = session.find_objects(&[]).unwrap().into_iter().map(|object| {
        let has = session.get_attributes(object, &[AttributeType::Class, AttributeType::Label]).unwrap();
        let [Attribute::Class(class), Attribute::Label(label)] = has.as_slice() else { panic!("{has:?}") };
        let secrets = [AttributeType::Value, AttributeType::PrivateExponent, AttributeType::Prime1];
        // What can't be read is left out.
        let read = session.get_attributes(object, &secrets).unwrap();
        let flags = [AttributeType::Extractable, AttributeType::Sensitive, AttributeType::Token];
        json!({
            "class": if *class == ObjectClass::PRIVATE_KEY { "private" } else { "public" },
            "label": String::from_utf8_lossy(label),
            "read": read.len(),
            "why": secrets.map(|secret| format!("{:?}", session.get_attribute_info(object, &[secret]).unwrap())),
            "flags": format!("{:?}", session.get_attributes(object, &flags).unwrap()),
        })
    });
    tell(&objects.collect());
}

#[test]
fn a_session_that_dies_is_opened_again() {
    let Some(path) = module() else { return };
    let settings = Pkcs11 {
        module: path.clone(),
        token_label: "signing".into(),
        pin: SecretSource::Value(Secret::new(PIN.into())),
    };
    assert!(!format!("{settings:?}").contains(PIN));
    let token = HardwareToken::connect(&settings).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let key = runtime.block_on(token.make(Algorithm::ES256)).unwrap();
    key.set_published(true);
    let signer = token.signer(key.public().clone(), key.place());
    let signs = || key.public().verifies(b"message", &signer.sign(b"message").unwrap());
    assert!(signs());
    let other = Module::new(path).unwrap();
    // For the token all of the process is one: its sessions are logged out.
    logged_in(&other).logout().unwrap();
    assert!(signs(), "logged in again");
    other.finalize().unwrap();
    assert!(signs(), "begun anew");
    assert_eq!(signer.trouble(), None);
    tell(&json!(true));
}
