//! Where an answer of Redis ends.

use crate::Frame;

/// What comes first in these bytes. The answers of scripts are arrays; statuses and what is pushed are no answers to them.
pub(super) fn frame(bytes: &[u8]) -> Option<Frame> {
    let length = length(bytes)?;
    Some(if bytes[0] == b'*' { Frame::Answer(length) } else { Frame::Other(length) })
}

/// How long the value is with which they begin, by RESP3; nothing while it is not there to its end.
fn length(bytes: &[u8]) -> Option<usize> {
    let line = bytes.windows(2).position(|pair| pair == b"\r\n")? + 2;
    let count = || std::str::from_utf8(&bytes[1..line - 2]).ok()?.parse::<i64>().ok();
    let values = match bytes[0] {
        b'$' | b'=' | b'!' => {
            let whole = line + usize::try_from(count()?).map_or(0, |text| text + 2);
            return (bytes.len() >= whole).then_some(whole);
        }
        b'*' | b'~' | b'>' => count()?,
        b'%' => count()? * 2,
        _ => 0,
    };
    (0..values).try_fold(line, |end, _| Some(end + length(&bytes[end..])?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_ends_where_it_should() {
        for value in ["+OK\r\n", ":1\r\n", "_\r\n", "$-1\r\n", "$3\r\na\r\n\r\n", ">2\r\n+a\r\n%1\r\n+a\r\n:1\r\n"] {
            let both = format!("{value}*0\r\n");
            assert_eq!(frame(both.as_bytes()), Some(Frame::Other(value.len())), "{value:?}");
            assert_eq!(frame(&value.as_bytes()[..value.len() - 1]), None, "{value:?}");
        }
        let answer = "*2\r\n$1\r\n7\r\n*1\r\n:5\r\n";
        assert_eq!(frame(answer.as_bytes()), Some(Frame::Answer(answer.len())));
        assert_eq!(frame(&answer.as_bytes()[..answer.len() - 4]), None);
    }
}
