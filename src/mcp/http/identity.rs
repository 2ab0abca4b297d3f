//! Who a bearer token is, and which users the server acts for. Components of Kubernetes and `system:masters` are never
//! impersonated, whatever a token says.

use k8s_openapi::api::authentication::v1::TokenReviewStatus;

/// Longest name of a user or a group; bytes.
const LONGEST: usize = 512;
/// Most groups of a user.
const MOST_GROUPS: usize = 256;
/// Groups that the API server gives to every user and every `ServiceAccount` by itself.
const GIVEN: [&str; 2] = ["system:authenticated", "system:serviceaccounts"];

/// A user of Kubernetes, fit for impersonation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The name.
    pub(crate) user: String,
    /// The groups beside those that the API server adds by itself.
    pub(crate) groups: Vec<String>,
}

/// Why the server does not act for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotServed {
    /// It is no valid token.
    #[error("the token is not valid: it has expired, was revoked, or is not of this cluster; get a new one")]
    Invalid,
    /// It is for others.
    #[error("the token is for another audience; get one for the audience of this server")]
    Audience,
    /// A user that is never impersonated.
    #[error("this server does not act for components of Kubernetes, nodes or system:masters; use another user")]
    System,
    /// A name that no header can carry.
    #[error("this server does not act for users or groups whose names have other than printable ASCII characters")]
    Name,
}

/// The user of a reviewed token.
///
/// # Errors
/// [`NotServed`].
pub(crate) fn identity(status: &TokenReviewStatus, audience: &str) -> Result<Identity, NotServed> {
    if status.authenticated != Some(true) || status.error.as_ref().is_some_and(|error| !error.is_empty()) {
        return Err(NotServed::Invalid);
    }
    // An API server that knows no audiences names none.
    if !status.audiences.iter().flatten().any(|found| found == audience) {
        return Err(NotServed::Audience);
    }
    let user = status.user.as_ref().ok_or(NotServed::Invalid)?;
    let name = user.username.clone().filter(|name| !name.is_empty()).ok_or(NotServed::Invalid)?;
    let groups = user.groups.clone().unwrap_or_default();
    if groups.len() > MOST_GROUPS || !is_plain(&name) || !groups.iter().all(|group| is_plain(group)) {
        return Err(NotServed::Name);
    }
    let account = service_account(&name);
    if name.starts_with("system:") && account.is_none() {
        return Err(NotServed::System);
    }
    let own = account.map(|(namespace, _)| format!("system:serviceaccounts:{namespace}"));
    let is_given = |group: &String| GIVEN.contains(&group.as_str()) || own.as_ref() == Some(group);
    let others: Vec<String> = groups.into_iter().filter(|group| !is_given(group)).collect();
    if others.iter().any(|group| group.starts_with("system:")) {
        return Err(NotServed::System);
    }
    Ok(Identity { user: name, groups: others })
}

/// The namespace and name of a `ServiceAccount`.
fn service_account(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix("system:serviceaccount:")?.split_once(':')?;
    let is_name = |text: &str| {
        let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
        !text.is_empty() && text.bytes().all(is_plain)
    };
    (is_name(namespace) && is_name(name)).then_some((namespace, name))
}

/// Whether a header carries the name unchanged.
fn is_plain(name: &str) -> bool {
    let is_printable = |b: u8| b.is_ascii_graphic() || b == b' ';
    !name.is_empty() && name.len() <= LONGEST && name.trim() == name && name.bytes().all(is_printable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::authentication::v1::UserInfo;

    const AUDIENCE: &str = "mailcow-operator-mcp";

    fn reviewed(user: &str, groups: &[&str]) -> TokenReviewStatus {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        TokenReviewStatus {
            authenticated: Some(true),
            audiences: Some(vec![AUDIENCE.to_owned()]),
            user: Some(UserInfo { username: Some(user.to_owned()), groups: Some(groups), ..UserInfo::default() }),
            ..TokenReviewStatus::default()
        }
    }

    fn judged(user: &str, groups: &[&str]) -> Result<Identity, NotServed> {
        identity(&reviewed(user, groups), AUDIENCE)
    }

    #[test]
    fn people_and_service_accounts_are_served() {
        let ada = judged("ada@example.com", &["mail-admins", "system:authenticated"]).unwrap();
        assert_eq!(ada, Identity { user: "ada@example.com".to_owned(), groups: vec!["mail-admins".to_owned()] });
        let groups = ["system:serviceaccounts", "system:serviceaccounts:team-a", "system:authenticated"];
        let agent = judged("system:serviceaccount:team-a:agent", &groups).unwrap();
        assert_eq!(agent.groups, Vec::<String>::new());
    }

    #[test]
    fn components_and_masters_are_not() {
        for (user, groups) in [
            ("admin", &["system:masters"][..]),
            ("system:admin", &[]),
            ("system:node:worker-1", &["system:nodes"]),
            ("system:kube-controller-manager", &[]),
            ("system:anonymous", &["system:unauthenticated"]),
            ("system:serviceaccount:team-a", &[]),
            ("system:serviceaccount::x", &[]),
            ("system:serviceaccount:a:b:c", &[]),
            ("system:serviceaccount:a:B", &[]),
            ("ada", &["system:serviceaccounts:kube-system"]),
            ("system:serviceaccount:team-a:agent", &["system:serviceaccounts:team-b"]),
            ("ada", &["system:bootstrappers:x"]),
        ] {
            assert_eq!(judged(user, groups), Err(NotServed::System), "{user} {groups:?}");
        }
    }

    #[test]
    fn names_that_a_header_could_change_are_not() {
        for (user, groups) in [
            ("ada\r\nImpersonate-Group: system:masters", &[][..]),
            ("ada", &["x\nImpersonate-User: root"]),
            ("ada\0", &[]),
            ("adä", &[]),
            (" ada", &[]),
            ("ada", &[""]),
            ("ada", &["system:masters "]),
            ("ada", &["\tsystem:masters"]),
        ] {
            assert_eq!(judged(user, groups), Err(NotServed::Name), "{user:?} {groups:?}");
        }
        assert_eq!(judged(&"a".repeat(513), &[]), Err(NotServed::Name));
    }

    #[test]
    fn a_token_for_others_is_refused_and_so_is_one_without_an_audience() {
        for audiences in [None, Some(vec![]), Some(vec!["https://kubernetes.default.svc".to_owned()])] {
            let status = TokenReviewStatus { audiences, ..reviewed("ada", &[]) };
            assert_eq!(identity(&status, AUDIENCE), Err(NotServed::Audience));
        }
        let expired = TokenReviewStatus { authenticated: Some(false), ..reviewed("ada", &[]) };
        assert_eq!(identity(&expired, AUDIENCE), Err(NotServed::Invalid));
        let failed = TokenReviewStatus { error: Some("token lookup failed".to_owned()), ..reviewed("ada", &[]) };
        assert_eq!(identity(&failed, AUDIENCE), Err(NotServed::Invalid));
        assert_eq!(judged("", &[]), Err(NotServed::Invalid));
    }
}
