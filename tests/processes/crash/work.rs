//! A caller that changes what is its own, notes what it was answered, and looks whether that is true.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::Dice;
use super::known::{Act, Known, Named};
use crate::client::Client;

/// What a caller knows of a change after its answer, or without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    Done,
    /// Certainly not done.
    Refused,
    Unknown,
}

/// A change that was asked for.
#[derive(Debug)]
pub struct Record {
    pub request_id: String,
    pub outcome: Outcome,
    /// Whether it was the connection to the server that broke.
    pub broken: bool,
    /// Whether it was done; found out afterwards where the answer did not tell.
    pub done: bool,
}

/// An account, a role or a team of one worker.
struct Subject {
    name: String,
    known: Known,
    /// A change that may or may not have been made.
    asked: Option<(Act, String)>,
    /// The account's tokens by their generation, as far as they were answered.
    tokens: BTreeMap<u64, String>,
    changed: bool,
}

pub struct Worker {
    number: usize,
    made: usize,
    subjects: Vec<Subject>,
}

/// So many accounts a worker has at the same time.
const ACCOUNTS: usize = 10;

impl Worker {
    pub fn new(number: usize) -> Self {
        let named = |what, name: String| Subject::new(name, Known::Named(Named { what, number: None }));
        let role = named("roles", format!("role-{number}"));
        let spare = named("roles", format!("spare-{number}"));
        Self { number, made: 0, subjects: vec![role, spare, named("teams", format!("team-{number}"))] }
    }

    /// Asks for one change after the other, until it is stopped or the server is gone.
    pub async fn work(
        mut self,
        client: Client,
        round: usize,
        mut dice: Dice,
        stop: Arc<AtomicBool>,
        acknowledged: Arc<AtomicUsize>,
    ) -> (Self, Vec<Record>) {
        let mut records = Vec::new();
        while !stop.load(Ordering::SeqCst) {
            let Some((subject, act)) = self.next(&mut dice, records.len()) else { break };
            let request_id = format!("{round}-{}-{}", self.number, records.len());
            let subject = &mut self.subjects[subject];
            let (method, rest, body) = act.request(&subject.name, &subject.known);
            let mut request = match method {
                "CREATE" => client.administer("POST", "accounts"),
                _ => client.administer(method, &format!("{}{rest}", subject.path())),
            };
            request = request.header("X-Request-Id", &request_id);
            if let Some(body) = &body {
                request = request.json(body);
            }
            subject.changed = true;
            let (outcome, broken) = match Client::send(request).await {
                Ok((200 | 201, answer)) => {
                    subject.known = act.upon(&subject.known);
                    if let Some(token) = answer["token"].as_str() {
                        let generation = answer["account"]["generation"].as_u64().unwrap();
                        subject.tokens.insert(generation, token.to_owned());
                    }
                    acknowledged.fetch_add(1, Ordering::SeqCst);
                    (Outcome::Done, false)
                }
                Ok((503, answer)) if answer["reason"] == "store_unavailable" => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    (Outcome::Refused, false)
                }
                Ok((503, answer)) if answer["reason"] == "unconfirmed" => (Outcome::Unknown, false),
                Ok((status, answer)) => panic!("{request_id} {act:?} of {:?}: {status} {answer}", subject.known),
                Err(_) => (Outcome::Unknown, true),
            };
            if outcome == Outcome::Unknown {
                subject.asked = Some((act, request_id.clone()));
            }
            records.push(Record { request_id, outcome, broken, done: outcome == Outcome::Done });
            if broken {
                break;
            }
        }
        (self, records)
    }

    /// What is changed next. `None`: all that is left is in doubt.
    fn next(&mut self, dice: &mut Dice, number: usize) -> Option<(usize, Act)> {
        let accounts = self.subjects.iter().filter(|subject| matches!(subject.known, Known::Account(Some(_)))).count();
        if accounts < ACCOUNTS && dice.below(4) == 0 {
            self.made += 1;
            let name = format!("ci-{}-{}", self.number, self.made);
            self.subjects.push(Subject::new(name, Known::Account(None)));
            return Some((self.subjects.len() - 1, Act::Create { role: "auditor".to_owned() }));
        }
        let (role, team) = (&self.subjects[0], &self.subjects[2]);
        let is_there = |subject: &Subject| {
            subject.asked.is_none() && matches!(subject.known, Known::Named(Named { number: Some(_), .. }))
        };
        let (has_role, has_team) = (is_there(role), is_there(team));
        let (role, team) = (role.name.clone(), team.name.clone());
        let able: Vec<usize> = (0..self.subjects.len()).filter(|place| self.subjects[*place].can_change()).collect();
        let place = *able.get(usize::try_from(dice.below(able.len().max(1) as u64)).unwrap())?;
        let fresh = dice.below(1_000_000_000) * 1000 + number as u64 % 1000;
        let act = match &self.subjects[place].known {
            // What accounts may have is never deleted.
            Known::Named(Named { number: Some(_), .. }) if place == 1 && dice.below(2) == 0 => Act::Remove,
            Known::Named(_) => Act::Set(fresh),
            Known::Account(None) => return None,
            Known::Account(Some(live)) => match dice.below(12) {
                0 | 1 if live.has_token => Act::Revoke,
                2 | 3 => Act::Status { active: !live.active },
                4 if has_role && live.role != role => Act::Role(role),
                4 | 5 if live.role != "auditor" => Act::Role("auditor".to_owned()),
                6 if has_team && live.teams.is_empty() => {
                    Act::Teams(BTreeMap::from([(team, if has_role { role } else { "auditor".to_owned() })]))
                }
                6 | 7 if !live.teams.is_empty() => Act::Teams(BTreeMap::new()),
                8 => Act::Delete,
                9..=11 if live.active => Act::Regenerate { overlap: dice.below(3) == 0 },
                _ => Act::Describe(fresh.to_string()),
            },
        };
        Some((place, act))
    }

    /// Everything that was changed is as it was acknowledged, or wholly as it was asked for without an answer.
    pub async fn check(&mut self, client: &Client, records: &mut [Record]) {
        for subject in self.subjects.iter_mut().filter(|subject| subject.changed) {
            subject.check(client, records).await;
            subject.changed = false;
        }
        // Those who are gone stay gone: looked at once more, and then no longer.
        self.subjects.retain(|subject| !matches!(subject.known, Known::Account(None)));
    }
}

