//! Names as keys of letters, digits and four marks, in the same order.

use lease_core::LeaseName;

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Returns the key of a name, for stores that cannot have every byte in a key. Letters and digits stay. Every other byte becomes
/// a mark and two hexadecimal digits: `reports/nightly` becomes `reports!2Fnightly`. The mark is one of `!`, `=`, `_` and `~`, and
/// sorts where the byte does, so keys have the order of their names. A key has at most 765 bytes. No two names have the same key.
#[must_use]
pub fn escape(name: &LeaseName) -> String {
    escape_prefix(name.as_str())
}

/// Returns what the keys of all names with this prefix begin with, and no other key.
#[must_use]
pub fn escape_prefix(prefix: &str) -> String {
    let mut key = String::with_capacity(prefix.len());
    for byte in prefix.bytes() {
        let mark = match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
                key.push(char::from(byte));
                continue;
            }
            ..=b'/' => '!',
            b':'..=b'@' => '=',
            b'['..=b'`' => '_',
            _ => '~',
        };
        key.push(mark);
        for digit in [byte >> 4, byte & 15] {
            key.push(char::from(HEX[usize::from(digit)]));
        }
    }
    key
}

/// Returns the name of a key, or `None` if [`escape`] did not make it.
#[must_use]
pub fn unescape(key: &str) -> Option<LeaseName> {
    let mut name = String::with_capacity(key.len());
    let mut bytes = key.bytes();
    while let Some(byte) = bytes.next() {
        let is_plain = byte.is_ascii_alphanumeric();
        name.push(char::from(if is_plain { byte } else { digit(bytes.next()?)? << 4 | digit(bytes.next()?)? }));
    }
    let name = LeaseName::new(name).ok()?;
    (escape(&name) == key).then_some(name)
}

fn digit(byte: u8) -> Option<u8> {
    HEX.iter().position(|digit| *digit == byte).and_then(|at| u8::try_from(at).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_name() -> impl Strategy<Value = LeaseName> {
        // Few letters, so that names share prefixes.
        let byte = prop_oneof![0x21_u8..=0x7E, proptest::sample::select(b"/a~0=Z".to_vec())];
        proptest::collection::vec(byte, 1..=LeaseName::MAX_BYTES)
            .prop_map(|bytes| LeaseName::new(String::from_utf8(bytes).unwrap()).unwrap())
    }

    proptest! {
        #[test]
        fn s21_keys_have_the_order_of_their_names(one in any_name(), two in any_name()) {
            prop_assert_eq!(escape(&one).cmp(&escape(&two)), one.as_str().cmp(two.as_str()));
            prop_assert_eq!(unescape(&escape(&one)), Some(one.clone()));
            prop_assert!(escape(&one).len() <= 3 * LeaseName::MAX_BYTES);
            prop_assert!(escape(&one).bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!=_~".contains(&byte)));
            let (short, long) = (escape_prefix(one.as_str()), escape(&two));
            prop_assert_eq!(long.starts_with(&short), two.as_str().starts_with(one.as_str()));
        }

        #[test]
        fn a_key_of_others_is_no_name(key in "[!=_~0-9A-Fa-z/]{0,8}") {
            if let Some(name) = unescape(&key) {
                prop_assert_eq!(escape(&name), key);
            }
        }
    }

    /// All pairs of bytes, because a property may miss the ends of the ranges.
    #[test]
    fn s21_every_byte_sorts_where_it_did() {
        let names: Vec<_> =
            (0x21..=0x7E_u8).map(|byte| LeaseName::new(char::from(byte).to_string()).unwrap()).collect();
        assert!(names.windows(2).all(|pair| escape(&pair[0]) < escape(&pair[1])));
        assert_eq!(escape(&LeaseName::new("reports/nightly").unwrap()), "reports!2Fnightly");
        for broken in ["", "!2", "!2f", "_41", "!41", "a b", "=2F"] {
            assert_eq!(unescape(broken), None, "{broken}");
        }
    }
}
