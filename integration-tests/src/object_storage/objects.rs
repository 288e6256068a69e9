//! The objects of the fake, and a journal of them, which is written before an answer is: so a kill loses nothing.

use std::{
    collections::{BTreeMap, hash_map::DefaultHasher},
    fmt::Write as _,
    fs::{File, OpenOptions},
    hash::{Hash, Hasher},
    io::{self, Write as _},
    path::Path,
};

/// An object as it was written last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) content: Vec<u8>,
    /// Of the content, as in S3: equal contents have equal ones.
    pub(super) etag: String,
    /// Greater with each write, as in GCS.
    pub(super) generation: u64,
    /// By the clock of the server, since 1970.
    pub(super) written_micros: u64,
}

/// All objects, by bucket and key.
#[derive(Debug)]
pub(super) struct Objects {
    buckets: BTreeMap<String, BTreeMap<String, Object>>,
    generation: u64,
    journal: File,
}

impl Objects {
    /// Opens the journal, and does again what is in it.
    pub(super) fn open(journal: &Path) -> io::Result<Self> {
        let text = std::fs::read_to_string(journal).unwrap_or_default();
        let file = OpenOptions::new().create(true).append(true).open(journal)?;
        let mut objects = Self { buckets: BTreeMap::new(), generation: 0, journal: file };
        // A line that a kill has cut short has no end, and had no answer.
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            objects.replay(line);
        }
        Ok(objects)
    }

    pub(super) fn bucket(&self, bucket: &str) -> Option<&BTreeMap<String, Object>> {
        self.buckets.get(bucket)
    }

    pub(super) fn create_bucket(&mut self, bucket: &str) -> io::Result<()> {
        self.record(&format!("bucket {}", hex(bucket.as_bytes())))
    }

    /// Replaces an object of a bucket that is there.
    pub(super) fn put(&mut self, bucket: &str, key: &str, content: &[u8], now_micros: u64) -> io::Result<()> {
        let generation = now_micros.max(self.generation + 1);
        let (bucket, key) = (hex(bucket.as_bytes()), hex(key.as_bytes()));
        self.record(&format!("put {bucket} {key} {generation} {now_micros} {}", hex(content)))
    }

    pub(super) fn delete(&mut self, bucket: &str, key: &str) -> io::Result<()> {
        self.record(&format!("delete {} {}", hex(bucket.as_bytes()), hex(key.as_bytes())))
    }

    fn record(&mut self, line: &str) -> io::Result<()> {
        self.journal.write_all(format!("{line}\n").as_bytes())?;
        self.replay(line);
        Ok(())
    }

    fn replay(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let text = |at: usize| String::from_utf8(unhex(words.get(at).copied().unwrap_or_default())).unwrap_or_default();
        let number = |at: usize| words.get(at).and_then(|word: &&str| word.parse().ok()).unwrap_or(0);
        let bucket = self.buckets.entry(text(1)).or_default();
        match words[0] {
            "put" => {
                let content = unhex(words.get(5).copied().unwrap_or_default());
                let (etag, generation) = (etag(&content), number(3));
                self.generation = self.generation.max(generation);
                bucket.insert(text(2), Object { content, etag, generation, written_micros: number(4) });
            }
            "delete" => drop(bucket.remove(&text(2))),
            _ => {}
        }
    }
}

fn etag(content: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    format!("\"{:032x}\"", hasher.finish())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap_or_default());
    digits.filter_map(|pair| u8::from_str_radix(pair, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_answered_is_there_again_and_half_a_line_is_not() {
        let journal = std::env::temp_dir().join(format!("lease-journal-{:016x}", rand::random::<u64>()));
        let mut objects = Objects::open(&journal).unwrap();
        objects.create_bucket("b").unwrap();
        objects.put("b", "a key", b"old", 7).unwrap();
        objects.put("b", "a key", b"new", 7).unwrap();
        objects.put("b", "gone", b"", 9).unwrap();
        objects.delete("b", "gone").unwrap();
        let before = objects.buckets.clone();
        objects.journal.write_all(b"delete 62 61206b6579").unwrap();
        let again = Objects::open(&journal).unwrap();
        std::fs::remove_file(&journal).unwrap();
        assert_eq!(again.buckets, before);
        assert_eq!(again.buckets["b"]["a key"].generation, 8);
        assert_eq!(again.generation, 9);
    }
}
