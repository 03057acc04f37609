//! Secrets in a tree: each is named, none is published where they are forbidden, and none is forgotten.
#![allow(missing_docs)]

mod common;

use libcv::ErrorKind;
use libcv::capture::{CaptureOptions, Captured};
use libcv::convert::tar::{ExportOptions, ImportOptions, export, import};
use libcv::event::Event;
use libcv::job::{CancelToken, Task};
use libcv::secrets::{Class, Finding, Policy, RULES};
use libcv::store::Store;
use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What looks like a token, put together here so that no scanner finds one in this file.
fn token(front: &str, n: usize) -> String {
    let digits = "0a1B2c3D4e5F6g7H8i9JkLmNoPqRsTuVwXyZ";
    front.to_owned() + &digits.chars().cycle().take(n).collect::<String>()
}

fn pem(label: &str, body: &str) -> String {
    format!(
        "-----BEGIN {label}-----\n{body}\n{}\n-----END {label}-----\n",
        "MIIEpAIBAAKCAQEA0123456789abcdefghijklmn".repeat(2)
    )
}

/// A secret of each kind: the path, the rule that finds it, its line, the text.
fn planted() -> Vec<(&'static str, &'static str, u32, String)> {
    let key64 = token("", 43) + "=";
    let jwt = format!("{}.{}.{}", token("eyJ", 20), token("eyJ", 40), token("", 43));
    vec![
        ("root/.ssh/id_rsa", "private-key", 1, pem("RSA PRIVATE KEY", "")),
        (
            "root/.ssh/id_ed25519",
            "private-key",
            1,
            pem("OPENSSH PRIVATE KEY", "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ"),
        ),
        ("etc/pki/tls/private/site.key", "private-key", 1, pem("PRIVATE KEY", "")),
        ("root/.age", "age-key", 2, format!("# created\n{}\n", token("AGE-SECRET-KEY-1", 40).to_uppercase())),
        ("etc/wireguard/wg0.conf", "wireguard-key", 2, format!("[Interface]\nPrivateKey = {key64}\n")),
        ("etc/munge/munge.key", "munge-key", 0, "\0\u{1}\u{2}".repeat(40)),
        ("etc/slurm/jwt_hs256.key", "slurm-key", 0, "\u{3}\0".repeat(16)),
        ("etc/slurm/slurmdbd.conf", "slurmdbd-password", 2, "StorageUser=slurm\nStoragePass=hunter2\n".into()),
        ("etc/krb5.keytab", "keytab", 0, "\u{5}\u{2}\0\0\0\u{40}HTTP".into()),
        ("etc/freeipmi/freeipmi.conf", "bmc-password", 3, "# username admin\nusername admin\npassword calvin\n".into()),
        ("etc/shadow", "password-hash", 2, "root:*:1::::::\nu:$y$j9T$abcdefghij$klmnopqrst:1::::::\n".into()),
        ("root/anaconda-ks.cfg", "kickstart-password", 2, "lang en_US\nrootpw --iscrypted $6$salt$hash0123\n".into()),
        (
            "etc/cloud/cloud.cfg.d/99.cfg",
            "cloud-init-password",
            3,
            "#cloud-config\nusers:\n  password: hunter2\n".into(),
        ),
        ("etc/sssd/sssd.conf", "sssd-password", 3, "[domain/x]\n\nldap_default_authtok = hunter2\n".into()),
        ("etc/nslcd.conf", "ldap-password", 2, "uid nslcd\nbindpw hunter2\n".into()),
        (
            "etc/NetworkManager/system-connections/w.nmconnection",
            "networkmanager-secret",
            2,
            "[wifi-security]\npsk=hunter22\n".into(),
        ),
        (
            "root/.kube/config",
            "kubeconfig-key",
            3,
            format!("apiVersion: v1\nusers:\n- client-key-data: {}\n", token("LS0", 60)),
        ),
        (
            "srv/kube.conf",
            "kubeconfig-token",
            4,
            format!("current-context: c\nusers:\n- user:\n    token: {}\n", token("", 20)),
        ),
        ("var/run.d/token", "jwt", 1, jwt),
        (
            "root/.docker/config.json",
            "registry-auth",
            1,
            "{\"auths\": {\"r.example\": {\"auth\": \"dXNlcjpwYXNz\"}}}\n".into(),
        ),
        (
            "home/u/.aws/credentials",
            "aws-access-key",
            2,
            format!("[default]\naws_access_key_id = {}\n", token("AKIA", 16).to_uppercase()),
        ),
        ("home/u/.aws/more", "aws-secret-key", 1, format!("aws_secret_access_key = {}\n", token("", 40))),
        ("opt/app/env", "google-api-key", 1, format!("KEY={}\n", token("AIza", 35))),
        (
            "opt/app/sa.json",
            "google-service-account",
            1,
            "{\"type\": \"service_account\", \"project_id\": \"p\"}\n".into(),
        ),
        ("root/.vault", "vault-token", 1, token("hvs.", 90)),
        ("opt/app/ci.yml", "github-token", 2, format!("env:\n  T: {}\n", token("ghp_", 36))),
        ("opt/app/gl.yml", "gitlab-token", 1, format!("t: {}\n", token("glpat-", 20))),
        ("opt/app/slack", "slack-token", 1, token("xoxb-", 40)),
        ("root/.npmrc", "npm-token", 1, format!("//r.example/:_authToken={}\n", token("", 30))),
        ("root/.pypirc", "pypi-token", 2, format!("[pypi]\npassword = {}\n", token("pypi-", 120))),
        ("root/.condarc", "conda-token", 2, format!("channels:\n  - https://c.example/t/{}/x\n", token("ab-", 30))),
        ("root/.git-credentials", "url-password", 1, "https://me:hunter2@git.example\n".into()),
        ("root/.netrc", "netrc-password", 1, "machine h login me password hunter2\n".into()),
        ("root/.pgpass", "pgpass-password", 2, "# all\n*:5432:db:me:hunter2\n".into()),
        ("root/.my.cnf", "mysql-password", 2, "[client]\npassword=hunter2\n".into()),
        (
            "etc/ceph/ceph.client.admin.keyring",
            "ceph-key",
            2,
            format!("[client.admin]\n\tkey = {}==\n", token("AQ", 38)),
        ),
    ]
}

