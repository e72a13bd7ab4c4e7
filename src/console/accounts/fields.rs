//! The fields that forms about accounts share: roles and teams to choose from, audiences, networks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use askama::Template;
use askama::filters::HtmlSafe;
use ipnet::IpNet;

use super::super::form::{Choice, Field, Form};
use super::super::parts::tame;
use super::super::visit::{Fields, Visit};
use crate::account::{Account, Audience};
use crate::authority::{Act, Authority};
use crate::http::Problem;
use crate::name::{RoleName, TeamName};
use crate::permission::{Grant, Role};
use crate::web::FieldError;

/// Of more than these, one is typed instead of chosen.
const CHOICES: usize = 100;
/// So many are suggested while typing.
const SUGGESTED: usize = 300;
/// Of more teams, or more options in all, memberships are written as lines.
const TEAMS: usize = 40;
const OPTIONS: usize = 600;

/// The roles and teams that somebody may choose from. Whoever may not read them types names.
#[derive(Default)]
pub struct Known {
    roles: Vec<Choice>,
    teams: Vec<Choice>,
    in_teams: Vec<(String, Vec<Choice>)>,
    /// Whether there are roles that he may not give to anybody.
    beyond: bool,
}

impl Known {
    /// To look for.
    pub async fn of(visit: &Visit, authority: &Authority) -> Result<Self, Problem> {
        if !visit.may("roles:read") {
            return Ok(Self::default());
        }
        let any = || vec![Choice::new("", "Any")];
        let (mut roles, mut teams) = (any(), any());
        roles.extend(authority.roles().await?.into_iter().map(|role| Choice::plain(role.name.to_string())));
        teams.extend(authority.teams().await?.into_iter().map(|team| Choice::plain(team.name.to_string())));
        Ok(Self { roles, teams, ..Self::default() })
    }

    /// To give: those that he holds himself, and those that the account has already.
    pub async fn to_give(
        visit: &Visit,
        act: &Act,
        authority: &Authority,
        account: Option<&Account>,
    ) -> Result<Self, Problem> {
        if !visit.may("roles:read") {
            return Ok(Self::default());
        }
        let held = act.actor.powers();
        let all = authority.roles().await?;
        let offered = |has: Option<&RoleName>, team: Option<&TeamName>| -> Vec<Choice> {
            let may_give = |grants: &BTreeSet<Grant>| held.lacking(grants, team).is_none();
            let roles = all.iter().filter(|role| has == Some(&role.name) || may_give(&role.permissions));
            roles.map(choice).collect()
        };
        let mut roles = offered(account.map(|account| &account.role), None);
        let beyond = roles.len() < all.len();
        roles.insert(0, Choice::new("", "Choose a role"));
        let teams = authority.teams().await?;
        let mut in_teams = Vec::new();
        if teams.len() <= TEAMS && teams.len().saturating_mul(all.len()) <= OPTIONS {
            for team in &teams {
                let mut choices = vec![Choice::new("", "Not a member")];
                choices.extend(offered(account.and_then(|account| account.teams.get(&team.name)), Some(&team.name)));
                in_teams.push((team.name.to_string(), choices));
            }
        }
        let teams = teams.into_iter().map(|team| Choice::plain(team.name.to_string())).collect();
        Ok(Self { roles, teams, in_teams, beyond })
    }

    /// A role.
    pub fn role<'a>(&'a self, form: &'a Form, name: &'a str, label: &'a str) -> Field<'a> {
        one_of(form, name, label, &self.roles, "known-roles")
    }

    /// A team.
    pub fn team<'a>(&'a self, form: &'a Form, name: &'a str, label: &'a str) -> Field<'a> {
        one_of(form, name, label, &self.teams, "known-teams")
    }

    /// What is suggested where names are typed.
    pub fn suggestions(&self) -> Suggestions<'_> {
        Suggestions { roles: typed(&self.roles), teams: typed(&self.teams) }
    }

    /// A role in each team.
    pub fn memberships<'a>(&'a self, form: &'a Form) -> Memberships<'a> {
        Memberships {
            names: self
                .in_teams
                .iter()
                .map(|(team, choices)| (format!("teams.{team}"), team.as_str(), choices.as_slice()))
                .collect(),
            form,
        }
    }

    /// What is said of roles that are not offered.
    pub fn hint(&self) -> &'static str {
        if self.beyond {
            "What it may do by default. Roles that grant more than you hold are not offered."
        } else {
            "What it may do by default."
        }
    }
}

