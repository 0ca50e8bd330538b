//! How much of the tree somebody administers.

use voxgate_policy::directory::{Caller, Role};
use voxgate_protocol::tenant::{OrganisationId, TeamId, TenantPath};

/// The part of the tree a caller administers. What is outside does not exist for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Everything: owners and auditors of the organisation `default`, which runs the gateway.
    Installation,
    /// One organisation: its owners and auditors.
    Organisation(OrganisationId),
    /// One team of an organisation: everybody else.
    Team(OrganisationId, TeamId),
}

impl Reach {
    /// The reach of a caller.
    #[must_use]
    pub fn of(caller: &Caller) -> Self {
        let TenantPath { organisation, team, .. } = &caller.tenancy;
        match caller.role {
            Role::Owner | Role::Auditor if *organisation == OrganisationId::default() => Self::Installation,
            Role::Owner | Role::Auditor => Self::Organisation(organisation.clone()),
            Role::Operator | Role::Member => Self::Team(organisation.clone(), team.clone()),
        }
    }

    /// Whether a team is inside.
    #[must_use]
    pub fn covers(&self, organisation: &OrganisationId, team: &TeamId) -> bool {
        match self {
            Self::Installation => true,
            Self::Organisation(own) => own == organisation,
            Self::Team(own, own_team) => own == organisation && own_team == team,
        }
    }

    /// Whether the whole of an organisation is inside.
    #[must_use]
    pub fn covers_organisation(&self, organisation: &OrganisationId) -> bool {
        match self {
            Self::Installation => true,
            Self::Organisation(own) => own == organisation,
            Self::Team(..) => false,
        }
    }

    /// Whether a place in the tree is inside.
    #[must_use]
    pub fn covers_path(&self, path: &TenantPath) -> bool {
        self.covers(&path.organisation, &path.team)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(role: Role, organisation: &str, team: &str) -> Caller {
        let tenancy = TenantPath {
            organisation: OrganisationId::new(organisation).unwrap(),
            team: TeamId::new(team).unwrap(),
            ..TenantPath::default()
        };
        Caller { tenancy, role, ..Caller::default() }
    }

    fn sees(role: Role, from: (&str, &str), to: (&str, &str)) -> bool {
        let to = caller(Role::Member, to.0, to.1).tenancy;
        Reach::of(&caller(role, from.0, from.1)).covers_path(&to)
    }

    #[test]
    fn owners_and_auditors_reach_their_organisation_others_their_team() {
        for role in [Role::Owner, Role::Auditor] {
            assert!(sees(role, ("acme", "red"), ("acme", "blue")), "{role:?}");
            assert!(!sees(role, ("acme", "red"), ("other", "red")), "{role:?}");
        }
        for role in [Role::Operator, Role::Member] {
            assert!(sees(role, ("acme", "red"), ("acme", "red")), "{role:?}");
            assert!(!sees(role, ("acme", "red"), ("acme", "blue")), "{role:?}");
            assert!(!sees(role, ("acme", "red"), ("other", "red")), "a team of the same name, {role:?}");
        }
    }

    #[test]
    fn the_organisation_that_runs_the_gateway_reaches_everything_but_through_its_owners_and_auditors_only() {
        assert!(sees(Role::Owner, ("default", "default"), ("acme", "red")));
        assert!(sees(Role::Auditor, ("default", "any"), ("acme", "red")));
        assert!(!sees(Role::Operator, ("default", "default"), ("acme", "red")));
        assert!(!sees(Role::Operator, ("default", "default"), ("default", "blue")));
    }
}