struct Bed {
    dir: tempfile::TempDir,
    store: Store,
}

impl Bed {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        common::small_tree(&dir.path().join("root"));
        let store = Store::init(dir.path().join("store")).unwrap();
        Self { dir, store }
    }

    fn planted() -> Self {
        let bed = Self::new();
        planted().iter().for_each(|(path, _, _, text)| bed.write(path, text));
        bed
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path("root").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn options(&self, forbid: bool, allow: &[&str]) -> CaptureOptions {
        let allow = allow.iter().map(|a| (*a).to_owned()).collect();
        let secrets = Policy { forbid, allow };
        CaptureOptions { state: Some(self.path("state")), secrets, ..CaptureOptions::default() }
    }

    fn try_capture(&self, forbid: bool, allow: &[&str], task: &Task) -> libcv::Result<Captured> {
        self.store.capture(self.path("root"), "base", &self.options(forbid, allow), task)
    }

    fn capture(&self) -> Captured {
        self.try_capture(false, &[], &Task::quiet()).unwrap()
    }

    fn nothing_is_published(&self) {
        assert!(self.store.images().unwrap().is_empty() && self.store.refs().names().unwrap().is_empty());
        assert!(self.store.image_ids().unwrap().is_empty());
        assert!(self.store.check(true, &Task::quiet()).unwrap().faults.is_empty());
    }
}

/// Fails unless each planted secret is among the findings, under its rule and at its line.
fn all_are_named(found: &[Finding]) {
    let kinds: BTreeSet<_> = planted().iter().map(|p| p.1).collect();
    assert!(kinds.len() >= 30, "{}", kinds.len());
    for (path, rule, line, _) in planted() {
        let path = format!("/{path}");
        let one = found.iter().find(|f| f.path == path && f.rule == rule);
        let one = one.unwrap_or_else(|| panic!("{rule} in {path} was not found: {found:#?}"));
        assert_eq!((one.line.unwrap_or(0), one.class, one.allowed), (line, Class::Secret, false), "{path}");
    }
    let expected: BTreeSet<String> = planted().iter().map(|p| format!("/{}", p.0)).collect();
    let named: BTreeSet<String> = found.iter().map(|f| f.path.clone()).collect();
    assert_eq!(named, expected, "and nothing else is");
}

