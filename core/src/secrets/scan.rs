//! Looking at one file while it is read.

use super::matcher::{each, matcher};
use super::rules::RULES;
use memchr::memchr;

/// Largest file whose content is looked at: configuration and keys are small, and the rest would cost time.
pub const CONTENT_LIMIT: u64 = 1 << 20;
/// Where a NUL byte says that a file is no text.
const TEXT_FRONT: usize = 1024;

/// A secret in a file, as long as the path is known from elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hit {
    /// Number of the rule in the table.
    pub rule: u16,
    /// Line, from 1; 0 when the place of the file says it all.
    pub line: u32,
}

/// Looks at one file after the other; the memory is kept.
#[derive(Default)]
pub struct Scan {
    size: u64,
    gathered: Vec<u8>,
    hits: Vec<Hit>,
}

impl Scan {
    /// A file of this size begins.
    pub fn begin(&mut self, size: u64) {
        self.size = size;
        self.gathered.clear();
        self.hits.clear();
    }

    /// The next bytes of the file; holes are left out. One that comes whole is looked at where it is.
    pub fn add(&mut self, path: &[u8], bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if bytes.len() as u64 == self.size && self.size <= CONTENT_LIMIT {
            self.look(path, bytes);
        } else if self.size <= CONTENT_LIMIT {
            self.gathered.extend_from_slice(bytes);
        }
    }

    /// The file ends: what is in it, each rule once.
    pub fn end(&mut self, path: &[u8]) -> &[Hit] {
        if !self.gathered.is_empty() {
            let bytes = std::mem::take(&mut self.gathered);
            self.look(path, &bytes);
            self.gathered = bytes;
        } else if self.size > CONTENT_LIMIT && !is_example(path) {
            let places = each(matcher().placed(path)).filter(|&n| RULES[n].pattern.is_empty());
            self.hits.extend(places.map(|n| Hit { rule: n as u16, line: 0 }));
        }
        &self.hits
    }

    fn look(&mut self, path: &[u8], bytes: &[u8]) {
        if is_example(path) {
            return;
        }
        let m = matcher();
        let is_text = memchr(0, &bytes[..bytes.len().min(TEXT_FRONT)]).is_none();
        let rules = m.placed(path) | if is_text { m.worded(bytes) } else { 0 };
        let found = each(rules).filter_map(|n| Some(Hit { rule: n as u16, line: m.line(n, bytes)? }));
        self.hits.extend(found);
    }
}

