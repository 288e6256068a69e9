//! Names as paths below the directory of the store.

use std::path::{Path, PathBuf};

use lease_core::LeaseName;

/// The longest part of a path: file systems allow 255 bytes.
const PART: usize = 200;
/// What a part ends with that is not the last.
const CONTINUED: char = '+';

/// Returns the path of a name: lower-case letters, digits and `-` stay, because some file systems ignore case. Every other byte
/// becomes `_` and two hexadecimal digits. A long name is a path of several directories.
pub(crate) fn path(root: &Path, name: &LeaseName) -> PathBuf {
    let mut key = String::new();
    for byte in name.as_str().bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' => key.push(char::from(byte)),
            _ => key.push_str(&format!("_{byte:02x}")),
        }
    }
    let mut path = root.to_path_buf();
    let mut rest = key.as_str();
    while rest.len() > PART {
        let (part, after) = rest.split_at(PART);
        path.push(format!("{part}{CONTINUED}"));
        rest = after;
    }
    path.push(rest);
    path
}

/// Returns whether a directory of this name holds the rest of longer names.
pub(crate) fn is_continued(part: &str) -> bool {
    part.ends_with(CONTINUED)
}

/// Returns the name of a path, as the parts below the directory of the store, or `None` if [`path`] did not make it.
pub(crate) fn name(parts: &[String]) -> Option<LeaseName> {
    let (last, first) = parts.split_last()?;
    let mut key: String = first.iter().filter_map(|part| part.strip_suffix(CONTINUED)).collect();
    key.push_str(last);
    let mut name = Vec::with_capacity(key.len());
    let mut bytes = key.bytes();
    while let Some(byte) = bytes.next() {
        name.push(if byte == b'_' { digit(bytes.next()?)? << 4 | digit(bytes.next()?)? } else { byte });
    }
    let name = LeaseName::new(String::from_utf8(name).ok()?).ok()?;
    let below: PathBuf = parts.iter().collect();
    (path(Path::new(""), &name) == below).then_some(name)
}

fn digit(byte: u8) -> Option<u8> {
    u8::try_from(char::from(byte).to_digit(16)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(path: &Path) -> Vec<String> {
        path.iter().map(|part| part.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn s21_every_name_has_a_path_of_its_own() {
        let shown = path(Path::new(""), &LeaseName::new("Reports/a_b-1").unwrap());
        assert_eq!(shown, Path::new("_52eports_2fa_5fb-1"));
        let mut names: Vec<_> = (0x21..=0x7E_u8).map(|byte| char::from(byte).to_string()).collect();
        for length in [1, 66, 67, 199, 200, 201, 255] {
            names.extend([".".repeat(length), "a".repeat(length), "a".repeat(length - 1) + "/"]);
        }
        names.sort();
        names.dedup();
        let mut paths = Vec::new();
        for name in names {
            let name = LeaseName::new(name).unwrap();
            let path = path(Path::new(""), &name);
            assert_eq!(super::name(&parts(&path)), Some(name));
            assert!(path.iter().all(|part| part.len() <= 255));
            paths.push(path.to_str().unwrap().to_lowercase());
        }
        let count = paths.len();
        paths.sort();
        paths.dedup();
        assert_eq!(paths.len(), count);
        assert!(paths.iter().all(|path| !path.starts_with('.')));
    }

    #[test]
    fn a_path_of_others_is_no_name() {
        for other in ["", "A", ".boot-1", "a.b", "_4", "_61", "_2F", "a+", "lost found"] {
            assert_eq!(name(&[other.to_owned()]), None, "{other}");
        }
        assert_eq!(name(&["a+".to_owned(), "b".to_owned()]), None);
    }
}
