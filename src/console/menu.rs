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

    /// The one that a path is in.
    pub fn of(path: &str) -> Self {
        let begins = |section: &Self| path.strip_prefix(section.href()).is_some_and(|rest| rest.starts_with('/'));
        let all = MENU.iter().flat_map(|(_, sections)| sections.iter().copied());
        let found = all.filter(|section| *section != Self::Overview).find(begins);
        found.unwrap_or(if path.starts_with("/console/accounts/") { Self::ServiceAccounts } else { Self::Overview })
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

    /// Whether this visitor may see it.
    pub fn is_shown_to(self, visit: &Visit) -> bool {
        self.permission().is_none_or(|permission| visit.may(permission))
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
    let may = |section: &Section| section.is_shown_to(visit);
    MENU.iter()
        .map(|(heading, sections)| Group { heading, sections: sections.iter().copied().filter(may).collect() })
        .filter(|group| !group.sections.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_in_the_section_that_it_begins_with() {
        for (path, section) in [
            ("/console", Section::Overview),
            ("/console/users/ada/edit", Section::Users),
            ("/console/accounts/ada", Section::ServiceAccounts),
            ("/console/keys/a", Section::Keys),
            ("/console/keyring", Section::Overview),
        ] {
            assert_eq!(Section::of(path), section, "{path}");
        }
    }
}
