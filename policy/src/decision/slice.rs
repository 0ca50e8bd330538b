//! Policies sorted by act, tenant and resource, so that a decision looks only at those that can matter.
//!
//! The time of a decision grows with the number of policies it looks at. A policy whose scope names another act, another
//! tenant or one other resource can never be satisfied; leaving it out changes no answer.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use cedar_policy::EntityUid;
use voxgate_protocol::tenant::TenantPath;

use super::condition::Conditions;
use super::load::Checked;
use super::{Act, Obligations};

/// What is known of a policy besides its text.
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) name: Arc<str>,
    pub(super) forbids: bool,
    pub(super) obligations: Obligations,
}

/// A policy among others.
#[derive(Debug)]
pub(super) struct Member {
    /// The places of its conditions.
    pub(super) conditions: Box<[usize]>,
    pub(super) terms: Arc<Terms>,
}

/// The policies of one act and one tenant, for one resource or for many.
#[derive(Debug, Default)]
pub(super) struct Slice {
    pub(super) conditions: Conditions,
    pub(super) members: Vec<Member>,
}

/// The policies of one act and one tenant.
#[derive(Debug, Default)]
struct Tenancy {
    /// Those that are not for one resource alone.
    general: Slice,
    by_resource: HashMap<EntityUid, Slice>,
}

/// Every slice. The tenant is empty for policies that are for all.
#[derive(Debug, Default)]
pub(super) struct Slices {
    by_act: BTreeMap<Act, BTreeMap<Box<str>, Tenancy>>,
}

impl Slices {
    pub(super) fn new(policies: Vec<Checked>) -> Self {
        let mut slices = Self::default();
        for Checked { name, forbids, obligations, acts, tenant, resource, conditions, .. } in policies {
            let terms = Arc::new(Terms { name, forbids, obligations });
            let tenant = tenant.unwrap_or_default();
            for act in acts {
                let tenancy = slices.by_act.entry(act).or_default().entry(tenant.clone()).or_default();
                let slice = match &resource {
                    Some(resource) => tenancy.by_resource.entry(resource.clone()).or_default(),
                    None => &mut tenancy.general,
                };
                let places = conditions.iter().map(|condition| slice.conditions.place(condition)).collect();
                slice.members.push(Member { conditions: places, terms: Arc::clone(&terms) });
            }
        }
        slices
    }

    /// The slices that can matter to this tenant and resource: those for all tenants, for its organisation, for its team.
    pub(super) fn of(
        &self,
        act: Act,
        tenancy: &TenantPath,
        resource: &EntityUid,
    ) -> impl Iterator<Item = &Slice> {
        let team = format!("{}/{}", tenancy.organisation, tenancy.team);
        let slices = self.by_act.get(&act);
        let places = ["", tenancy.organisation.as_str(), &team];
        let tenancies = places.map(|place| slices.and_then(|slices| slices.get(place)));
        let slices = tenancies.into_iter().flatten();
        slices
            .flat_map(|tenancy| [Some(&tenancy.general), tenancy.by_resource.get(resource)])
            .flatten()
            .filter(|slice| !slice.members.is_empty())
    }
}
