//! Who a session belongs to: organisation > team > key > agent.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest name of a tenant, in characters.
pub const LONGEST_TENANT_NAME: usize = 64;

/// A name that cannot be one of a tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MalformedTenantName;

impl fmt::Display for MalformedTenantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a name has 1 to {LONGEST_TENANT_NAME} of the characters a-z, A-Z, 0-9, '-', '_' and '.'")
    }
}

impl std::error::Error for MalformedTenantName {}

macro_rules! tenant_name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// 1 to [`LONGEST_TENANT_NAME`] ASCII letters, digits, `-`, `_` and `.`, so that it can stand in a path, a query
        /// or a table as it is.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Accepts a name.
            ///
            /// # Errors
            /// [`MalformedTenantName`] if it is empty, too long or has other characters.
            pub fn new(name: &str) -> Result<Self, MalformedTenantName> {
                if is_tenant_name(name) { Ok(Self(name.into())) } else { Err(MalformedTenantName) }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        /// `default`: what a first installation has one of.
        impl Default for $name {
            fn default() -> Self {
                Self("default".into())
            }
        }

        impl TryFrom<String> for $name {
            type Error = MalformedTenantName;

            fn try_from(name: String) -> Result<Self, MalformedTenantName> {
                Self::new(&name)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

tenant_name!(
    /// A customer of whoever runs the gateway; the root of its own tree. Unique in an installation.
    OrganisationId
);
tenant_name!(
    /// A part of an organisation. Unique in its organisation.
    TeamId
);
tenant_name!(
    /// The name of an API key, never the key. Unique in its team.
    KeyId
);
tenant_name!(
    /// An agent a key speaks through. Unique under its key.
    AgentId
);

fn is_tenant_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=LONGEST_TENANT_NAME).contains(&name.len()) && name.bytes().all(is_allowed)
}

/// The place of a session in the tree. What is spent there counts at each of its levels.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TenantPath {
    /// The organisation.
    pub organisation: OrganisationId,
    /// Its team.
    pub team: TeamId,
    /// The team's key.
    pub key: KeyId,
    /// The agent the key spoke through, if it named one.
    pub agent: Option<AgentId>,
}

/// `organisation/team/key` or `organisation/team/key/agent`.
impl fmt::Display for TenantPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.organisation, self.team, self.key)?;
        match &self.agent {
            Some(agent) => write!(f, "/{agent}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for TenantPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_stand_anywhere_as_it_is() {
        for name in ["a", "Front-Desk_2.eu", &"n".repeat(64)] {
            assert_eq!(OrganisationId::new(name).unwrap().as_str(), name);
        }
        for name in ["", "a/b", "a b", "ä", "a\n", &"n".repeat(65)] {
            assert_eq!(TeamId::new(name), Err(MalformedTenantName), "{name:?}");
        }
        assert!(serde_json::from_str::<KeyId>("\"a'b\"").is_err());
    }

    #[test]
    fn a_path_reads_from_the_root_down() {
        let path = TenantPath {
            organisation: OrganisationId::new("acme").unwrap(),
            team: TeamId::new("support").unwrap(),
            key: KeyId::new("web").unwrap(),
            agent: None,
        };
        assert_eq!(path.to_string(), "acme/support/web");
        let agent = Some(AgentId::new("billing").unwrap());
        assert_eq!(TenantPath { agent, ..path }.to_string(), "acme/support/web/billing");
    }
}
