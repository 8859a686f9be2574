//! Python's pickle by its program: a pickle is code for a small stack machine.

/// Whether the first bytes of a file are a pickle, with or without the header of the newer protocols.
///
/// Runs the machine on paper: each opcode has to exist, have its arguments and find its operands on the stack. It is
/// a pickle if it imports something, without which it can call nothing, and then ends or goes on past these bytes, or if its end is the end of
/// the file. Other bytes do neither but by a rare chance.
pub(crate) fn is_pickle(head: &[u8], size_bytes: u64) -> bool {
    if matches!(head, [0x80, 2..=5, ..]) {
        return true;
    }
    let mut machine = Machine { rest: head, levels: vec![0], imports: false };
    loop {
        match machine.step() {
            Step::Next => {}
            Step::Wrong => return false,
            Step::CutOff => return machine.imports && (head.len() as u64) < size_bytes,
            Step::Stop => {
                let whole = head.len() as u64 == size_bytes && machine.rest.trim_ascii().is_empty();
                return machine.imports || whole;
            }
        }
    }
}

struct Machine<'a> {
    rest: &'a [u8],
    /// How many values lie above each mark, and below the first one.
    levels: Vec<u64>,
    /// Whether something was imported.
    imports: bool,
}

enum Step {
    Next,
    Stop,
    Wrong,
    /// The bytes end inside an opcode, or before the program does.
    CutOff,
}

impl Machine<'_> {
    /// One opcode, by the table of CPython's `pickletools`.
    fn step(&mut self) -> Step {
        let Some((&opcode, rest)) = self.rest.split_first() else { return Step::CutOff };
        self.rest = rest;
        let read = match opcode {
            b'F' | b'I' | b'L' | b'P' | b'S' | b'V' | b'g' | b'p' => self.line().map(drop),
            b'c' | b'i' => self.name().and_then(|()| self.name()),
            b'K' | b'h' | b'q' | 0x80 | 0x82 => self.skip(1),
            b'M' | 0x83 => self.skip(2),
            b'J' | b'j' | b'r' | 0x84 => self.skip(4),
            b'G' | 0x95 => self.skip(8),
            b'U' | b'C' | 0x8a | 0x8c => self.counted(1),
            b'B' | b'T' | b'X' | 0x8b => self.counted(4),
            0x8d | 0x8e | 0x96 => self.counted(8),
            _ => Ok(()),
        };
        if let Err(step) = read {
            return step;
        }
        let fits = match opcode {
            b'.' => return if self.moves(1, 0) { Step::Stop } else { Step::Wrong },
            b'(' => {
                self.levels.push(0);
                self.levels.len() < LEVELS_MAX
            }
            b'0' => self.moves(1, 0) || self.pops_mark(0, 0),
            b'1' => self.pops_mark(0, 0),
            b'2' => self.moves(1, 2),
            b'F'
            | b'I'
            | b'L'
            | b'S'
            | b'V'
            | b'g'
            | b'K'
            | b'h'
            | b'M'
            | b'J'
            | b'j'
            | b'G'
            | b'U'
            | b'C'
            | b'B'
            | b'T'
            | b'X'
            | b'N'
            | b'}'
            | b']'
            | b')'
            | 0x88..=0x8f
            | 0x96
            | 0x97 => self.moves(0, 1),
            b'P' | 0x82..=0x84 => self.moves(0, 1),
            b'Q' => self.moves(1, 1),
            b'c' => self.imports(0, 1),
            b'R' | b'b' | 0x81 => self.moves(2, 1),
            0x93 => self.imports(2, 1),
            0x92 => self.moves(3, 1),
            b'i' => {
                self.imports = true;
                self.pops_mark(0, 1)
            }
            b'o' => self.levels.last().is_some_and(|above| *above > 0) && self.pops_mark(0, 1),
            b'a' => self.moves(2, 1),
            b's' => self.moves(3, 1),
            b'd' | b'l' | b't' | 0x91 => self.pops_mark(0, 1),
            b'e' | b'u' | 0x90 => self.pops_mark(1, 1),
            b'p' | b'q' | b'r' | 0x85 | 0x94 | 0x98 => self.moves(1, 1),
            0x86 => self.moves(2, 1),
            0x87 => self.moves(3, 1),
            0x80 | 0x95 => true,
            _ => false,
        };
        if fits { Step::Next } else { Step::Wrong }
    }

    /// Takes values off the stack and puts others on it, above the last mark.
    fn moves(&mut self, takes: u64, puts: u64) -> bool {
        let Some(level) = self.levels.last_mut() else { return false };
        match level.checked_sub(takes) {
            Some(left) => {
                *level = left + puts;
                true
            }
            None => false,
        }
    }

    fn imports(&mut self, takes: u64, puts: u64) -> bool {
        self.imports = true;
        self.moves(takes, puts)
    }

    /// Takes all down to the last mark and it too, then as [`moves`](Self::moves).
    fn pops_mark(&mut self, takes: u64, puts: u64) -> bool {
        if self.levels.len() < 2 {
            return false;
        }
        self.levels.pop();
        self.moves(takes, puts)
    }

    fn line(&mut self) -> Result<&[u8], Step> {
        let Some(cut) = self.rest.iter().position(|&byte| byte == b'\n') else { return Err(Step::CutOff) };
        let line = &self.rest[..cut];
        self.rest = &self.rest[cut + 1..];
        Ok(line)
    }

    /// A line that can name a module or what is in it.
    fn name(&mut self) -> Result<(), Step> {
        let line = self.line()?;
        let fits =
            |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'\r') || *byte >= 0x80;
        if !line.is_empty() && line.iter().all(fits) { Ok(()) } else { Err(Step::Wrong) }
    }

    fn skip(&mut self, count: u64) -> Result<(), Step> {
        let rest = usize::try_from(count).ok().and_then(|count| self.rest.get(count..));
        self.rest = rest.ok_or(Step::CutOff)?;
        Ok(())
    }

    /// Bytes after their length.
    fn counted(&mut self, bytes: usize) -> Result<(), Step> {
        let mut length = [0; 8];
        length[..bytes].copy_from_slice(self.rest.get(..bytes).ok_or(Step::CutOff)?);
        self.rest = &self.rest[bytes..];
        self.skip(u64::from_le_bytes(length))
    }
}