/// Whether a file comes from a package and is documentation, source or a test: keys in there are examples.
fn is_example(path: &[u8]) -> bool {
    const FRONTS: [&[u8]; 7] = [
        b"usr/share/doc/",
        b"usr/share/man/",
        b"usr/share/info/",
        b"usr/share/locale/",
        b"usr/share/licenses/",
        b"usr/include/",
        b"usr/src/",
    ];
    if FRONTS.iter().any(|f| path.starts_with(f)) {
        return true;
    }
    // Libraries of languages bring their tests along, wherever they are installed.
    let mut library = false;
    path.split(|&b| b == b'/').any(|part| match part {
        b"test" | b"tests" | b"testing" | b"testdata" | b"test_data" | b"fixtures" | b"examples" => library,
        b"site-packages" | b"dist-packages" | b"node_modules" | b"gems" | b"perl5" | b"registry" | b"mod" => {
            library = true;
            false
        }
        part if part.starts_with(b"python") || part.starts_with(b"ruby") => {
            library = true;
            false
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(path: &str, bytes: &[u8]) -> Vec<(&'static str, u32)> {
        let mut scan = Scan::default();
        scan.begin(bytes.len() as u64);
        scan.add(path.as_bytes(), bytes);
        scan.end(path.as_bytes()).iter().map(|h| (RULES[h.rule as usize].id, h.line)).collect()
    }

    const PLAIN: &str = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEAx\n-----END RSA PRIVATE KEY-----\n";

    #[test]
    fn keys_are_told_from_encrypted_ones_and_from_talk_about_keys() {
        let openssh = |front: &str| format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{front}AAAAAAAAAA\n");
        assert_eq!(ids("root/k", PLAIN.as_bytes()), [("private-key", 1)]);
        assert_eq!(ids("a", openssh("b3BlbnNzaC1rZXktdjEAAAAABG5vbmU").as_bytes()), [("private-key", 1)]);
        let encrypted = [("private-key-encrypted", 1)];
        assert_eq!(ids("a", openssh("b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHI").as_bytes()), encrypted);
        assert_eq!(ids("a", PLAIN.replace("RSA", "ENCRYPTED").as_bytes()), encrypted);
        assert_eq!(ids("a", PLAIN.replace("\nMII", "\nProc-Type: 4,ENCRYPTED\n\nMII").as_bytes()), encrypted);
        let both = format!("{}{PLAIN}", PLAIN.replace("RSA", "ENCRYPTED"));
        assert_eq!(ids("a", both.as_bytes()), [("private-key", 4), ("private-key-encrypted", 1)]);
        assert_eq!(
            ids("a.json", format!("{{\"k\": \"{}\"}}", PLAIN.replace('\n', "\\n")).as_bytes()),
            [("private-key", 1)]
        );
        assert_eq!(ids("a.yaml", format!("k: |\n  {}", PLAIN.replace('\n', "\n  ")).as_bytes()), [("private-key", 2)]);
        for talk in ["if text.startswith('-----BEGIN RSA PRIVATE KEY-----'):", "-----BEGIN PRIVATE KEY-----\n...\n"] {
            assert_eq!(ids("a", talk.as_bytes()), []);
        }
        assert_eq!(ids("a", PLAIN.replace("RSA PRIVATE KEY", "CERTIFICATE").as_bytes()), []);
    }

    #[test]
    fn hashes_are_found_and_locked_accounts_are_not() {
        let shadow = "root:*:19000:0:99999:7:::\nbin:!!:19000::::::\nu:!:1::::::\nv::1::::::\n";
        assert_eq!(ids("etc/shadow", shadow.as_bytes()), []);
        for hash in
            ["$y$j9T$abcdefgh$xyz", "$6$salt$abcdefgh", "!$6$salt$abcdefgh", "$2b$12$abcdefghij", "$1$salt$abcdefgh"]
        {
            let text = format!("{shadow}me:{hash}:19000:0:99999:7:::\n");
            assert_eq!(ids("etc/shadow", text.as_bytes()), [("password-hash", 5)], "{hash}");
            assert_eq!(ids("root/backup", text.as_bytes()), [("password-hash", 5)], "{hash}");
        }
        assert_eq!(ids("etc/gshadow", b"adm:ab01234567./A::x\n"), [("password-hash-des", 1)]);
        assert_eq!(ids("etc/group", b"adm:x:4:\n"), []);
    }

    #[test]
    fn large_and_binary_files_are_looked_at_by_their_place_alone() {
        let mut binary = vec![0u8; 2000];
        binary.extend_from_slice(PLAIN.as_bytes());
        assert_eq!(ids("opt/x", &binary), []);
        assert_eq!(ids("etc/munge/munge.key", &binary), [("munge-key", 0)]);
        let mut large = PLAIN.as_bytes().to_vec();
        large.resize(CONTENT_LIMIT as usize + 1, b'\n');
        assert_eq!(ids("opt/x", &large), []);
        assert_eq!(ids("etc/munge/munge.key", &large), [("munge-key", 0)]);
        assert_eq!(ids("etc/munge/munge.key", b""), []);
    }

    #[test]
    fn a_file_in_pieces_is_one_file() {
        let text = format!("{}{PLAIN}", "x\n".repeat(200_000));
        let mut scan = Scan::default();
        for _ in 0..2 {
            scan.begin(text.len() as u64);
            for piece in text.as_bytes().chunks(text.len() - 20) {
                scan.add(b"a", piece);
            }
            assert_eq!(scan.end(b"a"), [Hit { rule: 0, line: 200_001 }]);
        }
        scan.begin(1);
        scan.add(b"b", b"x");
        assert_eq!(scan.end(b"b"), []);
    }

    #[test]
    fn what_packages_bring_is_no_finding() {
        for (path, text) in [
            ("etc/ppp/pap-secrets", "# comment\n*\thostname\t\"\"\t*\nguest hostname \"*\" -\n"),
            ("etc/ipsec.secrets", "# RSA key\ninclude /var/lib/strongswan/ipsec.secrets.inc\n: RSA host.pem\n"),
            ("etc/swanctl/conf.d/x.conf", "connections {\n  local_addrs = 10.0.0.1\n}\n"),
            ("etc/cloud/cloud.cfg", "# password: secret\nsystem_info:\n  default_user:\n    lock_passwd: True\n"),
            ("etc/sssd/sssd.conf", "#ldap_default_authtok = x\nldap_default_authtok_type = password\n"),
            ("etc/freeipmi/ipmi.conf", "# password mypassword\n# username myusername\n"),
            (
                "usr/lib/python3/dist-packages/x/ipmi.py",
                "def f(password):\n    pass\n    password = password or None\n",
            ),
            ("etc/nslcd.conf", "#bindpw secret\nbinddn cn=x\n"),
            ("etc/chrony/chrony.keys", "# 1 SHA1 HEX:00\n"),
            ("etc/yum.repos.d/a.repo", "[a]\nbaseurl=https://mirror.example/a@b/\n#password=x\n"),
            ("etc/apt/sources.list", "deb https://mirror.example.org/debian bookworm main\n"),
            ("etc/slurm/slurmdbd.conf", "#StoragePass=password\n"),
            ("root/ks.cfg", "# rootpw x\nrootpw --lock\n"),
            ("root/.kube/config", "current-context: c\nusers:\n- user:\n    tokenFile: /run/t\n"),
        ] {
            assert_eq!(ids(path, text.as_bytes()), [], "{path}");
        }
        assert_eq!(ids("etc/ppp/chap-secrets", b"me * hunter2 *\n"), [("ppp-secret", 1)]);
        assert_eq!(ids("etc/ipsec.secrets", b"\n10.0.0.1 : PSK \"x\"\n"), [("vpn-secret", 2)]);
        assert_eq!(
            ids("opt/k", b"-----BEGIN EC PRIVATE KEY-----\nfake\n-----END EC PRIVATE KEY-----\n"),
            [("private-key", 1)]
        );
    }

    #[test]
    fn examples_of_packages_are_no_secrets() {
        for path in [
            "usr/share/doc/openssl/key.pem",
            "usr/lib/python3/dist-packages/twisted/test/server.pem",
            "usr/lib/python3.11/test/keycert.pem",
            "opt/conda/lib/python3.12/site-packages/tornado/test/test.key",
            "root/go/pkg/mod/x/testdata/key.pem",
        ] {
            assert_eq!(ids(path, PLAIN.as_bytes()), [], "{path}");
        }
        for path in ["root/test/key.pem", "srv/examples/k", "usr/share/app/key.pem", "usr/local/share/doc/key.pem"] {
            assert_eq!(ids(path, PLAIN.as_bytes()), [("private-key", 1)], "{path}");
        }
    }
}
