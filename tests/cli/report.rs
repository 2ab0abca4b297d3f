//! `report`: an archive with everything but secrets.

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::world::{ADA, DOMAIN, LIMIT, World, call};

#[tokio::test]
async fn the_archive_has_what_a_maintainer_needs_and_no_secret() {
    let world = World::new("report").await;
    world.apply(&format!("{DOMAIN}{ADA}")).await;
    world.ready("embx/ada").await;
    let alias = "apiVersion: email.askrobots.com/v1alpha1\nkind: EmailAlias\nmetadata: {name: sales}\nspec: {localPart: sales, domainRef: {name: example}, gotoMailboxRefs: [{name: nobody}]}";
    world.apply(alias).await;
    ground::wait_until(LIMIT, "an event", async || {
        let events = world.kubectl(&["get", "events.events.k8s.io"]).await;
        if events.contains("emailalias/sales") { Ok(()) } else { Err(events) }
    })
    .await
    .unwrap();
    let password = world.kubectl(&["get", "secret", "ada-mailbox", "-o", "jsonpath={.data.password}"]).await;
    let password = String::from_utf8(STANDARD.decode(password).unwrap()).unwrap();
    // Somebody wrote secrets where they don't belong.
    let leak = format!("email.example/note={password} {}", world.mailcow.api_key());
    world.kubectl(&["annotate", "embx", "ada", &leak]).await;
    let file = world.folder().join("report.tar.gz");
    let done = world.email(&["report", "-o", &file.display().to_string()]).await;
    assert_eq!((done.code, done.out.trim()), (0, &*file.display().to_string()), "{done:?}");
    let unpacked = world.folder().join("unpacked");
    std::fs::create_dir(&unpacked).unwrap();
    let tar = Command::new("tar").arg("-xzf").arg(&file).arg("-C").arg(&unpacked).status().unwrap();
    assert!(tar.success());
    let read = |name: &str| std::fs::read_to_string(unpacked.join("kubectl-email-report").join(name)).unwrap();
    assert!(
        read("emailmailboxes.yaml").contains("ada@example.com") && read("emailmailboxes.yaml").contains("REDACTED")
    );
    assert!(read("versions.json").contains("kubectl-email"));
    let deployment = read(&format!("operator/{}/mailcow-operator/deployment.yaml", world.namespace));
    assert!(deployment.contains("--mailcow-secret=mailcow-operator-mailcow"), "{deployment}");
    assert!(read("events.yaml").contains("MailboxNotFound"));
    let grep = |text: &str| Command::new("grep").args(["-rqF", text]).arg(&unpacked).status().unwrap().success();
    for secret in [&*password, world.mailcow.api_key()] {
        assert!(!grep(secret) && !grep(&STANDARD.encode(secret)), "a secret is in the report");
    }
    assert!(grep("ada@example.com"));
}

#[tokio::test]
async fn who_may_not_read_everything_gets_the_rest_and_a_list_of_what_is_missing() {
    let world = World::prepare("viewer").await;
    world.apply(&format!("{DOMAIN}apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: viewer}}")).await;
    let subject = format!("--serviceaccount={}:viewer", world.namespace);
    world
        .kubectl(&["create", "role", "viewer", "--verb=get,list", "--resource=emaildomains.email.askrobots.com"])
        .await;
    world.kubectl(&["create", "rolebinding", "viewer", "--role=viewer", &subject]).await;
    let viewer =
        world.plane.service_account_kubeconfig(&world.namespace, "viewer").await.unwrap().display().to_string();
    let file = world.folder().join("report.tar.gz").display().to_string();
    let done = call(&["report", "-o", &file, "--kubeconfig", &viewer]).await;
    assert_eq!(done.code, 0, "{done:?}");
    done.shows(&["not in the report: no right to list emailmailboxes", "Secrets may not be read"]);
    assert!(std::fs::metadata(&file).unwrap().len() > 0);
    let done = call(&["report", "-o", "/nowhere/report.tar.gz", "--kubeconfig", &viewer]).await;
    assert_eq!(done.code, 1);
}