#[test]
fn each_planted_secret_is_named_and_what_it_is_is_not() {
    let bed = Bed::planted();
    let task = Task::quiet();
    let done = bed.try_capture(false, &[], &task).unwrap();
    all_are_named(&done.secrets);
    assert_eq!(done.secrets_count, done.secrets.len() as u64);
    assert_eq!(
        task.warnings()
            .iter()
            .filter(|w| w.contains(" holds ") || w.contains(" is the ") || w.contains(" is a "))
            .count(),
        done.secrets.len()
    );
    let said = format!("{} {:?}", serde_json::to_string(&done).unwrap(), task.warnings());
    for part in ["hunter2", "0a1B2c3D", "0A1B2C3D", "MIIEpAIB", "dXNlcjpw", "calvin", "klmnopqr", "hash0123"] {
        assert!(planted().iter().any(|p| p.3.contains(part)) && !said.contains(part), "{part} is in what was said");
    }
    let order: Vec<_> = done.secrets.iter().map(|f| f.path.replace('/', "\0")).collect();
    assert!(order.is_sorted(), "findings are in the order of paths");
}

#[test]
fn none_is_published_where_they_are_forbidden() {
    let bed = Bed::planted();
    let e = bed.try_capture(true, &[], &Task::quiet()).unwrap_err();
    assert_eq!((e.kind(), e.facts()["secrets_count"].as_u64().unwrap() >= 36), (ErrorKind::Refused, true));
    assert!(e.message().contains("and 3") && e.hint_text().unwrap().contains("--exclude"), "{e}");
    assert!(!format!("{e:?}").contains("hunter2"));
    bed.nothing_is_published();
    // Left out, wanted, or gone: then it is published.
    let paths: Vec<String> = planted().iter().map(|p| format!("/{}", p.0)).collect();
    let (leave, want) = paths.split_at(18);
    let mut options = bed.options(true, &want.iter().map(String::as_str).collect::<Vec<_>>());
    options.exclude = leave.to_vec();
    let done = bed.store.capture(bed.path("root"), "base", &options, &Task::quiet()).unwrap();
    assert!(done.secrets.iter().all(|f| f.allowed) && done.secrets_count >= 18);
    let image = bed.store.image("base").unwrap();
    assert!(leave.iter().all(|p| image.row(&p.as_bytes()[1..]).is_err()));
    assert!(done.scrubbed.iter().any(|s| s.path == leave[0] && s.rule == format!("--exclude {}", leave[0])));
    // A pattern that is none says so before anything is read.
    assert_eq!(bed.try_capture(true, &["[z-a]"], &Task::quiet()).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn what_is_not_read_again_is_not_forgotten() {
    let bed = Bed::planted();
    let first = bed.capture();
    // Young files are read again; those of an earlier day are not.
    std::thread::sleep(std::time::Duration::from_millis(60));
    bed.write("etc/more", "more\n");
    bed.capture();
    std::thread::sleep(std::time::Duration::from_millis(60));
    bed.write("etc/more", "even more\n");
    let again = bed.capture();
    assert!(again.read < 5, "{} were read", again.read);
    assert_eq!(again.secrets, first.secrets);
    // Unchanged, and through the cache of an unchanged capture.
    for _ in 0..2 {
        let unchanged = bed.capture();
        assert_eq!((unchanged.changed, &unchanged.secrets), (false, &first.secrets));
    }
    assert_eq!(bed.try_capture(true, &[], &Task::quiet()).unwrap_err().kind(), ErrorKind::Refused);
    // One goes, one is mended, one is new; entries before them move the rows.
    std::fs::remove_file(bed.path("root/root/.netrc")).unwrap();
    bed.write("etc/sssd/sssd.conf", "[domain/x]\n");
    bed.write("a/new", "\nStoragePass=x\n");
    let changed: BTreeSet<_> = bed.capture().secrets.into_iter().map(|f| (f.path, f.rule, f.line)).collect();
    let mut expected: BTreeSet<_> = first.secrets.iter().map(|f| (f.path.clone(), f.rule, f.line)).collect();
    expected.retain(|f| f.0 != "/root/.netrc" && f.0 != "/etc/sssd/sssd.conf");
    expected.insert(("/a/new".into(), "slurmdbd-password", Some(2)));
    assert_eq!(changed, expected);
    // Without a cache everything is read, and found.
    let mut options = bed.options(false, &[]);
    options.paranoid = true;
    let all = bed.store.capture(bed.path("root"), "base", &options, &Task::quiet()).unwrap();
    assert_eq!(all.secrets.len(), expected.len());
}

#[test]
fn an_archive_is_looked_at_as_well() {
    let bed = Bed::planted();
    let captured = bed.capture();
    let mut archive = Vec::new();
    export(&bed.store.image("base").unwrap(), &mut archive, &ExportOptions::default(), &Task::quiet()).unwrap();
    let target = Store::init(bed.path("target")).unwrap();
    let with = |forbid, allow: &[&str]| {
        let allow = allow.iter().map(|a| (*a).to_owned()).collect();
        let options = ImportOptions { secrets: Policy { forbid, allow }, ..ImportOptions::default() };
        import(&target, &archive[..], "base", &options, &Task::quiet())
    };
    assert_eq!(with(true, &[]).unwrap_err().kind(), ErrorKind::Refused);
    assert!(target.refs().names().unwrap().is_empty() && target.image_ids().unwrap().is_empty());
    let done = with(false, &[]).unwrap();
    assert_eq!(done.secrets, captured.secrets);
    assert!(with(true, &["*"]).unwrap().secrets.iter().all(|f| f.allowed));
}

#[test]
fn links_count_once_and_what_is_generalised_is_no_finding() {
    let bed = Bed::new();
    let key = pem("PRIVATE KEY", "");
    bed.write("srv/one", &key);
    std::fs::hard_link(bed.path("root/srv/one"), bed.path("root/srv/two")).unwrap();
    std::os::unix::fs::symlink("one", bed.path("root/srv/link")).unwrap();
    // Left out, and emptied: they are not in the image.
    bed.write("etc/ssh/ssh_host_rsa_key", &key);
    bed.write("var/log/app.log", &key);
    let found = bed.capture().secrets;
    assert_eq!(found.iter().map(|f| f.path.as_str()).collect::<Vec<_>>(), ["/srv/one"]);
    let mut options = bed.options(false, &[]);
    options.exact = true;
    let exact = bed.store.capture(bed.path("root"), "exact", &options, &Task::quiet()).unwrap();
    assert_eq!(exact.secrets.len(), 3);
}

#[test]
fn the_report_says_which_rule_and_why() {
    let bed = Bed::new();
    let mut options = bed.options(false, &[]);
    options.exclude = vec!["*.iso".into()];
    bed.write("srv/x.iso", "x");
    bed.write("etc/munge/munge.key", "0123456789");
    let done = bed.store.capture(bed.path("root"), "base", &options, &Task::quiet()).unwrap();
    let line = |path: &str| {
        let s = done.scrubbed.iter().find(|s| s.path == path).unwrap_or_else(|| panic!("{path}: {:#?}", done.scrubbed));
        (s.action, s.rule.as_str(), s.why.as_str())
    };
    assert_eq!(line("/srv/x.iso"), ("left out", "--exclude *.iso", "as was asked for"));
    assert_eq!(line("/tmp/x"), ("left out", "/tmp/*", "temporary files"));
    assert_eq!(line("/var/log/messages"), ("emptied", "/var/log/**", "log: emptied"));
    assert_eq!(line("/etc/machine-id").0, "emptied");
    assert_eq!(line("/etc/munge/munge.key").0, "kept");
}

#[test]
fn the_report_in_a_file_is_whole() {
    let bed = Bed::new();
    for n in 0..10_050 {
        bed.write(&format!("srv/{}/{n}.o", n % 7), "");
    }
    let mut options = bed.options(false, &[]);
    options.exclude = vec!["*.o".into()];
    options.report = Some(bed.path("report"));
    let done = bed.store.capture(bed.path("root"), "base", &options, &Task::quiet()).unwrap();
    let value: serde_json::Value = serde_json::from_slice(&std::fs::read(bed.path("report")).unwrap()).unwrap();
    let all = value["scrubbed"].as_array().unwrap();
    let paths: BTreeSet<_> = all.iter().map(|s| s["path"].as_str().unwrap()).collect();
    assert_eq!((done.scrubbed.len(), all.len(), paths.len()), (10_000, done.scrubbed_count as usize, all.len()));
    assert!((0..10_050).all(|n| paths.contains(format!("/srv/{}/{n}.o", n % 7).as_str())));
    assert_eq!((&value["image"], &value["secrets_count"]), (&done.image.to_string().into(), &0.into()));
    assert!(all.iter().all(|s| s["rule"].is_string() && s["why"].is_string()));
    assert_eq!(std::fs::read_dir(bed.dir.path()).unwrap().count(), 4, "root, store, state, report");
    // A report that is shorter than the one before, and one that cannot be written.
    options.exclude = Vec::new();
    bed.store.capture(bed.path("root"), "base", &options, &Task::quiet()).unwrap();
    let value: serde_json::Value = serde_json::from_slice(&std::fs::read(bed.path("report")).unwrap()).unwrap();
    assert!(value["scrubbed"].as_array().unwrap().len() < 20);
    options.report = Some(bed.path("none/report"));
    let before = bed.store.log("base").unwrap().len();
    assert!(bed.store.capture(bed.path("root"), "base", &options, &Task::quiet()).is_err());
    assert_eq!(bed.store.log("base").unwrap().len(), before);
}

fn report(bed: &Bed) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(bed.path("report")).unwrap()).unwrap()
}

