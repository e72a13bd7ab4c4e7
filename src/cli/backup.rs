//! `backup` and `restore`: the grammar, what a restore would do in words, and the question before it is done.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::Output;
use super::answer::{Answer, Exit, Failure};
use super::confirm::yes_or_no;
use super::json::indent;
use super::serve::PlaceArgs;
use super::table::clean;
use crate::authority::backup::{Changes, Difference, Few, Into, RestorePlan};
use crate::clock::rfc3339;
use crate::config::Overrides;
use crate::server::{Restored, ServeError, ToRestore};

/// Accounts that are told by their ids.
const TOLD: usize = 20;

/// `backup`: write everything to a sealed file.
#[derive(Clone, Debug, Args)]
pub struct BackupArgs {
    /// Where that is.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Write the backup to this new file (mode 0600)
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// The audit as well, which may be large
    #[arg(long)]
    pub with_audit: bool,
}

/// `restore`: put back what a backup has.
#[derive(Clone, Debug, Args)]
pub struct RestoreArgs {
    /// Where that is.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// The backup
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// File with the former master key that the backup is sealed under
    #[arg(long, value_name = "FILE")]
    pub backup_key_file: Option<PathBuf>,
    /// Don't ask
    #[arg(long)]
    pub yes: bool,
    /// Show what would be done, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Makes a backup. Exit code 1: it is made, and accounts are not in it.
pub async fn backup(arguments: BackupArgs, output: Output) -> Result<Answer, Failure> {
    let BackupArgs { place, out, with_audit } = arguments;
    let made = crate::server::backup(&Overrides::from(place), &out, with_audit).await.map_err(failure)?;
    let taken = &made.taken;
    let exit = if taken.unreadable.is_empty() { Exit::Yes } else { Exit::No };
    if output == Output::Json {
        let told = json!({
            "file": out.display().to_string(),
            "backup": made.header.id(),
            "dataset": made.header.dataset,
            "created_at": rfc3339::text(&made.header.created_at),
            "epoch": taken.epoch,
            "master_key": made.header.master_key,
            "accounts": taken.accounts,
            "roles": taken.roles,
            "teams": taken.teams,
            "audit_entries": taken.audit_entries,
            "unreadable": taken.unreadable,
            "bytes": made.bytes,
        });
        return Ok(Answer::yes(indent(&told.to_string())?).with_exit(exit));
    }
    let audit = match (with_audit, taken.audit_entries) {
        (true, entries) => format!(", {entries} entries of the audit"),
        (false, _) => String::new(),
    };
    let text = format!(
        "Backup {} of {} at epoch {}: {} accounts, {} roles, {} teams{audit}; {} bytes in {}.\nOnly the master key {} opens it. Keep that \
         elsewhere.",
        made.header.id(),
        made.header.dataset,
        taken.epoch,
        taken.accounts,
        taken.roles,
        taken.teams,
        made.bytes,
        clean(&out.display().to_string()),
        made.header.master_key,
    );
    let answer = Answer::yes(text).with_exit(exit);
    if taken.unreadable.is_empty() {
        return Ok(answer);
    }
    let some: Vec<String> = taken.unreadable.iter().take(TOLD).map(ToString::to_string).collect();
    let count = taken.unreadable.len();
    Ok(answer.with_note(format!("{count} accounts can't be read, and are not in it: {}", some.join(" "))))
}

/// Shows what a restore would do, asks, and does it.
pub async fn restore(arguments: RestoreArgs, output: Output) -> Result<Answer, Failure> {
    let RestoreArgs { place, file, backup_key_file, yes, dry_run } = arguments;
    let what = ToRestore { file, backup_key_file, dry_run };
    let agreed = |plan: &RestorePlan| {
        if plan.is_nothing() {
            return Ok(());
        }
        // Nobody is asked whether to do what he was not shown.
        if output == Output::Table || !yes {
            eprintln!("{}\n", in_words(plan));
        }
        yes_or_no("Do it?", std::io::stdin().is_terminal(), yes)
    };
    let restored: Result<Restored, Failure> = crate::server::restore(&Overrides::from(place), &what, agreed).await;
    let Restored { plan, is_done } = restored?;
    if output == Output::Json {
        let mut told = serde_json::to_value(&plan).map_err(|error| Failure::new(error.to_string()))?;
        if let Value::Object(members) = &mut told {
            members.insert("done".to_owned(), is_done.into());
        }
        return Ok(Answer::yes(indent(&told.to_string())?));
    }
    Ok(Answer::yes(match (is_done, plan.into) {
        (false, _) if dry_run => in_words(&plan),
        (false, _) => "Nothing is missing; nothing was changed.".to_owned(),
        (true, Into::Existing) => {
            "Restored. Accounts that came back need a new token, or a new password; those that came back disabled have to be looked at \
             first."
                .to_owned()
        }
        (true, Into::Empty | Into::Interrupted) => {
            "Restored. Start `countermark serve`: every issuer raises what it knows of later before anything is served."
                .to_owned()
        }
    }))
}

fn failure(error: ServeError) -> Failure {
    Failure::new(error.to_string())
}

impl From<ServeError> for Failure {
    fn from(error: ServeError) -> Self {
        failure(error)
    }
}

fn in_words(plan: &RestorePlan) -> String {
    let mut lines = vec![format!(
        "Backup {} of {}, made {} at epoch {}.",
        plan.backup,
        clean(&plan.issuer),
        rfc3339::text(&plan.created_at),
        plan.epoch
    )];
    lines.push(match plan.into {
        Into::Empty => "The store is empty: everything is put back as it was then.".to_owned(),
        Into::Interrupted => "This backup was begun to be put back: that goes on.".to_owned(),
        Into::Existing => {
            "The store lives on: only what is missing is put back, and nothing that is there is changed.".to_owned()
        }
    });
    let Changes { put_back, names, disabled, narrowed, kept, differing, deleted, name_taken } = &plan.accounts;
    lines.push(format!("accounts  {put_back} put back ({} of them people), {kept} stay as they are", plan.people));
    if !names.is_empty() {
        lines.extend(few("come back", &Few { count: *put_back, names: names.clone() }));
    }
    let why = if plan.changes_are_known {
        "they changed since"
    } else {
        "the store does not know any more what changed since"
    };
    lines.extend(few(&format!("come back disabled, to be looked at ({why})"), disabled));
    lines.extend(few("come back as less than they were (they changed since)", narrowed));
    lines.extend(few("are others than then, and stay as they are", differing));
    lines.extend(few("were deleted, and stay so", deleted));
    lines.extend(few("can't be put back: another account has their name by now", name_taken));
    if plan.deleted > 0 {
        lines.push(format!("          {} names of deleted accounts stay taken", plan.deleted));
    }
    lines.push(match plan.into {
        Into::Existing => format!("tokens    {} of those accounts had one; it is revoked, and so are passwords", plan.tokens),
        _ => format!(
            "tokens    {} are good again; those that were issued later are unknown from now on, and accounts that were made later are \
             not there",
            plan.tokens
        ),
    });
    lines.push(named("roles     ", &plan.roles));
    lines.push(named("teams     ", &plan.teams));
    match plan.into {
        Into::Existing => lines.push("keys      those of the store stay".to_owned()),
        _ => lines.extend(
            plan.keys
                .iter()
                .map(|key| format!("key       {} {} {}", clean(&key.id), key.algorithm, key.state.as_str())),
        ),
    }
    lines.push(match (plan.audit_entries, plan.audit_put_back) {
        (entries, true) => format!("audit     {entries} entries put back"),
        (0, false) if plan.into == Into::Existing => "audit     that of the store goes on".to_owned(),
        (0, false) => "audit     none is in the backup; it begins anew".to_owned(),
        (entries, false) => {
            format!("audit     {entries} entries of the backup are left out: that of the store goes on")
        }
    });
    if plan.into != Into::Existing && !plan.issuers.is_empty() {
        lines.push(format!(
            "issuers   {} may know of later changes: nobody is served before each has been started with its data directory, or was \
             declared gone (countermark node forget NAME)",
            clean(&plan.issuers.join(", "))
        ));
    }
    lines.join("\n")
}

fn few(what: &str, Few { count, names }: &Few) -> Option<String> {
    let more = count.saturating_sub(names.len() as u64);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    (*count > 0).then(|| format!("          {count} {what}: {}{more}", clean(&names.join(" "))))
}

fn named(what: &str, difference: &Difference) -> String {
    let list = |names: &std::collections::BTreeSet<String>| {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        if names.is_empty() { "none".to_owned() } else { clean(&names.join(" ")) }
    };
    let mut text = format!("{what}put back: {}", list(&difference.put_back));
    for (which, names) in [
        ("of them grant less than then, as far as is known of changes since", &difference.narrowed),
        ("differ and stay as they are", &difference.differing),
        ("were deleted and stay so", &difference.gone),
    ] {
        if !names.is_empty() {
            text.push_str(&format!("; {which}: {}", list(names)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_accounts_a_few_are_named() {
        let told = |count: u64, names: &[&str]| {
            few("stay", &Few { count, names: names.iter().map(|name| (*name).to_owned()).collect() })
        };
        assert_eq!(told(0, &[]), None);
        assert_eq!(told(2, &["a", "b"]).unwrap().trim_start(), "2 stay: a b");
        assert_eq!(told(25, &["a", "b"]).unwrap().trim_start(), "25 stay: a b and 23 more");
    }
}
