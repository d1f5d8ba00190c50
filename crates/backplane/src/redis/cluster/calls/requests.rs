//! Requests in a cluster: a tenant's stream lives on the primary of its slot, and goes with the slot.

use fanfare_protocol::Tenant;

use super::{Failure, Shared, Way, slot_of};
use crate::backplane::PublishError;
use crate::history::ReadError;
use crate::redis::requests;
use crate::request::{EntryId, Request};

impl Shared {
    pub(in crate::redis::cluster) async fn request(&self, request: &Request<'_>) -> Result<EntryId, PublishError> {
        let prefix = &self.config.prefix;
        let slot = slot_of(&prefix.requests(request.tenant));
        match self.call(slot, &requests::append(prefix, request), Way::Publishing).await {
            Err(Failure::Broken) => Err(PublishError::Timeout),
            Err(failure) => Err(failure.into()),
            Ok(answer) => requests::entry(&answer),
        }
    }

    pub(in crate::redis::cluster) async fn is_taken(&self, tenant: &Tenant, entry: EntryId) -> Result<bool, ReadError> {
        let prefix = &self.config.prefix;
        let slot = slot_of(&prefix.requests(tenant));
        match self.call(slot, &requests::groups(prefix, tenant), Way::Publishing).await {
            Err(Failure::Refused(words)) if requests::is_no_stream(&words) => Ok(false),
            Err(failure) => Err(failure.into()),
            Ok(answer) => requests::is_taken(answer, entry),
        }
    }
}
