//! The day on which a password was changed, the third field of `/etc/shadow`.

/// Days later than `day` become it; everything else stays as it is. Bytes, since names need not be UTF-8.
pub(super) fn clamp_days(text: &[u8], day: i64) -> Vec<u8> {
    let lines = text.split_inclusive(|&b| b == b'\n');
    lines.flat_map(|line| clamped(line, day).unwrap_or_else(|| line.to_vec())).collect()
}

fn clamped(line: &[u8], day: i64) -> Option<Vec<u8>> {
    let mut fields: Vec<&[u8]> = line.split(|&b| b == b':').collect();
    let found: i64 = std::str::from_utf8(fields.get(2)?).ok()?.parse().ok()?;
    // The last field holds the end of the line.
    if found <= day || fields.len() < 4 {
        return None;
    }
    let day = day.max(0).to_string();
    fields[2] = day.as_bytes();
    Some(fields.join(&b':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_later_days_are_changed() {
        let text = b"root:*:19000:0:99999:7:::\nnew:!:20700::::::\nnone:!:::::::\n\xff:!:20701:0:\nodd\nlast:!:20702::";
        let wanted =
            b"root:*:19000:0:99999:7:::\nnew:!:19844::::::\nnone:!:::::::\n\xff:!:19844:0:\nodd\nlast:!:19844::";
        assert_eq!(clamp_days(text, 19844), wanted);
        assert_eq!(clamp_days(b"", 1), b"");
    }
}