#[test]
fn the_report_of_a_refused_capture_names_what_was_found() {
    let bed = Bed::planted();
    let mut options = bed.options(true, &["/etc/munge"]);
    options.report = Some(bed.path("report"));
    let capture = |options: &CaptureOptions| bed.store.capture(bed.path("root"), "base", options, &Task::quiet());
    assert_eq!(capture(&options).unwrap_err().kind(), ErrorKind::Refused);
    bed.nothing_is_published();
    let value = report(&bed);
    let found = value["secrets"].as_array().unwrap();
    for (path, rule, line, _) in planted() {
        let one = found.iter().find(|f| f["path"] == format!("/{path}") && f["rule"] == rule);
        let one = one.unwrap_or_else(|| panic!("{rule} in {path} is not in {found:#?}"));
        assert_eq!(one["line"].as_u64().unwrap_or(0), u64::from(line));
        assert_eq!(one["allowed"], rule == "munge-key");
    }
    assert_eq!(value["secrets_count"], found.len());
    assert!(value["scrubbed"].as_array().unwrap().iter().any(|s| s["path"] == "/tmp/x"));
    for key in ["generation", "image", "tree", "changed", "entries", "stored_bytes"] {
        assert!(value[key].is_null(), "{key}");
    }
    assert!(!value.to_string().contains("hunter2"));
    // The next one says what it came to.
    options.secrets.forbid = false;
    let done = capture(&options).unwrap();
    assert_eq!(report(&bed), serde_json::to_value(&done).unwrap());
}

