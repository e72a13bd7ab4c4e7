//! The sections of the console, and which of them somebody is shown.

use super::visit::Visit;

/// A section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// What is going on.
    Overview,
    /// Accounts of machines.
    ServiceAccounts,
    /// Accounts of people.
    Users,
    /// Who may do what.
    Roles,
    /// Groups of accounts.
    Teams,
    /// What signs tokens.
    Keys,
    /// What happened.
    Audit,
    /// Processes that verify.
    Nodes,
    /// One's own account.
    Me,
}

/// A group of the menu: its heading, which may be missing, and its sections.
const MENU: [(&str, &[Section]); 4] = [
    ("", &[Section::Overview]),
    ("User Management", &[Section::ServiceAccounts, Section::Users, Section::Roles, Section::Teams]),
    ("Operations", &[Section::Keys, Section::Audit, Section::Nodes]),
    ("", &[Section::Me]),
];

impl Section {
    /// Its name.
    pub fn title(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::ServiceAccounts => "Service accounts",
            Self::Users => "Users",
            Self::Roles => "Roles",
            Self::Teams => "Teams",
            Self::Keys => "Signing keys",
            Self::Audit => "Audit",
            Self::Nodes => "Nodes",
            Self::Me => "My account",
        }
    }

    /// Where it begins.
    pub fn href(self) -> &'static str {
        match self {
            Self::Overview => "/console",
            Self::ServiceAccounts => "/console/service-accounts",
            Self::Users => "/console/users",
            Self::Roles => "/console/roles",
            Self::Teams => "/console/teams",
            Self::Keys => "/console/keys",
            Self::Audit => "/console/audit",
            Self::Nodes => "/console/nodes",
            Self::Me => "/console/me",
        }
    }

    /// What it takes to see it.
    fn permission(self) -> Option<&'static str> {
        match self {
            Self::Overview | Self::Me => None,
            Self::ServiceAccounts | Self::Users => Some("accounts:read"),
            Self::Roles | Self::Teams => Some("roles:read"),
            Self::Keys => Some("keys:read"),
            Self::Audit => Some("audit:read"),
            Self::Nodes => Some("nodes:read"),
        }
    }
}

/// A group as somebody is shown it.
pub struct Group {
    /// Its heading; empty: it has none.
    pub heading: &'static str,
    /// Its sections.
    pub sections: Vec<Section>,
}

/// The menu of this visitor: nothing that he may not see.
pub fn of(visit: &Visit) -> Vec<Group> {
    let may = |section: &Section| section.permission().is_none_or(|permission| visit.may(permission));
    MENU.iter()
        .map(|(heading, sections)| Group { heading, sections: sections.iter().copied().filter(may).collect() })
        .filter(|group| !group.sections.is_empty())
        .collect()
}
