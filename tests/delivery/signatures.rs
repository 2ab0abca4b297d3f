//! The snippets of `docs/intake.md` that verify a signature, each run on what the worker sends.

use std::path::Path;
use std::process::Command;

use mailcow_operator::intake::payload::Signer;
use secrecy::SecretString;

const OLD: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3";
const NEW: &str = "whsec_bmV3IHNlY3JldCBvZiAyNCBieXRlcyEh";
const OTHER: &str = "whsec_YW5vdGhlciBzZWNyZXQgb2Ygc29tZWJvZHk=";
const BODY: &str = "{\"Subject\": \"Gr\u{fc}n\", \"Attachments\": []}\n";

/// One request, and whether it is to be taken.
struct Case {
    secret: &'static str,
    signed_with: &'static [&'static str],
    age: i64,
    body: &'static str,
    expected: bool,
}

const CASES: &[Case] = &[
    Case { secret: OLD, signed_with: &[OLD], age: 0, body: BODY, expected: true },
    Case { secret: OLD, signed_with: &[NEW, OLD], age: 60, body: BODY, expected: true },
    Case { secret: NEW, signed_with: &[NEW, OLD], age: 0, body: BODY, expected: true },
    Case { secret: OTHER, signed_with: &[NEW, OLD], age: 0, body: BODY, expected: false },
    Case { secret: OLD, signed_with: &[OLD], age: 0, body: "{}", expected: false },
    Case { secret: OLD, signed_with: &[OLD], age: 3600, body: BODY, expected: false },
    Case { secret: OLD, signed_with: &[OLD], age: -3600, body: BODY, expected: false },
];

fn snippet(language: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/intake.md");
    let page = std::fs::read_to_string(page).unwrap();
    let block = page.split(&format!("```{language}\n")).nth(1).and_then(|rest| rest.split("```").next());
    block.unwrap_or_else(|| panic!("docs/intake.md has no {language}")).to_owned()
}

/// The headers of a case, as `name\tvalue` lines.
fn headers(case: &Case) -> Vec<(String, String)> {
    let secrets: Vec<SecretString> = case.signed_with.iter().map(|secret| SecretString::from(*secret)).collect();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let then = i64::try_from(now).unwrap() - case.age;
    let signed = Signer::new(&secrets).unwrap().headers("id-1@x", then, BODY.as_bytes());
    signed.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Runs a program on every case: arguments are the secret, the body and the three headers; it writes `true` or `false`.
fn judge(language: &str, program: &str, file: &str, text: &str, command: &[&str]) {
    if Command::new(program).arg(if program == "go" { "version" } else { "--version" }).output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "install {program}");
        println!("skipped: {language} needs {program}");
        return;
    }
    let folder = std::env::temp_dir().join(format!("signatures-{}-{}", language, std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(file), text).unwrap();
    for (n, case) in CASES.iter().enumerate() {
        let headers = headers(case);
        let value = |name: &str| headers.iter().find(|(known, _)| known == name).unwrap().1.clone();
        let args = [case.secret.to_owned(), case.body.to_owned()].into_iter();
        let args = args.chain(["webhook-id", "webhook-timestamp", "webhook-signature"].map(value));
        let output = Command::new(program).args(command).args(args).current_dir(&folder).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).trim().to_lowercase();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said, case.expected.to_string(), "{language}, case {n}: {errors}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn the_python_snippet_takes_what_is_signed_and_nothing_else() {
    let main = "
import sys
secret, body, id, stamp, signature = sys.argv[1:]
print(verify(secret, {'webhook-id': id, 'webhook-timestamp': stamp, 'webhook-signature': signature}, body.encode()))
";
    judge("Python", "python3", "verify.py", &(snippet("python") + main), &["verify.py"]);
}

#[test]
fn the_javascript_snippet_takes_what_is_signed_and_nothing_else() {
    let main = "
const [secret, body, id, stamp, signature] = process.argv.slice(2);
const headers = {'webhook-id': id, 'webhook-timestamp': stamp, 'webhook-signature': signature};
console.log(verify(secret, headers, Buffer.from(body)));
";
    judge("JavaScript", "node", "verify.cjs", &(snippet("javascript") + main), &["verify.cjs"]);
}

#[test]
fn the_go_snippet_takes_what_is_signed_and_nothing_else() {
    let imports =
        ["crypto/hmac", "crypto/sha256", "encoding/base64", "fmt", "net/http", "os", "strconv", "strings", "time"];
    let imports = imports.map(|name| format!("\t\"{name}\"\n")).concat();
    let main = "
func main() {
	header := http.Header{}
	header.Set(\"webhook-id\", os.Args[3])
	header.Set(\"webhook-timestamp\", os.Args[4])
	header.Set(\"webhook-signature\", os.Args[5])
	fmt.Println(verify(os.Args[1], header, []byte(os.Args[2])))
}
";
    let text = format!("package main\n\nimport (\n{imports})\n\n{}{main}", snippet("go"));
    judge("Go", "go", "verify.go", &text, &["run", "verify.go"]);
}

#[test]
fn the_java_snippet_takes_what_is_signed_and_nothing_else() {
    let imports = "import java.nio.charset.StandardCharsets;\nimport java.security.MessageDigest;\nimport java.util.*;\n\
                   import javax.crypto.Mac;\nimport javax.crypto.spec.SecretKeySpec;\n";
    let main = "
    public static void main(String[] args) throws Exception {
        Map<String, String> headers = Map.of(
            \"webhook-id\", args[2], \"webhook-timestamp\", args[3], \"webhook-signature\", args[4]);
        System.out.println(verify(args[0], headers, args[1].getBytes(StandardCharsets.UTF_8)));
    }
";
    let text = format!("{imports}\npublic class Verify {{\n{}{main}}}\n", snippet("java"));
    judge("Java", "java", "Verify.java", &text, &["-Dfile.encoding=UTF-8", "-Dsun.jnu.encoding=UTF-8", "Verify.java"]);
}