#[test]
fn the_report_in_a_file_has_all_secrets() {
    let bed = Bed::new();
    let text: String = planted().iter().filter(|p| p.0.starts_with("opt/app/")).map(|p| p.3.clone()).collect();
    bed.write("srv/1", &text);
    let rules = bed.capture().secrets_count as usize;
    assert!(rules >= 4, "{rules}");
    let files = 10_100 / rules + 1;
    (0..files).for_each(|n| bed.write(&format!("srv/{n}"), &text));
    let mut options = bed.options(true, &[]);
    options.report = Some(bed.path("report"));
    let e = bed.store.capture(bed.path("root"), "base", &options, &Task::quiet()).unwrap_err();
    let value = report(&bed);
    let found = value["secrets"].as_array().unwrap();
    let different: BTreeSet<String> = found.iter().map(|f| format!("{} {}", f["path"], f["rule"])).collect();
    assert_eq!((found.len(), different.len()), (files * rules, files * rules));
    assert_eq!((&value["secrets_count"], &e.facts()["secrets_count"]), (&found.len().into(), &found.len().into()));
}

#[test]
fn a_report_that_finds_no_room_is_known_before_anything_is_published() {
    let bed = Bed::new();
    let mut options = bed.options(false, &[]);
    options.report = Some("/dev/full".into());
    let e = bed.store.capture(bed.path("root"), "base", &options, &Task::quiet()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Limit);
    bed.nothing_is_published();
}

