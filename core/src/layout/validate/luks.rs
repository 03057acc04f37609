//! Encrypted devices: what opens them, and what systemd is told about them.

use super::Validator;
use crate::layout::foreign;
use crate::layout::spec::Key;

/// A header of version 2 has 48 bytes for the label, the last of them zero.
const LABEL_LIMIT: usize = 47;

impl Validator<'_> {
    pub(super) fn luks(&mut self) {
        let spec = self.spec;
        for (id, luks) in &spec.luks {
            let path = format!("luks.{id}");
            let hint = "put an array or a volume group under it";
            self.one_device(format!("{path}.on"), &luks.on, "an encrypted device", hint);
            if luks.keys.is_empty() {
                let text = "without a key nobody could open it";
                self.wrong_with_hint("L140", format!("{path}.keys"), text, "write for example {secret: \"ref:NAME\"}");
            }
            for (i, key) in luks.keys.iter().enumerate() {
                if luks.keys[..i].contains(key) {
                    let what = match key {
                        Key::Secret(name) => format!("the secret {name}"),
                        Key::Tpm2 { .. } => "the TPM with the same registers".to_owned(),
                    };
                    self.wrong("L140", format!("{path}.keys"), format!("{what} stands here twice"));
                }
            }
            if let Some(bad) = luks.options.iter().find(|o| foreign::foreign_crypttab_option(o)) {
                let text = format!("\"{bad}\" is not handed on to crypttab");
                let hint = "what changes the device, its key or its format does not stand here";
                self.wrong_with_hint("L118", format!("{path}.options"), text, hint);
            }
            let Some(label) = &luks.label else { continue };
            if label.len() > LABEL_LIMIT {
                let text = format!("label \"{label}\" is {} bytes long; LUKS allows {LABEL_LIMIT}", label.len());
                self.wrong("L113", format!("{path}.label"), text);
            }
            if label.is_empty() || label.chars().any(|c| c.is_control() || c == '/' || c == '"') {
                self.wrong("L118", format!("{path}.label"), "the label has characters that are not allowed");
            }
        }
    }
}
