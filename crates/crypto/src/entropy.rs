//! Randomness as an argument.

/// A source of uniform random bytes, given by the caller.
///
/// The node's draws from the operating system; tests count. Whoever implements
/// it for production never returns without having filled the whole slice.
pub trait Entropy {
    /// Fills `bytes` with uniform random bytes, independent of all before.
    fn fill(&mut self, bytes: &mut [u8]);

    /// Draws an array that is no secret: a nonce, a salt, an id.
    fn draw<const N: usize>(&mut self) -> [u8; N]
    where
        Self: Sized,
    {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }
}

impl<E: Entropy + ?Sized> Entropy for &mut E {
    fn fill(&mut self, bytes: &mut [u8]) {
        (**self).fill(bytes);
    }
}
