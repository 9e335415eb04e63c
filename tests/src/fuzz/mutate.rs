//! Mutations of an input, the same at every run: the number of the mutation is the seed, so a failure is repeated by
//! its number. libFuzzer does this better and not repeatably; this is for ordinary test runs.

/// xorshift64*: small, and good enough to choose places.
struct Choice(u64);

impl Choice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap_or(0)
    }
}

/// Numbers at which lengths and counters break.
const EXTREMES: [u64; 8] = [0, 1, 0x7f, 0xff, 0x7fff_ffff, 0xffff_ffff, u64::MAX >> 1, u64::MAX];
/// Bytes that mean something in the formats at hand.
const TOKENS: [&[u8]; 12] = [
    b"{",
    b"[[",
    b"\"",
    b"\\",
    b"\0",
    b"\xff\xfe",
    b"-1",
    b"1e999",
    b"null",
    b"=\n[",
    b"%2f",
    b"\xe2\x80\xae",
];

/// Mutation `number` of `input`, perhaps crossed with `other`.
pub fn mutation(input: &[u8], other: &[u8], number: u64) -> Vec<u8> {
    let mut choice = Choice(number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut bytes = input.to_vec();
    for _ in 0..=choice.below(4) {
        let at = choice.below(bytes.len() + 1);
        let len = choice.below(32).min(bytes.len() - at);
        match choice.below(9) {
            0 => bytes.truncate(at),
            1 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << choice.below(8);
                }
            }
            2 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = choice.next().to_le_bytes()[0];
                }
            }
            3 => drop(bytes.drain(at..at + len)),
            4 => {
                let piece = bytes[at..at + len].to_vec();
                let times = 1 + choice.below(64);
                bytes.splice(at..at, piece.repeat(times));
            }
            5 => {
                let number = EXTREMES[choice.below(EXTREMES.len())].to_le_bytes();
                let width = 1 << choice.below(4);
                let end = (at + width).min(bytes.len());
                bytes.splice(at..end, number[..width].iter().copied());
            }
            6 => {
                bytes.splice(at..at, TOKENS[choice.below(TOKENS.len())].iter().copied());
            }
            7 => {
                let from = choice.below(other.len() + 1);
                let until = (from + choice.below(256)).min(other.len());
                bytes.splice(at..at + len, other[from..until].iter().copied());
            }
            _ => bytes[at..at + len].fill(0),
        }
    }
    // Larger inputs are refused by their size, which has tests of its own.
    bytes.truncate(1 << 18);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mutation_is_the_same_at_every_run_and_another_for_every_number() {
        let input: Vec<u8> = (0..=255).cycle().take(2_000).collect();
        let input = input.as_slice();
        let all: std::collections::BTreeSet<_> = (0..500).map(|n| mutation(input, b"other", n)).collect();
        assert!(all.len() > 450, "only {} of 500 differ", all.len());
        assert_eq!(mutation(input, b"other", 77), mutation(input, b"other", 77));
    }

    #[test]
    fn nothing_is_too_short_to_be_mutated() {
        for number in 0..2_000 {
            mutation(b"", b"", number);
            mutation(b"x", b"", number);
        }
    }
}
