//! `completion` in real shells and in a real kubectl.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use ground::Folder;

use crate::world::{ADA, DOMAIN, Said, World, call};

/// Runs a script in a shell with the program on its path; `None` if the shell is not installed.
async fn shell(name: &str, arguments: &[&str], script: &str, world: &World, folder: &Path) -> Option<Said> {
    let plugin = Path::new(env!("CARGO_BIN_EXE_kubectl-email")).parent().unwrap();
    let binaries = ground::kubernetes().await.unwrap();
    let path = format!("{}:{}:{}:/usr/local/bin:/usr/bin:/bin", folder.display(), plugin.display(), binaries.display());
    let mut command = tokio::process::Command::new(name);
    command.args(arguments).arg(script).env("PATH", path).env("KUBECONFIG", world.plane.admin_kubeconfig());
    command.env("NS", &world.namespace).env("HOME", folder).env("LC_ALL", "C.UTF-8");
    match command.output().await {
        Ok(output) => Some(Said::of(output)),
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
    let said = shell("bash", &["-c"], bash, &world, folder.path()).await.unwrap();
    let lines: Vec<&str> = said.out.lines().map(str::trim).collect();
    assert_eq!(lines, ["status", "example example.com", "embx/ada"], "{said:?}");

    let fish = r"
kubectl-email completion fish | source
complete -C 'kubectl-email stat'
complete -C 'kubectl-email status -n '$NS' exam'
complete -C 'kubectl-email pause -n '$NS' embx/'
";
    if let Some(said) = shell("fish", &["-N", "-c"], fish, &world, folder.path()).await {
        let words: Vec<&str> = said.out.lines().map(|line| line.split('\t').next().unwrap()).collect();
        assert_eq!(words, ["status", "example", "example.com", "embx/ada"], "{said:?}");
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
    if let Some(said) = shell("zsh", &["-f", "-c"], zsh, &world, folder.path()).await {
        for word in ["status", "example", "example.com", "embx/ada"] {
            assert!(said.out.lines().any(|line| line == word), "{word}: {said:?}");
        }
    }

    let script = call(&["completion", "kubectl"]).await.fine().out;
    let file = folder.write("kubectl_complete-email", script).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    let said = shell(
        "bash",
        &["-c"],
        r#"kubectl __complete email status -n "$NS" exam; kubectl __complete email qu"#,
        &world,
        folder.path(),
    )
    .await
    .unwrap();
    let words: Vec<&str> = said.out.lines().map(|line| line.split('\t').next().unwrap()).collect();
    assert!(words.contains(&"example") && words.contains(&"example.com") && words.contains(&"quarantine"), "{said:?}");

    call(&["completion", "powershell"]).await.fine().says(&["Register-ArgumentCompleter"]);
    assert_eq!(call(&["completion", "tcsh"]).await.code, 2);
}

#[tokio::test]
async fn a_cluster_that_does_not_answer_completes_nothing_and_says_nothing() {
    let said = call(&["__complete", "status", ""]).await;
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{said:?}");
    assert!(said.out.lines().last().unwrap().starts_with(':'), "{}", said.out);
}