/// Nobody nests deeper in earnest.
const LEVELS_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pickles_are_told_from_other_bytes() {
        // CPython 3 loads each of them.
        for pickle in [
            &b"(lp0\nI1\naI2\na."[..],
            b"]q\x00(K\x01K\x02e.",
            b"\x80\x02]q\x00(K\x01K\x02e.",
            b"cos\nsystem\n(Vrm\np0\ntp1\nRp2\n.",
            b"(cos\ngetpid\no.",
            b"(ios\ngetpid\n.",
            b"N0cos\ngetpid\n(tR.",
            b"cos\ngetpid\n(tR.x",
            b"X\x02\0\0\0osX\x06\0\0\0getpid\x93)R.",
            b"I1\n0cos\ngetpid\n)R.and then anything",
        ] {
            assert!(is_pickle(pickle, pickle.len() as u64), "{}", pickle.escape_ascii());
        }
        for other in [
            &b""[..],
            b".",
            b"x",
            b"weights 1",
            b"carrots\nare fine.",
            b"cat\ndog\nant\n",
            b"(dear reader)",
            b"{\"a\": 1}",
            b"name,age\nann,3\n",
            b"Note: this is text.",
            b"\x3f\x80\0\0\x40\0\0\0",
        ] {
            assert!(!is_pickle(other, other.len() as u64), "{}", other.escape_ascii());
        }
    }

    #[test]
    fn a_long_pickle_is_known_by_its_head() {
        let mut long = b"cbuiltins\nexec\nX\x00\x00\x10\x00".to_vec();
        long.resize(64 << 10, b'#');
        assert!(is_pickle(&long, 1 << 20));
    }

    #[test]
    fn floats_are_no_pickles() {
        use rand::Rng as _;
        let mut rng = mlops_core::Seed::new(7).rng();
        let found = (0..20_000)
            .filter(|_| {
                let mut bytes = [0; 4096];
                rng.fill_bytes(&mut bytes);
                is_pickle(&bytes, 1 << 20)
            })
            .count();
        assert!(found <= 2, "{found} of 20 000 random files look like pickles");
    }
}
