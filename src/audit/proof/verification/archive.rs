//! The check of an archive, before that of an export or alone.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{Context, SHA256};

use super::super::chains::place;
use super::super::report::Report;
use super::{Acts, Verification};
use crate::audit::checkpoint::Checkpoint;
use crate::store::{ACTS, comes_before};

impl Verification {
    /// The lines that follow are those of a segment of an archive, of a file with this name: before those of an export, in the order of
    /// their numbers.
    pub fn begin_segment(&mut self, file: &str) {
        self.end_segment();
        self.digest = Context::new(&SHA256);
        self.segments.open(file);
        self.report.file = Some(file.to_owned());
        self.report.segments += 1;
    }

    /// Something that whoever reads what comes of it should know.
    pub fn note(&mut self, what: String) {
        self.report.notes.push(what);
    }

    pub(super) fn end_segment(&mut self) {
        self.end_block();
        self.end_act();
        let (wrong, stream) = self.segments.close();
        self.report.file = None;
        self.report.all_wrong(wrong);
        let Some(stream) = stream else { return };
        let last = self.segments.reached(&stream).to_owned();
        if stream == ACTS {
            let (later, missed): (BTreeMap<_, _>, BTreeMap<_, _>) =
                std::mem::take(&mut self.acts.signed).into_iter().partition(|(entry, _)| comes_before(&last, entry));
            self.acts.signed = later;
            for entry in missed.into_keys() {
                self.report.wrong(format!(
                    "{}: it was signed and is missing, or acts before it were changed",
                    place(ACTS, &entry)
                ));
            }
            self.acts.archived = Some((last, self.acts.hash.clone()));
        } else {
            let missing = self.chains.end_segment(&stream, &last);
            self.report.all_wrong(missing);
        }
    }

    /// All segments are read: the lines that follow, if any, are those of an export, and what is there in both is compared.
    pub fn end_archive(&mut self) {
        if self.segments.has_ended() {
            return;
        }
        self.end_segment();
        let missing = self.chains.end_archive(self.segments.reached(ACTS));
        self.report.all_wrong(missing);
        let missing = self.segments.end();
        self.report.all_wrong(missing);
        self.entries.clear();
        self.digest = Context::new(&SHA256);
        let archived = self.acts.archived.take();
        self.acts = Acts { archived, ..Acts::default() };
    }

    /// What came of an archive alone.
    pub(super) fn of_archive(mut self) -> Report {
        let wrong = self.chains.not_linked();
        self.report.all_wrong(wrong);
        match self.segments.last.take() {
            Some(last) => {
                self.are_lost(&last.lost);
                self.report.proven_until = Some(last.time);
            }
            None => self.report.wrong("there is no checkpoint: nothing of it is proven".to_owned()),
        }
        self.report
    }

    /// The checkpoint at the beginning of a segment.
    pub(super) fn prove_segment(&mut self, place: &str, checkpoint: &Checkpoint) {
        let Some(stream) = self.segments.stream().map(str::to_owned) else {
            return self.report.wrong(format!("{place}: it stands before the beginning"));
        };
        if self.segments.dataset.as_ref() != Some(&checkpoint.dataset) {
            self.report.wrong(format!("{place}: it is of the dataset {}", checkpoint.dataset));
        }
        self.segments.take(checkpoint);
        let begins = self.segments.begins();
        if stream != ACTS {
            let wrong = self.chains.sign_segment(&stream, checkpoint, begins);
            return self.report.all_wrong(wrong.into_iter().map(|what| format!("{place}: {what}")));
        }
        let head = checkpoint.acts.clone();
        if begins {
            self.acts.hash.clone_from(&head.before);
            self.chains.begin_acts(checkpoint);
        }
        if !comes_before(&head.last, self.segments.reached(ACTS)) {
            self.acts.signed.insert(head.last.clone(), head.hash.clone());
        }
        self.acts.base = Some((String::new(), head));
    }
}
