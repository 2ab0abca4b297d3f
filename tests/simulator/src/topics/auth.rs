//! Where a mailbox's password is checked: by Mailcow itself or by an identity provider.

use crate::json::{Json, obj};
use crate::state::{MAILCOW, Mailbox, State};

/// The source a request asks for, when it is one: Mailcow itself, or the provider that is configured.
pub(crate) fn requested(state: &State, attr: &Json) -> Option<String> {
    let wanted = attr.get("authsource").to_text();
    let configured = state.identity_provider.get("authsource");
    let is_provider = ["keycloak", "generic-oidc", "ldap"].contains(&wanted.as_str());
    (wanted == MAILCOW || is_provider && configured == Some(&wanted)).then_some(wanted)
}

/// Takes away what does not go with a source: such passwords are not ours to have changed, and a second
/// factor is not asked for where the provider does.
pub(crate) fn restrict(mailbox: &mut Mailbox) {
    if mailbox.authsource != MAILCOW {
        mailbox.attributes.switch("force_pw_update", 0);
    }
    if mailbox.authsource == "generic-oidc" {
        mailbox.attributes.switch("force_tfa", 0);
    }
}

/// `get/identity-provider`, the password it binds with included.
pub(crate) fn get_provider(state: &State) -> Json {
    let mut settings = obj! {};
    for (key, value) in &state.identity_provider {
        let value = match key.as_str() {
            "redirect_url_extra" | "mappers" | "templates" => Json::parse(value).unwrap_or_default(),
            "use_ssl" | "use_tls" | "login_provisioning" | "ignore_ssl_errors" => {
                Json::Bool(Json::from(value).truthy())
            }
            _ => Json::from(value),
        };
        settings.set(key, value);
    }
    let mut otherwise = |key: &str, value: Json| {
        if !settings.is_set(key) {
            settings.set(key, value);
        }
    };
    otherwise("login_provisioning", Json::Int(1));
    match state.identity_provider.get("authsource").map(String::as_str) {
        Some("generic-oidc") => otherwise("client_scopes", Json::from("openid profile email mailcow_template")),
        Some("ldap") => {
            for key in ["use_ssl", "use_tls", "ignore_ssl_errors"] {
                otherwise(key, Json::Bool(false));
            }
        }
        _ => {}
    }
    settings
}
