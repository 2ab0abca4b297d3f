//! The rights that the chart gives the worker: what it needs and nothing else.

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{ListParams, WatchParams};
use mailcow_operator::crd::{EmailDomain, EmailForwardingRule, EmailMailbox};

use super::site::Site;

#[tokio::test]
async fn the_worker_reads_its_own_secrets_and_no_other() {
    let site = Site::without_operator("rights", "[]").await;
    let made = [
        (&site.namespace, format!("{}-app-passwords-3", site.fullname)),
        (&site.namespace, "tracker-hook".to_owned()),
        (&site.namespace, "nextcloud".to_owned()),
        (&site.namespace, format!("{}-mailcow", site.fullname)),
        (&site.users, "ada-mailbox".to_owned()),
    ];
    for (namespace, name) in &made {
        // As docs/intake.md says.
        let kind = if name == "nextcloud" { "--type=kubernetes.io/basic-auth" } else { "--type=Opaque" };
        let values = ["--from-literal=username=ops", "--from-literal=password=x"];
        site.kubectl_in(namespace, &[&["create", "secret", "generic", name, kind], &values[..]].concat()).await;
    }
    let client = ground::client(&site.workers).await.unwrap();
    let secrets = |namespace: &str| Api::<Secret>::namespaced(client.clone(), namespace);
    let own = secrets(&site.namespace);
    for (namespace, name) in &made {
        let may = secrets(namespace).get(name).await.is_ok();
        let is_own = *namespace == &site.namespace && !name.ends_with("-mailcow");
        assert_eq!(may, is_own, "{namespace}/{name}");
    }
    let only = ListParams::default().fields(&format!("metadata.name={}", made[0].1));
    assert_eq!(own.list(&only).await.unwrap().items.len(), 1);
    assert!(own.watch(&WatchParams::default().fields(&format!("metadata.name={}", made[0].1)), "0").await.is_ok());
    assert!(own.list(&ListParams::default()).await.is_err(), "it may not list all");
    assert!(secrets(&site.users).list(&ListParams::default()).await.is_err());
    let all = ListParams::default();
    assert!(Api::<EmailForwardingRule>::all(client.clone()).list(&all).await.is_ok());
    assert!(Api::<EmailMailbox>::all(client.clone()).list(&all).await.is_ok());
    assert!(Api::<EmailDomain>::all(client.clone()).list(&all).await.is_err());
    for (verb, what) in [
        ("create", "secrets"),
        ("patch", "secrets"),
        ("delete", "secrets"),
        ("patch", "emailforwardingrules"),
        ("delete", "emailmailboxes"),
        ("create", "pods"),
        ("get", "configmaps"),
    ] {
        let as_worker = format!("--as=system:serviceaccount:{}:{}-intake", site.namespace, site.fullname);
        for namespace in [&site.namespace, &site.users] {
            let said = site.kubectl_in(namespace, &["auth", "can-i", verb, what, &as_worker]).await;
            assert!(said.starts_with("no"), "{verb} {what} in {namespace}: {said}");
        }
    }
}