fn choice(role: &Role) -> Choice {
    let name = role.name.to_string();
    let about = role.description.as_str().lines().next().unwrap_or_default();
    let label = if about.is_empty() { name.clone() } else { format!("{name}: {}", tame(about, 60)) };
    Choice::new(name, label)
}

fn one_of<'a>(form: &'a Form, name: &'a str, label: &'a str, choices: &'a [Choice], list: &'a str) -> Field<'a> {
    if choices.is_empty() || choices.len() > CHOICES {
        form.text(name, label).suggestions(list)
    } else {
        form.select(name, label, choices)
    }
}

fn typed(choices: &[Choice]) -> &[Choice] {
    if choices.len() > CHOICES { choices.get(..choices.len().min(SUGGESTED)).unwrap_or_default() } else { &[] }
}

/// Names that are suggested while typing.
#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<datalist id="known-roles">{% for choice in roles.iter() %}<option value="{{ choice.value }}"></option>{% endfor %}</datalist><datalist id="known-teams">{% for choice in teams.iter() %}<option value="{{ choice.value }}"></option>{% endfor %}</datalist>"#
)]
pub struct Suggestions<'a> {
    roles: &'a [Choice],
    teams: &'a [Choice],
}

impl HtmlSafe for Suggestions<'_> {}

/// A role in each team: chosen, or written as lines where there are many.
#[derive(Template)]
#[template(path = "console/accounts/memberships.html")]
pub struct Memberships<'a> {
    names: Vec<(String, &'a str, &'a [Choice])>,
    form: &'a Form,
}

impl HtmlSafe for Memberships<'_> {}

/// What a form says of what an account may do.
pub struct Rights {
    /// The default role.
    pub role: Option<RoleName>,
    /// Team to role in that team.
    pub teams: BTreeMap<TeamName, RoleName>,
    /// Audiences of its tokens.
    pub audiences: Vec<Audience>,
    /// Networks that it may be used from.
    pub allowed_networks: Vec<IpNet>,
}

impl Rights {
    /// Reads it, and says what is wrong with it.
    pub fn read(fields: &Fields, errors: &mut Vec<FieldError>) -> Self {
        let role = if fields.text("role").is_empty() {
            errors.push(FieldError { field: "role".into(), message: "choose a role".into() });
            None
        } else {
            fields.read("role", errors)
        };
        Self {
            role,
            teams: memberships(fields, errors),
            audiences: lines(fields, "audiences", errors, |line| {
                line.parse().map_err(|error: crate::name::Invalid| error.to_string())
            }),
            allowed_networks: lines(fields, "allowed_networks", errors, network),
        }
    }
}

fn network(line: &str) -> Result<IpNet, String> {
    line.parse().or_else(|_| line.parse::<IpAddr>().map(IpNet::from)).map_err(|_| {
        let shown: String = line.chars().take(64).collect();
        format!("{shown} is neither an address, like 192.0.2.1, nor a network, like 10.0.0.0/8 or 2001:db8::/32")
    })
}

fn lines<T>(
    fields: &Fields,
    name: &str,
    errors: &mut Vec<FieldError>,
    read: impl Fn(&str) -> Result<T, String>,
) -> Vec<T> {
    let mut values = Vec::new();
    for line in fields.lines(name) {
        match read(line) {
            Ok(value) => values.push(value),
            Err(message) => {
                errors.push(FieldError { field: name.to_owned(), message });
                break;
            }
        }
    }
    values
}

fn memberships(fields: &Fields, errors: &mut Vec<FieldError>) -> BTreeMap<TeamName, RoleName> {
    let mut teams = BTreeMap::new();
    let chosen = fields.with_prefix("teams.").filter(|(_, role)| !role.is_empty());
    let chosen = chosen.map(|(team, role)| (format!("teams.{team}"), team, role));
    let written = fields.lines("teams");
    let written = written.iter().map(|line| {
        let (team, role) = line.split_once('=').unwrap_or((line, ""));
        ("teams".to_owned(), team.trim(), role.trim())
    });
    for (field, team, role) in chosen.chain(written) {
        let shown = |text: &str| text.chars().take(64).collect::<String>();
        let message = match (team.parse::<TeamName>(), role.parse::<RoleName>()) {
            (Ok(name), Ok(role)) => match teams.insert(name, role) {
                None => continue,
                Some(_) => format!("the team {team} is named twice"),
            },
            (Err(_), _) => format!("{} is not the name of a team", shown(team)),
            (_, Err(_)) => {
                format!("a team and a role in it are written ops=deployer, and not {}={}", shown(team), shown(role))
            }
        };
        errors.push(FieldError { field, message });
    }
    teams
}
