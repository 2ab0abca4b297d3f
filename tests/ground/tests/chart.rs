//! A chart's CRDs and RBAC are installed as Helm renders them.

use std::path::Path;

use ground::{ControlPlane, Folder};

const CRD: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: jars.ground.test}
spec:
  group: ground.test
  scope: Namespaced
  names: {plural: jars, singular: jar, kind: Jar, categories: [sweets]}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
";

const TEMPLATE: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: '{{ .Release.Name }}-jars', namespace: '{{ .Release.Namespace }}'}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: '{{ .Release.Name }}-jars'}
rules: [{apiGroups: [ground.test], resources: [jars], verbs: ['{{ .Values.verb }}']}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: '{{ .Release.Name }}-jars'}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: '{{ .Release.Name }}-jars'}
subjects: [{kind: ServiceAccount, name: '{{ .Release.Name }}-jars', namespace: '{{ .Release.Namespace }}'}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: not-applied}
";

fn write_chart(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder.join("templates"))?;
    std::fs::create_dir_all(folder.join("crds"))?;
    std::fs::write(folder.join("Chart.yaml"), "apiVersion: v2\nname: jars\nversion: 0.1.0\n")?;
    std::fs::write(folder.join("crds/jars.yaml"), CRD)?;
    std::fs::write(folder.join("templates/all.yaml"), TEMPLATE)
}

#[tokio::test]
async fn the_operator_gets_exactly_the_rights_of_the_chart() {
    let plane = ControlPlane::shared().await.unwrap();
    let namespace = plane.namespace("chart").await.unwrap();
    let folder = Folder::new("chart", false).unwrap();
    write_chart(folder.path()).unwrap();

    let chart = plane.install_chart(folder.path(), &[("verb", "list")], &namespace).await.unwrap();
    assert_eq!(chart.crds, ["jars.ground.test"]);
    assert_eq!(chart.service_accounts, [format!("{namespace}-jars")]);
    assert!(chart.rendered.contains("kind: Deployment"));
    let output = plane.kubectl(&["-n", &namespace, "get", "sweets"]).await.unwrap();
    assert!(output.status.success(), "{output:?}");

    let kubeconfig = plane.service_account_kubeconfig(&namespace, &chart.service_accounts[0]).await.unwrap();
    for (verb, answer) in [("list", "yes"), ("delete", "no")] {
        let kubeconfig = format!("--kubeconfig={}", kubeconfig.display());
        let output = plane.kubectl(&[&kubeconfig, "auth", "can-i", verb, "jars.ground.test"]).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), answer, "{verb}");
    }
}

#[tokio::test]
async fn a_chart_that_does_not_render_says_why() {
    let plane = ControlPlane::shared().await.unwrap();
    let error = plane.install_chart(Path::new("/no/such/chart"), &[], "default").await.unwrap_err().to_string();
    assert!(error.contains("/no/such/chart"), "{error}");
}
