//! The memory that several buffers share.

use crate::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that buffers take in pieces, so that a record costs no atomic operation.
#[derive(Debug)]
pub(crate) struct Room {
    bytes: usize,
    left: AtomicUsize,
}

/// A piece is this share of the room: what some buffers took and do not use is little.
const PIECES: usize = 64;

impl Room {
    pub(crate) fn new(bytes: usize) -> Self {
        Self { bytes, left: AtomicUsize::new(bytes) }
    }

    /// All of it, taken or not.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes at least so many bytes, a piece if there are as many; none if there are too few.
    pub(crate) fn take(&self, bytes_min: usize) -> usize {
        let piece = bytes_min.max(self.bytes / PIECES);
        let rest = |left: usize| (left >= bytes_min).then(|| left.saturating_sub(piece));
        let before = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, rest);
        before.map_or(0, |left| left.min(piece))
    }

    /// Gives bytes back.
    pub(crate) fn give(&self, bytes: usize) {
        self.left.fetch_add(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_go_out_and_come_back() {
        let room = Room::new(640);
        assert_eq!(room.take(1), 10);
        assert_eq!(room.take(600), 600);
        assert_eq!(room.take(31), 0);
        assert_eq!(room.take(25), 25, "what is wanted, if it is more than a piece");
        assert_eq!((room.take(5), room.take(1)), (5, 0));
        room.give(7);
        assert_eq!((room.take(1), room.take(1)), (7, 0));
    }
}

/// Model checking: every interleaving of two buffers is tried.
#[cfg(all(test, loom))]
mod loom_tests {
    use loom::thread;

    use super::*;
    use crate::sync::Arc;

    #[test]
    fn no_byte_is_taken_twice_and_all_come_back() {
        loom::model(|| {
            let room = Arc::new(Room::new(10));
            let shared = Arc::clone(&room);
            let other = thread::spawn(move || {
                let first = shared.take(6);
                shared.give(first);
                shared.take(3)
            });
            let own = room.take(7);
            let others = other.join().expect("no panic");
            assert!(own == 0 || own == 7, "{own}");
            // While the other held six bytes there was no place for seven, and the other way round.
            assert!(others == 3, "{others}");
            assert_eq!(room.left.load(Ordering::Relaxed), 10 - own - others);
            room.give(own + others);
            assert_eq!(room.take(10), 10);
        });
    }
}
