//! What a tenant has that its actor's crash must not touch.

use std::collections::HashSet;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::account::Account;
use super::answers::Answers;
use super::cooling::Cooling;
use super::hedging::Hedging;
use super::learning::Learning;
use super::pins::Pins;
use super::policy::Policy;
use super::shadow::Shadow;
use crate::identity::{ProviderId, TenantId};

/// A tenant's belongings, owned outside its actor.
pub struct Estate {
    /// Whose.
    pub tenant: TenantId,
    /// What it may do.
    pub policy: ArcSwap<Policy>,
    /// Providers that it can reach: by its own key, or by the operator's where it may use that.
    pub reachable: ArcSwap<HashSet<ProviderId>>,
    /// What it has spent and holds.
    pub account: Arc<Account>,
    /// Its cached answers and flights.
    pub answers: Answers,
    /// Waits imposed on its keys.
    pub cooling: Cooling,
    /// The models of its conversations.
    pub pins: Pins,
    /// What its requests have taught of models.
    pub learning: Learning,
    /// How its second policy compares.
    pub shadow: Arc<Shadow>,
    /// What its hedges may cost.
    pub hedging: Arc<Hedging>,
}
