//! Which device a name means: the first field of fstab, the second of crypttab, `root=` of the command line.

use super::{Node, Observed};
use crate::layout::plan::mapper_path;

impl Observed {
    /// The device that a name means, in any of the forms of fstab; none when it is not one of these disks.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<Node> {
        let tag = |text: &str| {
            let (tag, value) = text.split_once('=')?;
            let value = value.trim_matches(['"', '\'']);
            match tag {
                "UUID" => self.by_uuid(value),
                "LABEL" => self.by_label(value),
                "PARTUUID" => self.partition_where(|p| p.uuid.to_string().eq_ignore_ascii_case(value)),
                "PARTLABEL" => self.partition_where(|p| p.name == value),
                _ => None,
            }
        };
        let Some(path) = name.strip_prefix("/dev/") else { return tag(name) };
        if let Some((kind, value)) = path.strip_prefix("disk/by-").and_then(|rest| rest.split_once('/')) {
            return tag(&format!("{}={value}", kind.to_uppercase()));
        }
        self.by_path(path)
    }

    fn by_uuid(&self, value: &str) -> Option<Node> {
        let fs = self.filesystems.iter().find(|f| f.uuid.as_deref().is_some_and(|u| u.eq_ignore_ascii_case(value)));
        let crypt = || self.crypts.iter().find(|c| c.header.uuid.eq_ignore_ascii_case(value)).map(|c| c.on);
        fs.map(|f| f.on).or_else(crypt)
    }

    fn by_label(&self, value: &str) -> Option<Node> {
        self.filesystems.iter().find(|f| f.label.as_deref() == Some(value)).map(|f| f.on)
    }

    fn partition_where(&self, fits: impl Fn(&super::Partition) -> bool) -> Option<Node> {
        self.partitions().find(|(_, p)| fits(p)).map(|(node, _)| node)
    }

    /// Behind `/dev/`.
    fn by_path(&self, path: &str) -> Option<Node> {
        let array = |name: &str| self.arrays.iter().position(|a| a.short_name() == name).map(Node::Array);
        match path.split_once('/') {
            Some(("md", name)) => array(name),
            Some(("mapper", _)) => {
                let volume = self.volumes().find(|(g, v, _)| mapper_path(g, v).strip_prefix("/dev/") == Some(path));
                volume.map(|(_, _, node)| node).or_else(|| self.opened(path.strip_prefix("mapper/")?))
            }
            Some((group, volume)) => self.volumes().find(|(g, v, _)| (*g, *v) == (group, volume)).map(|(_, _, n)| n),
            None => self.by_kernel_name(path),
        }
    }

    fn volumes(&self) -> impl Iterator<Item = (&str, &str, Node)> {
        self.groups.iter().enumerate().flat_map(|(group, g)| {
            let node = move |volume| Node::Volume { group, volume };
            g.volumes.iter().enumerate().map(move |(i, v)| (g.name.as_str(), v.name.as_str(), node(i)))
        })
    }

    /// The open side of this name: as it is open now, or as crypttab will call it.
    fn opened(&self, name: &str) -> Option<Node> {
        let now = |c: &super::Crypt| c.open.as_ref().is_some_and(|o| o.mapped.as_deref() == Some(name));
        let later = || {
            let line = self.system.iter().flat_map(|s| &s.crypttab).find(|l| l.name == name)?;
            let on = self.named(&line.what)?;
            self.crypts.iter().position(|c| c.on == on)
        };
        self.crypts.iter().position(now).or_else(later).map(Node::Crypt)
    }

    /// A name of this boot, such as `sda1`, `nvme0n1p2`, `md127` or `dm-0`.
    fn by_kernel_name(&self, name: &str) -> Option<Node> {
        let running = |r: &Option<super::Running>| r.as_ref().is_some_and(|r| r.kernel == name);
        if let Some(i) = self.arrays.iter().position(|a| running(&a.running)) {
            return Some(Node::Array(i));
        }
        if let Some(i) = self.crypts.iter().position(|c| running(&c.open)) {
            return Some(Node::Crypt(i));
        }
        let volume = |(group, g): (usize, &super::Group)| {
            Some(Node::Volume { group, volume: g.volumes.iter().position(|v| running(&v.active))? })
        };
        if let Some(node) = self.groups.iter().enumerate().find_map(volume) {
            return Some(node);
        }
        self.disks.iter().enumerate().find_map(|(disk, d)| {
            let own = d.hardware.as_ref().map(|h| h.name.clone());
            let own = own.or_else(|| Some(d.path.to_str()?.strip_prefix("/dev/")?.to_owned()))?;
            let rest = name.strip_prefix(&own)?;
            if rest.is_empty() {
                return Some(Node::Disk(disk));
            }
            let digits = if own.ends_with(|c: char| c.is_ascii_digit()) { rest.strip_prefix('p')? } else { rest };
            let number = digits.parse().ok()?;
            self.partition(disk, number).map(|_| Node::Partition { disk, number })
        })
    }
}
