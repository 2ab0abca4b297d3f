//! `completion` in real shells and in a real kubectl.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use ground::Folder;

use crate::world::{ADA, DOMAIN, Finished, World, call};

/// Runs a script in a shell with the program on its path; `None` if the shell is not installed.
async fn shell(name: &str, arguments: &[&str], script: &str, world: &World, folder: &Path) -> Option<Finished> {
    let plugin = Path::new(env!("CARGO_BIN_EXE_kubectl-email")).parent().unwrap();
    let binaries = ground::kubernetes().await.unwrap();
    let path = format!("{}:{}:{}:/usr/local/bin:/usr/bin:/bin", folder.display(), plugin.display(), binaries.display());
    let mut command = tokio::process::Command::new(name);
    command.args(arguments).arg(script).env("PATH", path).env("KUBECONFIG", world.plane.admin_kubeconfig());
    command.env("NS", &world.namespace).env("HOME", folder).env("LC_ALL", "C.UTF-8");
    match command.output().await {
        Ok(output) => Some(Finished::of(output)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("skipped: {name} is not installed");
            None
        }
        Err(error) => panic!("{name}: {error}"),
    }
}

#[tokio::test]
async fn bash_zsh_fish_and_kubectl_complete_verbs_and_names() {
    let world = World::prepare("completion").await;
    world.apply(&format!("{DOMAIN}{ADA}")).await;
    let folder = Folder::new("completion", false).unwrap();
    let bash = r#"
source <(kubectl-email completion bash)
complete_words() { COMP_WORDS=("$@"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=(); $(complete -p kubectl-email | sed 's/.*-F \([^ ]*\).*/\1/') kubectl-email "${COMP_WORDS[COMP_CWORD]}" ""; echo "${COMPREPLY[@]}"; }
complete_words kubectl-email stat
complete_words kubectl-email status -n "$NS" exam
complete_words kubectl-email pause -n "$NS" embx/
"#;
    let done = shell("bash", &["-c"], bash, &world, folder.path()).await.unwrap();
    let lines: Vec<&str> = done.out.lines().map(str::trim).collect();
    assert_eq!(lines, ["status", "example example.com", "embx/ada"], "{done:?}");

    let fish = r"
kubectl-email completion fish | source
complete -C 'kubectl-email stat'
complete -C 'kubectl-email status -n '$NS' exam'
complete -C 'kubectl-email pause -n '$NS' embx/'
";
    if let Some(done) = shell("fish", &["-N", "-c"], fish, &world, folder.path()).await {
        let words: Vec<&str> = done.out.lines().map(|line| line.split('\t').next().unwrap()).collect();
        assert_eq!(words, ["status", "example", "example.com", "embx/ada"], "{done:?}");
    }

    // Only the last step, which shows the candidates, is replaced.
    let zsh = r#"
autoload -Uz compinit && compinit -u -d "$HOME/.zcompdump"
source <(kubectl-email completion zsh)
function _describe() { local name; for name in ${(P)@[-1]}; do print -r -- "${name%%:*}"; done }
function complete_words() { words=("$@"); CURRENT=$#words; ${_comps[kubectl-email]}; }
complete_words kubectl-email stat
complete_words kubectl-email status -n "$NS" exam
complete_words kubectl-email pause -n "$NS" embx/
"#;
    if let Some(done) = shell("zsh", &["-f", "-c"], zsh, &world, folder.path()).await {
        for word in ["status", "example", "example.com", "embx/ada"] {
            assert!(done.out.lines().any(|line| line == word), "{word}: {done:?}");
        }
    }

    let script = call(&["completion", "kubectl"]).await.succeeded().out;
    let file = folder.write("kubectl_complete-email", script).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    let done = shell(
        "bash",
        &["-c"],
        r#"kubectl __complete email status -n "$NS" exam; kubectl __complete email qu"#,
        &world,
        folder.path(),
    )
    .await
    .unwrap();
    let words: Vec<&str> = done.out.lines().map(|line| line.split('\t').next().unwrap()).collect();
    assert!(words.contains(&"example") && words.contains(&"example.com") && words.contains(&"quarantine"), "{done:?}");

    call(&["completion", "powershell"]).await.succeeded().shows(&["Register-ArgumentCompleter"]);
    assert_eq!(call(&["completion", "tcsh"]).await.code, 2);
}

#[tokio::test]
async fn a_cluster_that_does_not_answer_completes_nothing_and_says_nothing() {
    // It takes connections and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = Folder::new("silent", false).unwrap();
    let config = format!(
        "apiVersion: v1\nkind: Config\nclusters: [{{name: c, cluster: {{server: 'http://{}'}}}}]\n\
         users: [{{name: u, user: {{token: t}}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\ncurrent-context: c\n",
        silent.local_addr().unwrap()
    );
    let file = folder.write("config", config).unwrap().display().to_string();
    let words = ["__complete", "status", "--kubeconfig", &file, "exam"];
    let started = std::time::Instant::now();
    let done = tokio::time::timeout(std::time::Duration::from_secs(30), call(&words)).await.unwrap();
    assert_eq!((done.code, done.out.as_str(), done.err.as_str()), (0, ":0\n", ""), "{done:?}");
    assert!(started.elapsed() > std::time::Duration::from_secs(2), "it was asked: {:?}", started.elapsed());
}
