//! `GET /v1/stats`: connections of this node and of the cluster, in all and by tenant; of one user on demand. A key for
//! some tenants sees only those.

use std::collections::BTreeMap;

use bytes::Bytes;
use fanfare_protocol::{Tenant, Topic};
use http_body_util::Full;
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use super::refusal::Refusal;
use super::{Api, Call, parameter};
use crate::api_keys::{ApiKey, Verb};
use crate::problem;
use crate::report::Report;

impl Api {
    pub(super) async fn stats(&self, call: &Call<'_>) -> Result<Response<Full<Bytes>>, Refusal> {
        let user = user_of(call)?;
        let here = Report::of(&self.node);
        let reports = self.node.backplane.reports().await?;
        let read = reports.iter().filter_map(|report| serde_json::from_slice::<Report>(&report.report).ok());
        // This node is as it is now, not as it was when it reported last.
        let mut nodes: Vec<_> = read.filter(|report| report.node != *self.node.id).chain([here]).collect();
        nodes.sort_by(|one, other| one.node.cmp(&other.node));
        let views: Vec<_> = nodes.iter().map(|report| View::of(report, &call.key)).collect();
        let sum = View::sum(&views);
        let of_node = |(report, view): (&Report, &View)| {
            let mut shown = view.shown();
            shown["node"] = report.node.as_str().into();
            shown["version"] = report.version.as_str().into();
            shown["uptime_s"] = report.uptime_s.into();
            shown
        };
        let is_here = |report: &&Report| report.node == *self.node.id;
        let here = nodes.iter().zip(&views).find(|(report, _)| is_here(report)).map(of_node);
        let mut cluster = sum.shown();
        cluster["nodes"] = nodes.iter().zip(&views).map(of_node).collect();
        let mut body = json!({ "node": here, "cluster": cluster });
        if let Some((tenant, user)) = user {
            let ids = nodes.iter().map(|report| report.node.as_str());
            let counted = self.node.control.count(&tenant, &user, ids.collect()).await?;
            let connections: u64 = counted.values().sum();
            body["user"] = json!({
                "tenant": tenant.as_str(),
                "user": user,
                "connections": connections,
                "by_node": counted,
                "complete": nodes.iter().all(|report| counted.contains_key(&report.node)),
            });
        }
        Ok(problem::json(StatusCode::OK, &body))
    }
}

/// The user who is asked about.
fn user_of(call: &Call<'_>) -> Result<Option<(Tenant, String)>, Refusal> {
    let (tenant, user) = match (parameter(call.head, "tenant"), parameter(call.head, "user")) {
        (None, None) => return Ok(None),
        (Some(tenant), Some(user)) => (tenant, user),
        _ => return Err(Refusal::UserWithoutTenant),
    };
    let tenant = Tenant::parse(&tenant).map_err(|error| Refusal::Name(error.to_string()))?;
    if !call.key.may(Verb::Read, &tenant) {
        return Err(Refusal::Scope(Verb::Read));
    }
    Topic::user(&user).map_err(|error| Refusal::Name(format!("the user makes no topic: {error}")))?;
    Ok(Some((tenant, user.into_owned())))
}

/// What one key may see of a report.
#[derive(Default)]
struct View {
    connections: u64,
    tenants: BTreeMap<String, u64>,
    tenants_left_out: u64,
}

impl View {
    fn of(report: &Report, key: &ApiKey) -> View {
        if key.may_in_every_tenant(Verb::Read) {
            return View {
                connections: report.connections,
                tenants: report.tenants.clone(),
                tenants_left_out: report.tenants_left_out,
            };
        }
        let may = |tenant: &str| Tenant::parse(tenant).is_ok_and(|tenant| key.may(Verb::Read, &tenant));
        let seen = report.tenants.iter().filter(|(tenant, _)| may(tenant));
        let tenants: BTreeMap<_, _> = seen.map(|(tenant, count)| (tenant.clone(), *count)).collect();
        // Whether those that were left out are the key's own isn't known.
        let connections = tenants.values().fold(0, |sum: u64, count| sum.saturating_add(*count));
        View { connections, tenants, tenants_left_out: 0 }
    }

    fn sum(views: &[View]) -> View {
        let mut sum = View::default();
        for view in views {
            sum.connections = sum.connections.saturating_add(view.connections);
            sum.tenants_left_out = sum.tenants_left_out.max(view.tenants_left_out);
            for (tenant, count) in &view.tenants {
                let all = sum.tenants.entry(tenant.clone()).or_default();
                *all = all.saturating_add(*count);
            }
        }
        sum
    }

    fn shown(&self) -> Value {
        let mut shown = json!({ "connections": self.connections, "by_tenant": self.tenants });
        if self.tenants_left_out > 0 {
            shown["tenants_left_out"] = self.tenants_left_out.into();
        }
        shown
    }
}
