//! Who a session belongs to: the first rule that matches. Nothing is guessed.

use crate::cgroup;
use crate::sample::Process;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Rule name of a process outside containers whose user is the host's Unix user.
pub const RULE_UNIX_USER: &str = "unix_user";
/// `attributed_by` of a process whose cgroup says that it runs on the host itself.
pub const PLACED_BY_CGROUP: &str = "cgroup";

/// Where a session runs and whose it is; unknown is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribution {
    /// The person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Arc<str>>,
    /// The rule that named the person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_rule: Option<Arc<str>>,
    /// What placed the process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributed_by: Option<Arc<str>>,
    /// Why there is no user, where there is none: a label value from a small fixed set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unattributed: Option<Arc<str>>,
}

/// Attribution where nothing says whose it is, for a reason from a small fixed set.
pub fn unknown(reason: &str) -> Attribution {
    Attribution { unattributed: Some(reason.into()), ..Attribution::default() }
}

/// Attributes a process by what /proc says of it and the names of the host's users.
///
/// A containerised process has no Unix user: its uid means something in its image only.
pub fn attribute(process: &Process, users: &BTreeMap<u32, Arc<str>>) -> Attribution {
    let Some(cgroup) = &process.cgroup else {
        return unknown("process_unreadable");
    };
    if cgroup::is_containerised(cgroup) {
        return unknown("container_unknown");
    }
    let Some(uid) = process.uid else {
        return unknown("process_unreadable");
    };
    let user = users.get(&uid).cloned().unwrap_or_else(|| format!("uid:{uid}").into());
    Attribution {
        user: Some(user),
        user_rule: Some(RULE_UNIX_USER.into()),
        attributed_by: Some(PLACED_BY_CGROUP.into()),
        unattributed: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(uid: Option<u32>, cgroup: Option<&str>) -> Process {
        Process { uid, cgroup: cgroup.map(Into::into), ..Process::default() }
    }

    #[test]
    fn host_processes_have_their_unix_user_and_containers_none() {
        let users = BTreeMap::from([(1000, Arc::from("alice"))]);
        let host = attribute(&process(Some(1000), Some("0::/user.slice\n")), &users);
        assert_eq!(host.user.as_deref(), Some("alice"));
        assert_eq!(host.user_rule.as_deref(), Some("unix_user"));
        let nameless = attribute(&process(Some(77), Some("0::/user.slice\n")), &users);
        assert_eq!(nameless.user.as_deref(), Some("uid:77"));
        let pod = attribute(&process(Some(1000), Some("0::/kubepods.slice/x\n")), &users);
        assert_eq!((pod.user, pod.attributed_by), (None, None));
        assert_eq!(pod.unattributed.as_deref(), Some("container_unknown"));
        assert_eq!(attribute(&process(Some(1000), None), &users).user, None);
        assert_eq!(attribute(&process(None, Some("0::/\n")), &users).user, None);
    }
}
