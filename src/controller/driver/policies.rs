//! The policies in effect for an object.

use kube::{Resource, ResourceExt};

use crate::controller::driver::context::Context;
use crate::crd::{DeletionPolicy, EmailAlias, EmailDomain, EmailForwardingRule, EmailMailbox, Policies};
use crate::tenancy::{self, Given};

/// An object whose spec may name policies.
pub(crate) trait Governed: Resource<DynamicType = ()> {
    /// The policies in its spec.
    fn given(&self) -> Given;
}

/// Implements [`Governed`] for a kind with its own default of the deletion policy.
macro_rules! governed {
    ($($kind:ty => $of_kind:expr),+) => {$(
        impl Governed for $kind {
            fn given(&self) -> Given {
                Given {
                    deletion: self.spec.deletion_policy.map(Into::into),
                    adoption: self.spec.adoption_policy,
                    drift: self.spec.drift_policy,
                    of_kind: $of_kind,
                }
            }
        }
    )+};
}

governed!(
    EmailDomain => DeletionPolicy::Retain,
    EmailMailbox => DeletionPolicy::Retain,
    EmailAlias => DeletionPolicy::Delete,
    EmailForwardingRule => DeletionPolicy::Delete
);

/// The policies in effect for the object now.
pub(crate) fn of(ctx: &Context, object: &impl Governed) -> Policies {
    let namespace = ctx.stores.namespace(&object.namespace().unwrap_or_default());
    let annotations = namespace.as_ref().and_then(|namespace| namespace.metadata.annotations.as_ref());
    tenancy::policies(object.given(), annotations, ctx.settings.defaults.into())
}
