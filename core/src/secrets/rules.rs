//! The table of secrets.
//!
//! A rule looks at a file when its place fits, or when one of its words is in the text; then its pattern decides, line by
//! line (`^` and `$` are those of a line). A rule without a pattern needs the place alone, and a file that is not empty.
//! Words are looked for in every text: they are chosen to be rare.

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Whoever has it can use it.
    Secret,
    /// It is encrypted: worth knowing of, and no reason to refuse.
    Note,
}

/// One rule.
#[derive(Debug)]
pub struct Rule {
    /// Its name.
    pub id: &'static str,
    /// What it finds, in words.
    pub what: &'static str,
    /// How bad that is.
    pub class: Class,
    /// Where it is looked for: globs over the path, from the root and without a leading slash.
    pub places: &'static [&'static str],
    /// Words that make it look into any text.
    pub words: &'static [&'static str],
    /// What it looks like.
    pub pattern: &'static str,
    /// What begins at the same byte and is none after all.
    pub unless: &'static str,
}

const fn secret(id: &'static str, what: &'static str) -> Rule {
    Rule { id, what, class: Class::Secret, places: &[], words: &[], pattern: "", unless: "" }
}

const fn note(id: &'static str, what: &'static str) -> Rule {
    Rule { class: Class::Note, ..secret(id, what) }
}

/// Encrypted forms of private keys in PEM: by the label, by a header, by the cipher of OpenSSH's own form (whose plain
/// keys say `none`).
const ENCRYPTED_KEY: &str = r"-----BEGIN (?:ENCRYPTED PRIVATE KEY-----(?:\s|\\[nr])+[A-Za-z0-9+/]{10}|(?:[A-Z0-9]+ )?PRIVATE KEY-----(?:\s|\\[nr])+Proc-Type: ?4,ENCRYPTED|OPENSSH PRIVATE KEY-----(?:\s|\\[nr])+b3BlbnNzaC1rZXktdjEAAAAAC)";

