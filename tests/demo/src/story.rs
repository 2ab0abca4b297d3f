//! The steps of the demo, and their texts.

use crate::error::Result;
use crate::stage::{CONNECTION, DOMAIN, NAMESPACE, RELEASE, Stage, root};
use crate::voice::{Voice, seconds};
use crate::{dns, follow, lookaround};

/// Runs the whole demo; with `keep` it continues until Ctrl-C.
pub(crate) async fn tell(keep: bool) -> Result<()> {
    let voice = Voice::new();
    voice.say("The operator at work: a real Kubernetes API, a simulated Mailcow, real DNS queries.")?;
    voice.say("Everything runs on this machine, needs no network, and is removed at the end.")?;
    let mut stage = Stage::build(&voice).await?;
    apply(&mut stage, &voice).await?;
    dns::publish(&mut stage, &voice).await?;
    list(&stage, &voice).await?;
    lookaround::mailcow(&stage, &voice).await?;
    lookaround::secret(&stage, &voice).await?;
    voice.say(&format!("\nMemory of the operator: {:.0} MiB resident (debug build).", stage.operator_mib()?))?;
    if keep {
        invite(&stage, &voice).await?;
        tokio::signal::ctrl_c().await?;
        voice.say("")?;
    } else {
        next(&voice)?;
    }
    let took = stage.end().await?;
    voice.say(&format!("\nThe operator stopped cleanly; everything is removed after {}.", seconds(took)))?;
    Ok(())
}

async fn apply(stage: &mut Stage, voice: &Voice) -> Result<()> {
    voice.chapter(&format!("kubectl apply -n {NAMESPACE} -f examples/"))?;
    let examples = root().join("examples");
    let words = ["apply", "--server-side", "-n", NAMESPACE, "-f", &*examples.to_string_lossy()];
    let applied = stage.kubectl(&words).await?;
    voice.show(&format!("{} objects applied", applied.lines().count()))?;
    let objects = follow::until_ready(stage, voice).await?;
    voice.say(&format!("\nAll {objects} are Ready, {} after the start of the demo.", seconds(voice.elapsed())))?;
    Ok(())
}

async fn list(stage: &Stage, voice: &Voice) -> Result<()> {
    voice.chapter(&format!("kubectl get email -n {NAMESPACE}"))?;
    let listed = stage.kubectl(&["get", "email", "-n", NAMESPACE]).await?;
    voice.show(&listed)?;
    Ok(())
}

/// What to try afterwards.
fn next(voice: &Voice) -> Result<()> {
    voice.chapter("What to try next")?;
    voice.show(
        "KEEP=1 make demo    runs the demo and keeps everything until Ctrl-C, with commands to try\n\
         make test           runs all tests in the same environment\n\
         README.md           shows how to install with Helm; the first domain takes five minutes",
    )?;
    Ok(())
}

/// Commands to try while it runs.
async fn invite(stage: &Stage, voice: &Voice) -> Result<()> {
    stage.kubectl(&["config", "set-context", "--current", "--namespace", NAMESPACE]).await?;
    let resolver = stage.dns.resolver.address();
    voice.chapter("Running until Ctrl-C; in another terminal:")?;
    voice.say(&format!(
        "export KUBECONFIG={}\nexport PATH={}:$PATH\nexport MAILCOW={}\n",
        stage.kubeconfig().display(),
        ground::kubernetes().await?.display(),
        stage.mailcow.url()
    ))?;
    voice.say(&format!(
        r#"kubectl get email -o wide
kubectl describe edom example-com
dig @{} -p {} {DOMAIN} MX                                # if dig is installed

# A change that Mailcow refuses, a change that the API server refuses, and a valid change:
kubectl patch embx ada --type=merge -p '{{"spec":{{"quota":"99Gi"}}}}'
kubectl wait --for=condition=Stalled embx/ada; kubectl get embx ada -o wide
kubectl patch embx ada --type=merge -p '{{"spec":{{"localPart":"bob"}}}}'
kubectl patch embx ada --type=merge -p '{{"spec":{{"quota":"3Gi"}}}}'
kubectl wait --for=condition=Ready embx/ada

# The mailbox on Mailcow; change it by hand and let the operator correct it:
KEY=$(kubectl -n {RELEASE} get secret {CONNECTION} -o jsonpath='{{.data.apiKey}}' | base64 -d)
curl -s -H "X-API-Key: $KEY" $MAILCOW/api/v1/get/mailbox/ada@{DOMAIN}
curl -s -H "X-API-Key: $KEY" -H 'Content-Type: application/json' $MAILCOW/api/v1/edit/mailbox \
  -d '{{"items":["ada@{DOMAIN}"],"attr":{{"name":"Somebody else"}}}}'
kubectl annotate --overwrite embx ada email.askrobots.com/reconcile-requested-at="$(date)"
kubectl events --for embx/ada                                  # DriftCorrected names the field

# The default is deletionPolicy: Retain, so the mailbox stays on Mailcow:
kubectl delete embx ada"#,
        resolver.ip(),
        resolver.port()
    ))?;
    Ok(())
}