impl Subject {
    fn new(name: String, known: Known) -> Self {
        Self { name, known, asked: None, tokens: BTreeMap::new(), changed: false }
    }

    fn path(&self) -> String {
        match &self.known {
            Known::Account(_) => format!("accounts/{}", self.name),
            Known::Named(named) => format!("{}/{}", named.what, self.name),
        }
    }

    fn can_change(&self) -> bool {
        self.asked.is_none() && self.known != Known::Account(None)
    }

    async fn check(&mut self, client: &Client, records: &mut [Record]) {
        let (status, told) = Client::send(client.administer("GET", &self.path())).await.unwrap();
        assert!(matches!(status, 200 | 404), "{status} {told}");
        let told = (status == 200).then_some(&told);
        if let Some((act, request_id)) = self.asked.take() {
            let after = act.upon(&self.known);
            assert!(!(self.known.is(told) && after.is(told)), "{act:?} of {:?} makes no difference", self.known);
            if after.is(told) {
                self.known = after;
                records.iter_mut().find(|record| record.request_id == request_id).unwrap().done = true;
            }
            assert!(self.known.is(told), "{request_id} {act:?}, unknown: {:?} became {told:?}", self.known);
        }
        assert!(self.known.is(told), "{}: {:?}, but the server says {told:?}", self.name, self.known);
        for (generation, token) in self.tokens.iter().rev().take(4) {
            let refusal = client.refusal(token).await;
            let expected = self.known.refusal(*generation);
            assert_eq!(refusal.as_deref(), expected, "{}, generation {generation}: {:?}", self.name, self.known);
        }
    }
}