/// The rules. Their order is that of the findings of one file.
pub const RULES: &[Rule] = &[
    // Keys.
    Rule {
        words: &["PRIVATE KEY"],
        pattern: r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----(?:\s|\\[nr]|(?:Version|Comment): [^\n]*\n)+(?:[A-Za-z0-9+/]{10}|[A-Za-z0-9+/=\s]{4,200}-----END )",
        unless: ENCRYPTED_KEY,
        ..secret("private-key", "a private key")
    },
    Rule {
        words: &["PRIVATE KEY"],
        pattern: ENCRYPTED_KEY,
        ..note("private-key-encrypted", "an encrypted private key")
    },
    Rule {
        words: &["PuTTY-User-Key-File"],
        pattern: r"^PuTTY-User-Key-File-\d: [^\n]*\nEncryption: none",
        ..secret("putty-key", "a private key of PuTTY")
    },
    Rule {
        words: &["AGE-SECRET-KEY-1"],
        pattern: r"AGE-SECRET-KEY-1[A-Z0-9]{20,}",
        ..secret("age-key", "a private key of age")
    },
    Rule {
        words: &["OpenVPN Static key"],
        pattern: r"-----BEGIN OpenVPN Static key V1-----\s+[0-9a-f]{16}",
        ..secret("openvpn-key", "a static key of OpenVPN")
    },
    Rule {
        places: &["**/.gnupg/private-keys-v1.d/*.key", "**/.gnupg/secring.gpg"],
        ..secret("gnupg-key", "a private key of GnuPG")
    },
    Rule {
        places: &["etc/ssl/private/**", "etc/pki/**/private/**", "etc/letsencrypt/live/**/privkey*", "**/*.der.key"],
        // PEM is for the rules above; DER begins with a sequence.
        pattern: r"\A\x30[\x81-\x84]",
        ..secret("tls-key", "a private key in DER")
    },
    Rule {
        places: &["**/*.p12", "**/*.pfx", "**/*.jks", "**/*.kdbx", "**/*.keystore"],
        ..note("keystore", "a store of keys, most likely with a password")
    },
    Rule {
        words: &["PrivateKey", "PresharedKey"],
        pattern: r"^\s*(?:PrivateKey|PresharedKey)\s*=\s*[A-Za-z0-9+/]{42,43}=",
        ..secret("wireguard-key", "a key of WireGuard")
    },
    Rule {
        places: &["etc/cryptsetup-keys.d/*", "etc/luks/*", "**/crypto_keyfile.bin", "**/luks*.key"],
        ..secret("disk-key", "a key of encrypted disks")
    },
    // The cluster.
    Rule { places: &["**/munge*.key", "**/munge/*.key"], ..secret("munge-key", "the key of MUNGE") },
    Rule {
        places: &["**/jwt*.key", "**/slurm.key", "**/slurm.jwks", "**/slurm/*.jwks"],
        ..secret("slurm-key", "a key of Slurm")
    },
    Rule {
        words: &["StoragePass"],
        pattern: r"(?i)^\s*StoragePass\s*=\s*[^\s#]",
        ..secret("slurmdbd-password", "the password of Slurm's database")
    },
    Rule { places: &["**/*.keytab", "**/krb5.keytab*"], ..secret("keytab", "a keytab of Kerberos") },
    Rule {
        places: &["etc/corosync/authkey", "etc/pacemaker/authkey", "**/connauthfile", "etc/beegfs/*.auth"],
        ..secret("cluster-key", "a key that the members of a cluster share")
    },
    Rule {
        places: &["**/*.keyring", "etc/ceph/*"],
        pattern: r"^\s*key\s*=\s*AQ[A-Za-z0-9+/]{30,}",
        ..secret("ceph-key", "a key of Ceph")
    },
    Rule {
        places: &[
            "etc/**/*ipmi*",
            "etc/**/*bmc*",
            "etc/**/*redfish*",
            "etc/**/conman.conf",
            "etc/**/powerman.conf",
            "root/**/*ipmi*",
            "root/**/*bmc*",
            "**/.ipmi*",
        ],
        words: &["IPMI_PASS", "ipmi_pass", "BMC_PASS", "bmc_pass", "bmc-pass", "idrac_pass", "ilo_pass"],
        pattern: r#"(?i)^\s*(?:export\s+)?["']?(?:(?:ipmi|bmc|idrac|ilo|redfish)[a-z_-]*)?pass(?:word|wd)?["']?[ \t]*[=: \t][ \t]*["']?[^\s"'$<{#][^\s]"#,
        ..secret("bmc-password", "a password of a management controller")
    },
    // Accounts.
    Rule {
        words: &[
            ":$y$", ":$gy$", ":$7$", ":$6$", ":$5$", ":$1$", ":$2a$", ":$2b$", ":$2y$", ":$apr1$", ":!$", ":!!$",
            ":{SSHA}",
        ],
        pattern: r"^[^:\s#]+:!{0,2}(?:\$(?:y|gy|7|6|5|1|2[aby]|apr1)\$|\{SSHA\})[^:\s]{8}",
        ..secret("password-hash", "the hash of a password")
    },
    Rule {
        places: &["etc/shadow*", "etc/gshadow*", "**/shadow", "**/gshadow"],
        pattern: r"^[^:\s#]+:!?[./0-9A-Za-z]{13}:",
        ..secret("password-hash-des", "the hash of a password, of the oldest kind")
    },
    Rule {
        words: &["rootpw", "sshpw"],
        pattern: r"^\s*(?:rootpw|sshpw)\s+(?:[^\n]*\$(?:y|6|5|1)\$|(?:--plaintext\s+)?[^\s#$-]|[^\n]*--plaintext)",
        unless: r"\s*(?:rootpw|sshpw)\s+--lock\s*$",
        ..secret("kickstart-password", "a password in a kickstart file")
    },
    Rule {
        words: &["passwd/root-password", "passwd/user-password"],
        pattern: r"^[^\n#]*passwd/(?:root|user)-password(?:-crypted|-again)?\s+password\s+\S",
        ..secret("preseed-password", "a password in a preseed file")
    },
    Rule {
        places: &["etc/cloud/**", "**/user-data", "**/cloud-config*", "**/vendor-data"],
        words: &["#cloud-config"],
        pattern: r#"^\s*(?:-\s*)?(?:password|passwd|hashed_passwd|plain_text_passwd)\s*:\s*["']?[^\s"'#{]{3}"#,
        ..secret("cloud-init-password", "a password for cloud-init")
    },
    Rule {
        words: &["ldap_default_authtok"],
        // As in `ldap_default_authtok_type = password`, which is none.
        pattern: r"^\s*ldap_default_authtok\s*=\s*\S",
        ..secret("sssd-password", "the password of SSSD for LDAP")
    },
    Rule {
        words: &["bindpw ", "bindpw\t", "bindpw:", "bindpw=", "rootbindpw"],
        pattern: r"(?i)^\s*(?:root)?bindpw\s*[\s=:]\s*[^\s#]",
        ..secret("ldap-password", "a password for LDAP")
    },
    Rule {
        places: &["etc/ldap.secret", "etc/pam_ldap.secret", "etc/libnss-ldap.secret"],
        ..secret("ldap-secret", "a password for LDAP")
    },
    Rule {
        places: &["var/lib/samba/private/*.tdb", "etc/samba/*.tdb"],
        ..secret("samba-secrets", "the secrets of Samba")
    },
    // Networks.
    Rule {
        places: &["**/NetworkManager/system-connections/*", "**/*.nmconnection"],
        pattern: r"^(?:psk|password|wep-key\d|leap-password|private-key-password|ca-cert-password|pin|secret)=[^\s]",
        ..secret("networkmanager-secret", "a secret of a network connection")
    },
    Rule {
        places: &["**/wpa_supplicant*.conf", "**/iwd/*.psk", "etc/netplan/*", "**/hostapd*.conf"],
        pattern: r#"^\s*(?:psk|password|sae_password|wpa_passphrase|Passphrase|PreSharedKey|wep_key\d)\s*[=:]\s*["']?[^\s"'#]"#,
        ..secret("wifi-secret", "a secret of a wireless network")
    },
    Rule {
        places: &["**/ipsec.secrets", "etc/ipsec.d/*.secrets", "**/racoon/psk.txt", "**/swanctl/conf.d/*"],
        pattern: r#"^[^#\n]*(?::\s*(?:PSK|XAUTH|EAP)\s+["0-9]|\bsecret\s*=\s*\S)|^\d[0-9.:]*\s+\S"#,
        ..secret("vpn-secret", "a secret of a private network")
    },
    Rule {
        // Client, server, secret; "" and "*" are none.
        places: &["**/chap-secrets", "**/pap-secrets"],
        pattern: r#"^[^#\s]\S*[ \t]+\S+[ \t]+(?:"[^"*]|[A-Za-z0-9])"#,
        ..secret("ppp-secret", "a password of a dial-in")
    },
    Rule {
        places: &["**/rndc.key", "etc/bind/*.key", "etc/named/*.key", "etc/dhcp/*.key", "**/*.tsig"],
        pattern: r#"secret\s+"?[A-Za-z0-9+/]{16}"#,
        ..secret("dns-key", "a key of a name server")
    },
    Rule {
        places: &["**/chrony.keys", "etc/ntp.keys", "etc/ntp/keys"],
        pattern: r"^\s*\d+\s+\S{4}",
        ..secret("time-key", "a key of a time server")
    },
    Rule { places: &["**/sasl_passwd", "**/sasl_passwd.db"], ..secret("mail-password", "a password of a mail server") },
    // Containers and clouds.
    Rule {
        words: &["client-key-data"],
        pattern: r#"client-key-data["']?\s*:\s*["']?[A-Za-z0-9+/]{10}"#,
        ..secret("kubeconfig-key", "a private key in a kubeconfig")
    },
    Rule {
        places: &["**/.kube/config", "**/kubeconfig*", "**/*.kubeconfig", "etc/kubernetes/*.conf", "etc/rancher/**"],
        words: &["current-context"],
        pattern: r#"^\s*(?:-\s*)?["']?(?:token|password|id-token|refresh-token)["']?\s*:\s*["']?[^\s"'#{]{6}"#,
        ..secret("kubeconfig-token", "a token in a kubeconfig")
    },
    Rule {
        places: &[
            "**/.docker/config.json",
            "**/.dockercfg",
            "**/.dockerconfigjson",
            "**/containers/auth.json",
            "**/containers/*/auth.json",
            "var/lib/kubelet/config.json",
        ],
        words: &["\"auths\""],
        pattern: r#""(?:auth|identitytoken|registrytoken|password)"\s*:\s*"[^"]{4}"#,
        ..secret("registry-auth", "a password of a container registry")
    },
    Rule {
        words: &[".eyJ"],
        pattern: r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{10}",
        ..secret("jwt", "a signed token, such as that of a service account")
    },
    Rule {
        words: &["AKIA", "ASIA"],
        pattern: r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
        ..secret("aws-access-key", "an access key of AWS")
    },
    Rule {
        words: &["aws_secret_access_key", "AWS_SECRET_ACCESS_KEY", "SecretAccessKey"],
        pattern: r#"(?i)(?:aws_secret_access_key|SecretAccessKey)["']?\s*[=:]\s*["']?[A-Za-z0-9/+]{30}"#,
        ..secret("aws-secret-key", "a secret key of AWS")
    },
    Rule { words: &["AIza"], pattern: r"\bAIza[A-Za-z0-9_-]{30}", ..secret("google-api-key", "an API key of Google") },
    Rule {
        words: &["\"service_account\""],
        pattern: r#""type"\s*:\s*"service_account""#,
        ..secret("google-service-account", "the key of a service account of Google")
    },
    Rule {
        words: &["AccountKey="],
        pattern: r"AccountKey=[A-Za-z0-9+/]{60}",
        ..secret("azure-storage-key", "a key of Azure storage")
    },
    Rule {
        words: &["hvs.", "hvb."],
        pattern: r"\bhv[sb]\.[A-Za-z0-9_-]{12}",
        ..secret("vault-token", "a token of Vault")
    },
    Rule { places: &["**/.vault-token"], ..secret("vault-token-file", "a token of Vault") },
    Rule {
        words: &["sk-proj-", "sk-ant-", "sk_live_", "rk_live_", "dop_v1_", "hf_"],
        pattern: r"\b(?:sk-(?:proj|ant)-[A-Za-z0-9_-]{20}|[sr]k_live_[A-Za-z0-9]{20}|dop_v1_[0-9a-f]{40}|hf_[A-Za-z]{30})",
        ..secret("service-token", "a token of a web service")
    },
    // Forges and packages.
    Rule {
        words: &["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"],
        pattern: r"\b(?:gh[pousr]_[A-Za-z0-9]{30}|github_pat_[A-Za-z0-9_]{22})",
        ..secret("github-token", "a token of GitHub")
    },
    Rule {
        words: &["glpat-", "glrt-", "gldt-", "glptt-"],
        pattern: r"\bgl(?:pat|rt|dt|ptt)-[A-Za-z0-9_-]{20}",
        ..secret("gitlab-token", "a token of GitLab")
    },
    Rule {
        words: &["xoxb-", "xoxp-", "xoxa-", "xoxs-", "xoxr-", "hooks.slack.com/services/T"],
        pattern: r"\bxox[abprs]-[A-Za-z0-9-]{10}|hooks\.slack\.com/services/T[A-Z0-9]{6,}/B[A-Z0-9]{6,}/[A-Za-z0-9]{10}",
        ..secret("slack-token", "a token of Slack")
    },
    Rule {
        words: &["npm_", "_authToken="],
        pattern: r"\bnpm_[A-Za-z0-9]{30}|:_authToken=[A-Za-z0-9_-]{8}",
        ..secret("npm-token", "a token of npm")
    },
    Rule {
        words: &["pypi-"],
        pattern: r"\bpypi-(?:AgEI[A-Za-z0-9_-]{10}|[A-Za-z0-9_-]{50})",
        ..secret("pypi-token", "a token of PyPI")
    },
    Rule {
        places: &[
            "**/.condarc",
            "**/condarc",
            "**/.conda/**",
            "**/.continuum/**",
            "**/*binstar/*.token",
            "**/anaconda/*.token",
        ],
        pattern: r"/t/[A-Za-z0-9-]{10}|^\s*[\w.-]*token\s*:\s*\S{8}|\A[A-Za-z]{2}-[0-9a-f-]{20}",
        ..secret("conda-token", "a token of conda")
    },
    Rule {
        places: &[
            "**/.git-credentials",
            "**/git/credentials",
            "**/.gitconfig",
            "etc/gitconfig",
            "**/.git/config",
            "**/pip.conf",
            "**/.pip/*",
            "**/.pypirc",
            "**/.condarc",
            "**/.npmrc",
            "**/.yarnrc*",
            "etc/apt/sources.list",
            "etc/apt/sources.list.d/*",
            "etc/apt/apt.conf.d/*",
            "etc/yum.repos.d/*",
            "etc/yum.conf",
            "etc/dnf/dnf.conf",
            "etc/environment",
            "etc/profile.d/*",
            "**/.bashrc",
            "**/.wgetrc",
            "**/.curlrc",
        ],
        pattern: r#"\b[a-z][a-z0-9+]*://[^\s:@/"'$<]+:[^\s@/"'$<]+@"#,
        ..secret("url-password", "a password in an address")
    },
    Rule {
        places: &[
            "**/.pypirc",
            "etc/yum.repos.d/*",
            "etc/dnf/dnf.conf",
            "etc/yum.conf",
            "**/.s3cfg",
            "**/.boto",
            "**/rclone.conf",
            "**/.smbcredentials",
            "etc/cifs*",
            "**/.cifs*",
            "etc/samba/*cred*",
        ],
        pattern: r"^\s*(?:password|passwd|pass|proxy_password|secret_key|secret_access_key|client_secret|aws_secret_access_key)\s*[=:]\s*[^\s#]",
        ..secret("config-password", "a password in a configuration file")
    },
    // Clients.
    Rule {
        places: &["**/.netrc", "**/_netrc", "**/netrc", "etc/apt/auth.conf", "etc/apt/auth.conf.d/*"],
        pattern: r"(?:^|\s)password\s+[^\s#]",
        ..secret("netrc-password", "a password for a host")
    },
    Rule {
        places: &["**/.pgpass", "**/pgpass.conf"],
        pattern: r"^[^#\s][^:\n]*:[^:\n]*:[^:\n]*:[^:\n]*:\S",
        ..secret("pgpass-password", "a password of PostgreSQL")
    },
    Rule {
        places: &["**/.my.cnf", "**/my.cnf", "**/my.cnf.d/*", "etc/mysql/**"],
        pattern: r"^\s*password\s*=\s*[^\s#]",
        ..secret("mysql-password", "a password of MySQL")
    },
    Rule { places: &["**/.mylogin.cnf"], ..note("mysql-login", "passwords of MySQL, obfuscated") },
    Rule {
        words: &["$ANSIBLE_VAULT;"],
        pattern: r"^\s*\$ANSIBLE_VAULT;\d",
        ..note("ansible-vault", "an encrypted vault of Ansible")
    },
];