#[test]
fn a_generation_that_is_there_is_told_whatever_becomes_of_the_report() {
    let bed = Bed::new();
    let pipe = bed.path("report");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    // Somebody who reads the lists and goes before the rest comes.
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || std::fs::File::open(pipe).unwrap().read(&mut [0; 65536]).unwrap()
    });
    let reader = std::sync::Mutex::new(Some(reader));
    let listener = move |e: &Event| {
        if e.to_json()["stage"] == "publish"
            && let Some(reader) = reader.lock().unwrap().take()
        {
            reader.join().unwrap();
        }
    };
    let task = Task::new(CancelToken::default(), Some(Box::new(listener)));
    let mut options = bed.options(false, &[]);
    options.report = Some(pipe.clone());
    let done = bed.store.capture(bed.path("root"), "base", &options, &task).unwrap();
    assert_eq!(done.generation, bed.store.image("base").unwrap().release().unwrap().generation);
    assert!(done.notes.last().unwrap().starts_with("the report is not finished: "), "{:?}", done.notes);
    assert_eq!(task.warnings().last(), done.notes.last());
    // Who stays gets all of it, of a refusal as well.
    bed.write("root/.netrc", "machine h login me password hunter2\n");
    options.secrets.forbid = true;
    let reader = std::thread::spawn(move || std::fs::read(pipe).unwrap());
    assert!(bed.store.capture(bed.path("root"), "base", &options, &Task::quiet()).is_err());
    let value: serde_json::Value = serde_json::from_slice(&reader.join().unwrap()).unwrap();
    assert_eq!(value["secrets"][0]["path"], "/root/.netrc");
}

/// A real root has none, or those that were put there.
#[test]
fn a_real_root_has_no_findings() {
    let beds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/beds/make-root.sh");
    let can = common::is_root() && Path::new("/usr/bin/mmdebstrap").exists();
    let made = can.then(|| Command::new(beds).output().unwrap()).filter(|o| o.status.success());
    let Some(out) = made else {
        common::skip("a_real_root_has_no_findings", "it needs root, mmdebstrap and a Debian mirror");
        return;
    };
    let root = String::from_utf8(out.stdout).unwrap().trim_end().lines().last().unwrap().to_owned();
    let dir = tempfile::tempdir().unwrap();
    let store = Store::init(dir.path().join("store")).unwrap();
    let options = CaptureOptions { state: Some(dir.path().join("state")), level: 1, ..CaptureOptions::default() };
    let done = store.capture(&root, "real", &options, &Task::quiet()).unwrap();
    // make-root.sh gives root a password.
    let found: Vec<_> = done.secrets.iter().map(|f| (f.path.as_str(), f.rule)).collect();
    assert_eq!(found, [("/etc/shadow", "password-hash")]);
}

#[test]
fn the_document_names_each_rule() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/secrets.md")).unwrap();
    let told: Vec<&str> =
        text.lines().filter_map(|l| l.strip_prefix("| `")?.split('`').next()).filter(|r| !r.starts_with('-')).collect();
    let rules: Vec<&str> = RULES.iter().map(|r| r.id).collect();
    assert_eq!(told, rules);
    for rule in RULES {
        let line = text.lines().find(|l| l.starts_with(&format!("| `{}` ", rule.id))).unwrap();
        assert!(line.contains(rule.what), "{line}");
        assert_eq!(line.contains("| note |"), rule.class == Class::Note, "{line}");
    }
}
